"""How records follow each other: their places, their order, their ids, and the ids that they refer to.

Belongs here: what can be told from a sequence of sound records. Does not belong here: judging one record
(`judge.py`), and reading the file (`records_file.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from . import codes
from .contract_model import Contract, Kind, Place, RecordType
from .layout import NULL, Layout, Record, Values, shown

Key = tuple[Any, ...]
"""What records of a type under one parent are ordered by."""
Fault = tuple[codes.Code, str]


class Sibling(NamedTuple):
    """A record as it is compared with the one that follows it under the same parent."""

    place: int
    key: Key | None
    id: bytes | None
    """Decides between equal keys, as canonical text; None for types whose order is not total."""
    number: tuple[bytes, int] | None = None
    """Of a numbered type: what it is numbered within, and its number; None too when that is not known."""


@dataclass(slots=True)
class _Place:
    """A place of the contract's order, ready for use. `index` grows in record order, so siblings compare by it."""

    index: int
    depth: int
    type: str
    parent: int
    link: str | None


class _Plan:
    """Where records of one type stand, and what they are ordered by."""

    def __init__(self, layout: Layout, places: list[_Place], zoned: bool) -> None:
        self.layout = layout
        self.places = [place for place in places if place.type == layout.name]
        self.place = self.places[0]
        self.has_places = len(self.places) > 1
        self.links = {place.index: layout.at[place.link] for place in self.places if place.link}
        self.id = layout.id[-1] if layout.id else -1
        self.has_parts = len(layout.id) != 1
        self.ties = layout.type.ties
        self.key = _key(layout, zoned)
        self.references = tuple((layout.at[name], target) for name, target in layout.type.references)
        self.once = tuple(layout.at[name] for name in layout.type.at_most_one or ())
        self.numbered = tuple(layout.at[name] for name in layout.type.numbered or ())

    def number(self, values: Values) -> tuple[bytes, int] | None:
        return (values[self.numbered[0]], int(values[self.numbered[1]])) if self.numbered else None


class Order:
    """The order of records of one package.

    Args:
        contract: of the package.
        layouts: of its record types.
        zoned: whether times have a zone, as they do when they come from PostgreSQL, which puts nulls last.
    """

    def __init__(self, contract: Contract, layouts: dict[str, Layout], zoned: bool) -> None:
        self.types = contract.types
        self.places: list[_Place] = []
        self._lay_out(contract.order, -1, 0)
        self.depths = 1 + max(place.depth for place in self.places)
        self.plans = [_Plan(layout, self.places, zoned) for layout in layouts.values()]
        self.top = frozenset(place.type.encode("ascii") for place in self.places if place.depth == 0)
        """The types of records that belong to no other."""

    def _lay_out(self, order: tuple[Place, ...], parent: int, depth: int) -> None:
        for one in order:
            place = _Place(len(self.places), depth, one.type, parent, one.link)
            self.places.append(place)
            self._lay_out(one.children, place.index, depth + 1)

    def faults(self, before: Sibling, after: Sibling) -> list[Fault]:
        """What is wrong with the order of two records that follow each other under one parent."""
        place = self.places[after.place]
        if after.place < before.place:
            previous = self.places[before.place].type
            message = f"A {place.type} comes after a {previous}; the order is the other way round."
            return [(codes.RECORD_ORDER, message)]
        if after.place == before.place and not _is_ordered(before, after):
            return [(codes.SIBLING_ORDER, _order_message(self.types[place.type]))]
        return []

    def number_faults(self, before: Sibling | None, after: Sibling) -> list[Fault]:
        """Whether a record of a numbered type has another number than the next."""
        is_alike = before is not None and before.place == after.place
        if after.number is None or (before and is_alike and before.number is None):
            return []
        group, number = after.number
        wanted = 0
        if before and is_alike and before.number and before.number[0] == group:
            wanted = before.number[1] + 1
        if number == wanted:
            return []
        record_type = self.types[self.places[after.place].type]
        per, name = record_type.numbered or ("", "")
        message = f"{name} is {number}; by its place among the records with the same {per} it is {wanted}."
        return [(codes.SIBLING_ORDER, message)]


class Context(NamedTuple):
    """Where a sequence stopped, for a next one that does not begin with a top-level record.

    The lists have an entry for each depth: of the record that is open there, the place, the id, the key. `last` is the
    last top-level record, `once` what the last true field of an `at_most_one` was of.
    """

    places: list[int]
    ids: list[bytes | None]
    keys: list[Key | None]
    last: Sibling | None
    once: bytes | None


class Sequence:
    """A sequence of records, as far as it was read.

    Args:
        order: of the package.
        context: of the sequence before, when this one does not begin with a top-level record.
    """

    def __init__(self, order: Order, context: Context | None) -> None:
        self.order, self.plans = order, order.plans
        depths = order.depths + 1  # one more, so that the deepest record too can close what is below it
        self.places, self.open_ids, self.keys, self.last, self.once = context or Context(
            [-1] * depths, [None] * depths, [None] * depths, None, None
        )
        self.ids: list[list[bytes]] = [[] for _ in order.plans]
        self.references: dict[str, dict[bytes, int]] = {
            target: {NULL: 0} for plan in order.plans for _, target in plan.references
        }
        self.first: tuple[Sibling, int] | None = None
        """The first top-level record, and its line, when it has not been compared with one before."""

    @property
    def context(self) -> Context:
        """Where the sequence stopped."""
        return Context(self.places, self.open_ids, self.keys, self.last, self.once)

    def add(self, layout: Layout, values: Values, line: int) -> list[Fault]:
        """Take the next record; gives what is wrong with where it stands."""
        plan = self.plans[layout.number]
        faults: list[Fault] = []
        place = plan.place
        if plan.has_places and values[plan.links[place.index]] == NULL:
            place = plan.places[1]
        index, depth = place.index, place.depth
        places, open_ids, keys = self.places, self.open_ids, self.keys
        record_id = values[plan.id] if plan.id >= 0 else None
        if depth:
            parent_id = open_ids[depth - 1]
            if places[depth - 1] != place.parent or (parent_id is not None and parent_id != values[plan.links[index]]):
                parent = self.order.places[place.parent].type
                message = f"This {place.type} does not follow the {parent} that its {place.link} names."
                faults.append((codes.RECORD_MISPLACED, message))
        key = plan.key(values) if plan.key else None
        before, last_key = places[depth], keys[depth]
        if before > index or (before == index and key is not None and last_key is not None and key <= last_key):
            previous = Sibling(before, last_key, open_ids[depth] if plan.ties else None)
            faults += self.order.faults(previous, Sibling(index, key, record_id if plan.ties else None))
        if not depth:
            current = Sibling(index, key, record_id if plan.ties else None, plan.number(values))
            if self.last and plan.numbered:
                faults += self.order.number_faults(self.last, current)
            self._take_top(current, line)
        places[depth] = index
        open_ids[depth] = record_id
        keys[depth] = key
        places[depth + 1] = -1

        if plan.has_parts:
            record_id = layout.id_of(values)
        self.ids[layout.number].append(record_id or b"")
        for at, target in plan.references:
            seen = self.references[target]
            if values[at] not in seen:
                seen[values[at]] = line
        if plan.once and values[plan.once[1]] == b"true":
            if self.once == values[plan.once[0]]:
                per, name = layout.type.at_most_one or ("", "")
                per = f"{per} {shown(self.once)}"
                message = f"A second {layout.name} with {name} true for the {per}; there is at most one."
                faults.append((codes.RECORD_RULE, message))
            self.once = values[plan.once[0]]
        return faults

    def _take_top(self, current: Sibling, line: int) -> None:
        if self.last is None:
            self.first = current, line
        self.last = current

    def add_faulty(self, layout: Layout, record: Record, line: int) -> bool:
        """Take a record that cannot be placed. What belongs to it is not to be called misplaced or missing.

        Returns:
            Whether its id is known.
        """
        plan = self.order.plans[layout.number]
        given = (place for place in plan.places if place.link and record.get(place.link) is not None)
        place = next(given, plan.place)
        self.places[place.depth] = place.index
        self.open_ids[place.depth] = self.keys[place.depth] = None
        self.places[place.depth + 1] = -1
        if not place.depth:
            self._take_top(Sibling(place.index, None, None), line)
        record_id = layout.id_of_faulty(record)
        if record_id is not None:
            self.ids[layout.number].append(record_id)
        return record_id is not None

    def unresolved(self) -> dict[str, dict[bytes, int]]:
        """Record type → id that is referred to and is not in the sequence → first line that does."""
        names = list(self.order.types)
        for target, seen in self.references.items():
            for known in seen.keys() & self.ids[names.index(target)]:
                del seen[known]
            seen.pop(NULL, None)
        return {target: seen for target, seen in self.references.items() if seen}


def _order_message(record_type: RecordType) -> str:
    keys = ", ".join([*record_type.order, record_type.id[-1]] if record_type.ties else record_type.order)
    return f"This {record_type.name} belongs before the {record_type.name} above it: they are ordered by {keys}."


def _is_ordered(before: Sibling, after: Sibling) -> bool:
    if before.key is None or after.key is None or after.key > before.key:
        return True
    if after.key < before.key:
        return False
    return after.id is None or before.id is None or _text(after.id) >= _text(before.id)


def _text(raw: bytes) -> bytes:
    """A text as the bytes by which it sorts."""
    text = json.loads(raw).encode("utf-8") if b"\\" in raw else raw[1:-1]
    return bytes(text)


def _instant(raw: bytes) -> bytes:
    return raw[1:-1].removesuffix(b"+00:00")  # all times of a package are UTC, or all are without a zone


def _key(layout: Layout, zoned: bool) -> Callable[[Values], Key] | None:
    """What makes the order key of a record of a type; None for a type that is not ordered."""
    readers: list[tuple[int, Callable[[bytes], object], bool]] = []
    for name in layout.type.order:
        one = layout.fields[name]
        readers.append((layout.at[name], _READERS[one.kind], not one.required))
    if not readers:
        return None
    nulls_first = layout.type.nulls_first and not zoned
    if len(readers) == 1 and not readers[0][2]:
        at, read, _ = readers[0]
        return lambda values: (read(values[at]),)

    def key(values: Values) -> Key:
        return tuple(
            ((values[at] == NULL) is not nulls_first, 0 if values[at] == NULL else read(values[at]))
            if nullable
            else read(values[at])
            for at, read, nullable in readers
        )

    return key


_READERS: dict[Kind, Callable[[bytes], object]] = {
    Kind.TEXT: _text,
    Kind.INTEGER: int,
    Kind.FLOAT: float,
    Kind.TIME: _instant,
}
"""How a value of each kind is read so that it sorts."""
