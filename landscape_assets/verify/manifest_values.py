"""What each value of manifest.json must be, as a test and in words.

Belongs here: the form of single values. Does not belong here: which keys there are, and whether they agree with each
other (`manifest.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .judge import is_time
from .limits import CHUNK_BYTES, CHUNK_RECORDS, MAX_INTEGER
from .manifest_v2 import MODES, SERIALIZATION

_HEX = re.compile(r"[0-9a-f]{64}")
_EXPORTED_AT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}\+00:00")


def is_text(value: object) -> bool:
    """Whether a value is text."""
    return isinstance(value, str)


def _is_filled_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool)


def is_count(value: object) -> bool:
    """Whether a value is a whole number from 0 to 2^53-1."""
    return isinstance(value, float) and value.is_integer() and 0 <= value <= MAX_INTEGER


def _is_counts(value: object) -> bool:
    return isinstance(value, dict) and all(is_count(count) for count in value.values())


def is_hex(value: object) -> bool:
    """Whether a value is 64 lower-case hex digits."""
    return isinstance(value, str) and _HEX.fullmatch(value) is not None


def _is_time(value: object) -> bool:
    return isinstance(value, str) and is_time(value)


def _is_export_time(value: object) -> bool:
    # Here the fraction is always written, even when it is zero.
    return (
        isinstance(value, str) and _EXPORTED_AT.fullmatch(value) is not None and is_time(value.replace(".000000", ""))
    )


def _is_object(**members: Callable[[Any], bool]) -> Callable[[object], bool]:
    def accepts(value: object) -> bool:
        return (
            isinstance(value, dict)
            and value.keys() == members.keys()
            and all(member(value[name]) for name, member in members.items())
        )

    return accepts


def _or_null(accepts: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or accepts(value)


_is_comparison = _is_object(
    snapshot_id=is_hex,
    result=lambda value: value in ("equal", "different", "not compared"),
    reason=_or_null(_is_filled_text),
)


def _is_comparisons(value: object) -> bool:
    return isinstance(value, list) and value != [] and all(map(_is_comparison, value))


VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "format": (is_text, "text"),
    "format_version": (is_count, "an integer"),
    "contract": (is_text, "text"),
    "run_id": (is_text, "text"),
    "status": (is_text, "text"),
    "started_at": (_is_time, "an ISO 8601 time as in the run's record"),
    "completed_at": (_or_null(_is_time), "an ISO 8601 time as in the run's record"),
    "record_count": (is_count, "a count"),
    "record_counts": (_is_counts, "an object of counts"),
    "final_hash": (is_hex, "64 lower-case hex digits"),
    "chain": (is_text, "text"),
    "merkle": (
        _is_object(algorithm=is_text, size=is_count, root=is_hex),
        "an object with an algorithm, a size and a root of 64 lower-case hex digits",
    ),
    "tables": (_is_counts, "an object of counts"),
    "files": (lambda value: isinstance(value, list), "an array"),
    "exporter": (
        _is_object(name=lambda value: value == "landscape-assets", version=_is_filled_text),
        "an object with the name 'landscape-assets' and a version",
    ),
    "signing": (_or_null(_is_object(algorithm=is_text, key_id=_is_filled_text)), "null, or an algorithm and a key_id"),
    "public_key": (
        _or_null(_is_object(algorithm=is_text, key_id=is_hex)),
        "null, or an algorithm and a key_id of 64 lower-case hex digits",
    ),
    "supersedes": (_is_object(manifest_sha256=is_hex), "an object with manifest_sha256, 64 lower-case hex digits"),
    "raw_error_rows": (_is_boolean, "true or false"),
    "export_config": (
        _is_object(
            chunking_algorithm_version=_is_filled_text,
            export_format=lambda value: value in ("json", "csv"),
            exporter_version=_is_filled_text,
            include_raw_error_rows=_is_boolean,
            per_chunk_byte_limit=lambda value: is_count(value) and 1 <= value <= CHUNK_BYTES,
            per_chunk_record_limit=lambda value: is_count(value) and 1 <= value <= CHUNK_RECORDS,
            serialization_version=lambda value: value == SERIALIZATION,
            signer_key_id=_is_filled_text,
            signing_mode=lambda value: value in MODES.values(),
        ),
        "an object with the nine parts of an export configuration",
    ),
    "elspeth_snapshots": (_is_comparisons, "an array of comparisons: snapshot_id, result and reason"),
    "exported_at": (_is_export_time, "a UTC time as YYYY-MM-DDTHH:MM:SS.ffffff+00:00"),
    "signature": (is_hex, "64 lower-case hex digits"),
}
"""Each key of the manifest: what its value must be, as a test and in words."""
