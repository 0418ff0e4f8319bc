"""How an export differs from the package that is there, beyond what the two manifests say.

Belongs here: the first record that differs, and the exporter's version, as phrases for a message. A record is named by
its type, number and ids; what it holds is never told. Does not belong here: the comparison of the manifests, and what
follows from a difference (`publish.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from .. import __version__
from ..contract import ALL_TABLES
from ..formats.base import StagedFile
from ..printable import printable

_RECORDS = "records.jsonl"
_IDS = {table.record_type: table.id for table in ALL_TABLES.values()}
_SUMMARY = "manifest"
"""The type of the last line, which follows from the others."""

_OF_EACH_EXPORT = {"signature", "exported_at"}
"""Fields that say how or when a record was exported, not what was recorded."""


def further_differences(staged: Sequence[StagedFile], package: Path, manifest: Mapping[str, Any]) -> list[str]:
    """In what an export differs from a package, beyond what its manifest says.

    Args:
        staged: the files of the export.
        package: the package that is there.
        manifest: its manifest.
    """
    found = []
    version = (manifest.get("exporter") or {}).get("version")
    if version != __version__:
        found.append(f"the exporter is version {__version__} and was {version}")
    ours = next((file.facts.path for file in staged if file.path == _RECORDS), None)
    theirs = package / _RECORDS
    if ours is not None and theirs.is_file() and (record := _first_record(ours, theirs)):
        found.append(record)
    return found


def _first_record(ours: Path, theirs: Path) -> str | None:
    """The first record that is not the same in two files; None when only signatures and times of the export differ."""
    with ours.open("rb") as new, theirs.open("rb") as old:
        for number, (now, before) in enumerate(zip_longest(new, old), 1):
            if now == before:
                continue
            record, earlier = _content(now), _content(before)
            if record == earlier or _SUMMARY == record.get("record_type") == earlier.get("record_type"):
                continue
            if _name(record) == _name(earlier):
                fields = sorted(name for name in {*record, *earlier} if record.get(name) != earlier.get(name))
                return f"the first record that differs is {_name(record)} (line {number}), in {', '.join(fields)}"
            return f"the first record that differs is in line {number}: it is {_name(record)} and was {_name(earlier)}"
    return None


def _content(line: bytes | None) -> dict[str, Any]:
    """What a line records; empty when there is none, or it cannot be read."""
    try:
        record = json.loads(line or b"{}")
    except ValueError:
        return {}
    return {name: value for name, value in record.items() if name not in _OF_EACH_EXPORT}


def _name(record: Mapping[str, Any]) -> str:
    """A record by its type and ids."""
    kind = record.get("record_type")
    if kind is None:
        return "missing"
    ids = [str(record[name]) for name in _IDS.get(str(kind), ()) if record.get(name) is not None]
    return printable(f"{kind} {'/'.join(ids)}".strip())
