"""What is signed of a record that has an object with one particular key (contract v070, section 2, Values).

Belongs here: that form. Does not belong here: signing (`sign.py`).
"""

from __future__ import annotations

import json

import polars as pl

from ..contract.canonical import canonical_json


def signed_texts(texts: pl.Series, tag: str) -> pl.Series:
    """What is signed of each record.

    Args:
        texts: records in canonical form.
        tag: the key.

    Returns:
        The same, but for records in which an object has the key: these in their other form.
    """
    looks = texts.str.contains(f'"{tag}":', literal=True)
    if not looks.any():
        return texts
    others = [_other_form(text, tag) if has else text for text, has in zip(texts, looks, strict=True)]
    return pl.Series(texts.name, others, dtype=pl.String)


def _other_form(text: str, tag: str) -> str:
    return canonical_json(_converted(json.loads(text, parse_int=_number), tag))


def _number(digits: str) -> int | float:
    """Canonical form writes doubles up to 10²¹ as integers; those that are not exact are doubles."""
    value = int(digits)
    return value if abs(value) < 2**53 else float(digits)


def _converted(value: object, tag: str) -> object:
    if isinstance(value, list):
        return [_converted(item, tag) for item in value]
    if not isinstance(value, dict):
        return value
    converted = {key: _converted(item, tag) for key, item in value.items()}
    if tag not in value:
        return converted
    entries = [{"key": key, "value": converted[key]} for key in sorted(converted, key=canonical_json)]
    return {tag: "mapping", "entries": entries}
