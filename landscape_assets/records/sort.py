"""The order of the records of one bucket (contract, section 2).

Belongs here: comparing rows by the contract's keys. Does not belong here: which rows are in a bucket (`plan.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow.compute as pc

from ..contract import Contract, Group, Table
from ..contract.model import OrderKey
from ..contract.rules import AtMostOne
from ..database import RUN
from ..errors import CorruptTable
from .id_index import orphan


def key_names(keys: Sequence[OrderKey]) -> tuple[str, ...]:
    """The columns of order keys."""
    return tuple(key.column for key in keys)


def sort_rows(frame: pl.DataFrame, keys: Sequence[OrderKey]) -> pl.DataFrame:
    """The frame in the order of the keys. Polars compares text by its UTF-8 bytes, as the contract wants."""
    if not keys:
        return frame
    return frame.sort(list(key_names(keys)), nulls_last=[key.nulls_last for key in keys])


def ordering_columns(contract: Contract, table: Table) -> list[str]:
    """The columns of a table's rows that `BucketSorter` needs."""
    links = [group.link for group in contract.groups if group.table == table.name and group.link is not None]
    rules = [name for rule in table.rules if isinstance(rule, AtMostOne) for name in (rule.per, rule.column)]
    wanted = dict.fromkeys((*table.id, *links, *key_names(table.order), *rules))
    return ["sort_group", RUN, *(name for name in wanted if name in table.selected)]


class BucketSorter:
    """The order of the records of one bucket.

    It is found with arrays of numbers: a bucket is small, and each operation on a frame would cost as much as thousands
        of numbers.

    Args:
        contract: the contract.
        frames: table → its rows of the bucket, where there are any, with the columns of `ordering_columns` at least.

    Raises:
        CorruptTable: a parent that is not in the run, or more rows of a kind than may be (`AtMostOne`).
    """

    def __init__(self, contract: Contract, frames: Mapping[str, pl.DataFrame]) -> None:
        self._contract = contract
        self.placed: list[KeyedRows] = []
        """The rows by group, in the order of the groups: those of a table with two kinds of parents twice."""
        for root in contract.order:
            self._add(root, frames, None)
        for name, frame in frames.items():
            _require_at_most_one(contract.tables[name], frame)

    def permutation(self) -> pl.Series:
        """The places, in the concatenated frames of `placed`, of the bucket's records in record order."""
        keys, places, start = [np.empty(0, np.uint64)], [np.empty(0, np.intp)], 0
        for placed in self.placed:
            at = self._order_of(placed)
            keys.append(placed.key[at])
            places.append(at + start)
            start += len(at)
        # Groups come as the contract has them: of records with one key, those of an earlier group are first.
        order = np.argsort(np.concatenate(keys), kind="stable")
        return pl.Series(np.concatenate(places)[order].astype(np.uint32))

    def _add(
        self, group: Group, frames: Mapping[str, pl.DataFrame], above: tuple[Group, KeyedRows | None] | None
    ) -> None:
        frame, placed = frames.get(group.table), None
        if frame is not None and group.link is not None and frame[group.link].null_count():
            frame = frame.filter(pl.col(group.link).is_not_null())  # a table with two kinds of parents
        if frame is not None and len(frame):
            placed = self._place(group, frame, above)
            self.placed.append(placed)
        for child in group.children:
            self._add(child, frames, (group, placed))

    def _place(self, group: Group, frame: pl.DataFrame, above: tuple[Group, KeyedRows | None] | None) -> KeyedRows:
        """Gives each row of a group its key: the sort group, and within it the place of its node state."""
        group_number = frame["sort_group"].to_numpy().astype(np.uint64) << np.uint64(32)
        if above is None or above[0] in self._contract.order:
            return KeyedRows(group, frame, group_number)
        placed = KeyedRows(group, frame, self._parent_keys(group, frame, *above))
        if not group.children:
            return placed
        # A row with children of its own comes behind its sort group's other rows, and its children follow it.
        at = self._order_of(placed)
        slots = np.empty(len(at), np.uint64)
        slots[at] = np.arange(1, len(at) + 1, dtype=np.uint64)
        return KeyedRows(group, frame, group_number + slots)

    def _parent_keys(self, group: Group, frame: pl.DataFrame, above: Group, parents: KeyedRows | None) -> np.ndarray:
        assert group.link is not None  # as of every group that is not at the top
        table, parent_table = self._contract.tables[group.table], self._contract.tables[above.table]
        if parents is None:
            raise orphan(table, group.link, above.table, frame.row(0, named=True))
        at = _places(frame[group.link], parents.frame[parent_table.id[0]])
        lost = np.flatnonzero(at < 0)
        if len(lost):
            raise orphan(table, group.link, above.table, frame.row(int(lost[0]), named=True))
        keys: np.ndarray = parents.key[at]
        return keys

    def _order_of(self, placed: KeyedRows) -> np.ndarray:
        """The places of a group's rows in the order of their keys and, among those with one key, of the contract's.

        Text is compared only where the numbers before it leave rows equal, which is seldom: most orders end in an id.
        """
        keys = [key for key in self._contract.tables[placed.group.table].order if key.column != "run_id"]
        columns = [placed.frame[key.column] for key in keys]
        numbers = [placed.key, *(one for column in columns if column.dtype != pl.String for one in _numbers(column))]
        at = np.lexsort(numbers[::-1])
        if any(column.dtype == pl.String for column in columns):
            same = np.ones(max(len(at) - 1, 0), bool)
            for each in numbers:
                sorted_ = each[at]
                same &= sorted_[1:] == sorted_[:-1]
            if same.any():
                frame = placed.frame.select(key_names(keys)).with_columns(key=placed.key).with_row_index("at")
                return sort_rows(frame, (OrderKey("key"), *keys))["at"].to_numpy()
        return at


@dataclass(frozen=True, slots=True)
class KeyedRows:
    """The rows of a group in a bucket, each with the key that compares with those of other groups (uint64)."""

    group: Group
    frame: pl.DataFrame
    key: np.ndarray


def _numbers(column: pl.Series) -> list[np.ndarray]:
    """A column that is no text as arrays that compare as it does; nulls are last."""
    if not column.null_count():
        return [column.to_physical().to_numpy()]
    return [column.is_null().to_numpy(), column.to_physical().fill_null(0).to_numpy()]


def _places(ids: pl.Series, among: pl.Series) -> np.ndarray:
    """The place of each id among others that are all different; -1 where it is not there."""
    texts = (each.to_arrow(compat_level=pl.CompatLevel.oldest()) for each in (ids, among))
    places: np.ndarray = pc.index_in(*texts).fill_null(-1).to_numpy()
    return places


def _require_at_most_one(table: Table, frame: pl.DataFrame) -> None:
    for rule in table.rules:
        if isinstance(rule, AtMostOne):
            several = frame.filter(pl.col(rule.column) == rule.value).filter(pl.col(rule.per).is_duplicated())
            if len(several):
                row = several.row(len(several) - 1, named=True)
                raise CorruptTable(
                    table.name,
                    f"{table.id[0]} {row[table.id[0]]!r}",
                    rule.per,
                    repr(row[rule.per]),
                    f"which has more than one {rule.meaning}",
                )
