"""The canonical form of one JSON value (RFC 8785), and the strict reading of stored JSON text.

Belongs here: what the few nested values (`settings`, `config`, `schema_fields`) and manifests need, one value at a
time, by the `rfc8785` package. Does not belong here: whole columns (`records/encode.py`).
"""

from __future__ import annotations

import json
from typing import Any

import rfc8785

MAX_DEPTH = 255
"""Deepest nesting of arrays and objects in a value, so that its record has one of at most 256 (docs/package.md,
"Limits")."""


class InvalidJson(ValueError):
    """The text is no JSON, or denotes a value that has no canonical form; the message completes «..., which ...»."""


def parse_json(text: str) -> Any:
    """The value that stored JSON text denotes.

    Args:
        text: JSON (RFC 8259) without duplicate keys, as RFC 8785 section 3.1 requires of its input (I-JSON).

    Raises:
        InvalidJson: it does not parse, an object has the same key twice, or it is nested deeper than MAX_DEPTH.
    """
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates)
    except InvalidJson:
        raise
    except RecursionError:
        raise InvalidJson("is nested too deeply to be read") from None
    except ValueError as error:
        raise InvalidJson(f"is no JSON ({error})") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deeper(value):
        raise InvalidJson(f"is nested deeper than {MAX_DEPTH} levels")
    return value


def canonical_json(value: Any) -> str:
    """The canonical form of a value (RFC 8785).

    Raises:
        InvalidJson: NaN, Infinity, an integer beyond ±(2^53−1), a lone surrogate, or nesting too deep.
    """
    try:
        return rfc8785.dumps(value).decode()
    except RecursionError:
        raise InvalidJson("is nested too deeply to have a canonical form") from None
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise InvalidJson(f"has no canonical form ({error})") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InvalidJson(f"has the key {twice!r} twice in one object")
    return value


def _is_deeper(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        containers = [one for one in level if isinstance(one, list | dict)]
        level = [inner for one in containers for inner in (one if isinstance(one, list) else one.values())]
    return any(isinstance(one, list | dict) for one in level)
