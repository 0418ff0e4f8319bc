"""Short ways to write down the columns of a table.

Belongs here: what the modules of the contracts say often. Does not belong here: what a column is (`model.py`), and the
columns themselves (`v0.py`, `v1.py`, ...).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .model import Column, Kind, OrderKey, Table

HEX = "[0-9a-f]{64}"
"""A SHA-256."""


def column(kind: Kind, name: str, description: str, /, **more: Any) -> Column:
    """A column that becomes the record field of the same name, unless `field` says otherwise."""
    return Column(name, kind, description, **({"field": name} | more))


def text(name: str, description: str, /, **more: Any) -> Column:
    """A column of text."""
    return column(Kind.TEXT, name, description, **more)


def sha256(name: str, description: str, /, **more: Any) -> Column:
    """A column of text that is a SHA-256 in lower-case hex."""
    return column(Kind.TEXT, name, description, pattern=HEX, **more)


def enum(name: str, values: tuple[str, ...], description: str, /, **more: Any) -> Column:
    """A column of text of which there are a few."""
    return column(Kind.ENUM, name, description, values=values, **more)


def integer(name: str, description: str, /, **more: Any) -> Column:
    """A column of whole numbers, of which none is negative."""
    return column(Kind.INTEGER, name, description, **({"minimum": 0} | more))


def number(name: str, description: str, /, **more: Any) -> Column:
    """A column of doubles."""
    return column(Kind.FLOAT, name, description, **more)


def time(name: str, description: str, /, **more: Any) -> Column:
    """A column of times."""
    return column(Kind.TIME, name, description, **more)


def flag(name: str, description: str, /, **more: Any) -> Column:
    """A column of booleans."""
    return column(Kind.BOOLEAN, name, description, **more)


def by(*names: str) -> tuple[OrderKey, ...]:
    """Keys to order by that are never null."""
    return tuple(OrderKey(name) for name in names)


def kept(table: Table, *names: str, **changes: Any) -> tuple[Column, ...]:
    """Columns of a table of another generation, as they are there but for the changes."""
    return tuple(replace(table.column(name), **changes) for name in names)


def exported(table: Table, *names: str, **changes: Any) -> tuple[Column, ...]:
    """As `kept`, of columns that were read for the order alone, and are record fields now."""
    return tuple(replace(table.column(name), field=name, **changes) for name in names)
