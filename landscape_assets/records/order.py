"""The place of every record of some runs, found without holding the records (contract, section 2).

Belongs here: units, ranges, and the order within a range. Does not belong here: how rows are moved into ranges
(`ranges.py`) and what text a record has (`canonical.py`).

The order of records is a forest of groups (`Contract.order`) for each run, one run after the other. A **unit** is a
record at the top of it or right below (a row, a token, an operation, a call of an operation, ...) with everything that
hangs on it further down (a token's parents, outcomes and states, and the states' events and calls). Units are numbered
in record order from the ids and sort keys alone, every row of every table gets the number of its unit, and the units
are cut into **ranges** of about equal weight: one may have a part of a run, or many runs. One range after the other is
then ordered by itself, with all its ids at hand. What grows with the runs is an index of ids: 8 bytes of hash and 4 of
unit for each token and node state, and 4 bytes for each row of every table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa

from ..budget import Budget
from ..contract import Contract, Group, Table
from ..contract.model import AtMostOne, OrderKey
from ..database import RUN
from ..errors import CorruptTable
from ..parallel import in_order
from ..storage.arrow_file import ArrowReader

_RECORD_OVERHEAD = 200
"""Bytes of a record in canonical form beyond its values: keys, quotation marks, run_id."""

_SEEDS = range(8)


class IdIndex:
    """From ids of runs to units, by 64-bit hashes that are shown to differ for all ids of the index.

    An id that is not in the index is taken for one that is with probability n·2⁻⁶⁴. Where that would matter, the order
    within a range finds it, because it compares the ids themselves.
    """

    def __init__(self, seed: int, hashes: pl.Series, units: pl.Series) -> None:
        self._seed, self._hashes, self._units = seed, hashes, units

    @classmethod
    def build(cls, table: Table, reader: ArrowReader, units: pl.Series) -> IdIndex:
        """The index of a table's id column.

        Args:
            table: the table; ids are those of its first id column.
            reader: its rows.
            units: the unit of each row, in the same order.

        Raises:
            CorruptTable: an id occurs twice in a run.
        """
        column = table.id[0]
        for seed in _SEEDS:
            parts = [_keys(frame[column], frame[RUN], seed) for frame in reader.frames([column, RUN])]
            hashes = pl.concat(parts) if parts else pl.Series(column, [], pl.UInt64)
            frame = pl.DataFrame({"hash": hashes, "unit": units}).sort("hash")
            if frame["hash"].n_unique() == len(frame):
                return cls(seed, frame["hash"].rechunk(), frame["unit"].rechunk())
            _refuse_same_ids(table, reader)
        raise AssertionError("ids collide under every seed")  # 2⁻⁶⁴ each time

    def units(self, ids: pl.Series, runs: pl.Series) -> pl.Series:
        """The unit of each id of a run; null for null, and for an id that is not in the index."""
        if not len(self._hashes):
            return pl.repeat(None, len(ids), dtype=pl.UInt32, eager=True)
        wanted = _keys(ids, runs, self._seed)
        at = self._hashes.search_sorted(wanted).clip(0, len(self._hashes) - 1)
        frame = pl.DataFrame({"found": self._hashes.gather(at) == wanted, "unit": self._units.gather(at), "id": ids})
        return frame.select(pl.when(pl.col("found") & pl.col("id").is_not_null()).then("unit")).to_series()


_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # an odd number whose multiples differ in all bits (2⁶⁴ / golden ratio)


def _keys(ids: pl.Series, runs: pl.Series, seed: int) -> pl.Series:
    """A hash of each id together with its run: one id may occur in several runs."""
    keys = ids.hash(seed)
    if runs.max():
        keys = pl.Series(keys.name, keys.to_numpy() + runs.to_numpy().astype(np.uint64) * _SPREAD)
    return keys


def _refuse_same_ids(table: Table, reader: ArrowReader) -> None:
    rows = reader.frame([table.id[0], RUN])
    twice = rows.filter(rows.is_duplicated())[table.id[0]]
    if len(twice):
        raise CorruptTable(
            table.name, f"{table.id[0]} {twice[0]!r}", table.id[0], repr(twice[0]), "which occurs more than once"
        )


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the rows of a run go.

    Args:
        units: table → the unit of each row, in the order of the table's file (uint32).
        starts: the first unit of each range, ascending from 0 (uint32).
        indexes: table → the index of its ids, for references.
    """

    units: Mapping[str, pl.Series]
    starts: pl.Series
    indexes: Mapping[str, IdIndex]

    @property
    def ranges(self) -> int:
        return len(self.starts)

    def range_of(self, units: pl.Series) -> pl.Series:
        """The range of each unit."""
        return self.starts.search_sorted(units, side="right") - 1

    def require(self, contract: Contract, table: Table, rows: pa.RecordBatch) -> None:
        """Makes sure that rows refer to rows of the run.

        Args:
            contract: the contract.
            table: the table of the rows.
            rows: some of its rows, whole.

        Raises:
            CorruptTable: a reference leads nowhere in the run.
        """
        links = {group.link for group in contract.groups if group.table == table.name}
        for reference in table.references:
            if reference.column in links:
                continue  # the order is found by it
            ids = pl.from_arrow(rows.select([reference.column, RUN])).drop_nulls().unique()
            lost = ids.filter(self.indexes[reference.table].units(ids[reference.column], ids[RUN]).is_null())
            if len(lost):
                row = pl.from_arrow(rows).join(lost, on=[reference.column, RUN], how="semi").row(0, named=True)
                raise _orphan(table, reference.column, reference.table, row)


def place(contract: Contract, runs: int, tables: Mapping[str, ArrowReader], budget: Budget) -> Placement:
    """Numbers the units of some runs and cuts them into ranges.

    Args:
        contract: the contract of the tables.
        runs: how many runs there are.
        tables: table → its rows, for every table of the contract.
        budget: about how many bytes of canonical form a range may have (a unit is never cut), and how many threads
            there are.

    Raises:
        CorruptTable: a row whose parent is not in the run (an orphan), or an id that occurs twice.
    """
    with ThreadPoolExecutor(budget.threads, "order") as pool:
        return _Numbering(contract, runs, tables, pool, budget.threads).placement(budget.range_bytes)


class _Numbering:
    """The work of `place`."""

    def __init__(
        self, contract: Contract, runs: int, tables: Mapping[str, ArrowReader], pool: ThreadPoolExecutor, threads: int
    ) -> None:
        self._contract, self._runs, self._tables = contract, runs, tables
        self._pool, self._threads = pool, threads
        self._units: dict[str, pl.Series] = {}
        self._indexes: dict[str, IdIndex] = {}
        self._count = 0

    def placement(self, range_bytes: int) -> Placement:
        # Each group at the top is numbered by itself, its runs one after the other; then its runs are moved apart, so
        # that all groups of a run come before the next run.
        counts = np.array([self._number(root) for root in self._contract.order], np.int64)
        self._count = int(counts.sum())
        if self._count >= 2**32:
            raise AssertionError("more than 2^32 units")
        by_run = counts.T.ravel()
        firsts = (np.cumsum(by_run) - by_run).reshape(self._runs, len(counts)).T
        for root, first, count in zip(self._contract.order, firsts, counts, strict=True):
            shift = first - (np.cumsum(count) - count)
            for table in (root.table, *(child.table for child in root.children)):
                self._shift(table, shift)
        for root in self._contract.order:
            for child in root.children:
                self._number_below(child)
        for table in self._contract.tables.values():
            for reference in table.references:
                self._index(reference.table)
        return Placement(self._units, self._cut(range_bytes), self._indexes)

    def _number(self, root: Group) -> np.ndarray:
        """Numbers the units of a top group from 0, those of the first run first; how many each run has."""
        if not root.children:
            rows = self._in_order(root.table, ())
            self._put(root.table, rows.select("at", unit=pl.col("no")))
            return self._count_by_run(rows)
        (child,) = root.children
        return self._number_pair(root, child)

    def _count_by_run(self, rows: pl.DataFrame) -> np.ndarray:
        return np.bincount(rows[RUN].to_numpy(), minlength=self._runs)

    def _number_pair(self, root: Group, child: Group) -> np.ndarray:
        """Every row of a top group and of its child group is a unit: each parent comes before its children."""
        parent_id, child_table = self._contract.tables[root.table].id[0], self._contract.tables[child.table]
        parents = self._in_order(root.table, (parent_id,))
        children = self._rows(child.table, (child.link, *child_table.id, *_names(child_table.order)), child.link).join(
            parents.select(pl.col(parent_id).alias(child.link), pl.col("no").alias("parent")),
            on=child.link,
            how="left",
            maintain_order="left",
        )
        orphan = children.filter(pl.col("parent").is_null()).head(1)
        if len(orphan):
            raise _orphan(child_table, child.link, root.table, orphan.row(0, named=True))
        children = _sorted(children, (OrderKey("parent"), *child_table.order)).with_row_index("rank")
        parents = parents.join(
            children.group_by("parent").len("children"),
            left_on="no",
            right_on="parent",
            how="left",
            maintain_order="left",
        )
        born = pl.col("children").fill_null(0)
        before = born.cum_sum() - born
        self._put(root.table, parents.select("at", unit=pl.col("no") + before))
        self._put(child.table, children.select("at", unit=pl.col("rank") + pl.col("parent") + 1))
        return self._count_by_run(parents) + self._count_by_run(children)

    def _shift(self, table: str, shift: np.ndarray) -> None:
        """Moves the units of each run by as much as is said."""
        if shift.any():
            # Batch by batch: a column that is kept would keep its whole batch in memory.
            by_row = [shift[frame[RUN].to_numpy()] for frame in self._tables[table].frames([RUN])]
            moved = pl.Series(np.concatenate([np.empty(0, np.int64), *by_row]))
            self._units[table] = (self._units[table].cast(pl.Int64) + moved).cast(pl.UInt32)

    def _number_below(self, parent: Group) -> None:
        """Rows further down get the unit of their parent."""
        for group in parent.children:
            index, reader = self._index(parent.table), self._tables[group.table]
            found = [pl.Series([], dtype=pl.UInt32)]
            look_up = partial(self._units_of_parents, parent, group, index)
            found.extend(in_order(self._pool, look_up, range(reader.batches), self._threads))
            self._merge(group.table, pl.concat(found))
            self._number_below(group)

    def _units_of_parents(self, parent: Group, group: Group, index: IdIndex, i: int) -> pl.Series:
        """The unit of the parent of each row of a batch; null where none is given."""
        table, reader = self._contract.tables[group.table], self._tables[group.table]
        found = pl.from_arrow(reader.batch(i, [group.link, RUN]))
        links = found[group.link]
        units = index.units(links, found[RUN])
        if units.null_count() > links.null_count():
            rows = pl.from_arrow(reader.batch(i, list(dict.fromkeys((group.link, *table.id)))))
            lost = rows.filter(units.is_null() & links.is_not_null())
            raise _orphan(table, group.link, parent.table, lost.row(0, named=True))
        return units

    def _rows(self, table: str, columns: tuple[str, ...], given: str | None = None) -> pl.DataFrame:
        """Some columns of the rows of a table in which the column `given` is given, and `at`, the place of each in its
        file."""
        reader, names, before = self._tables[table], list(dict.fromkeys((*columns, RUN))), 0
        found = [reader.empty(names).with_row_index("at")]
        for frame in reader.frames(names):
            numbered = frame.with_row_index("at", before)
            before += len(frame)
            found.append(numbered if given is None else numbered.filter(pl.col(given).is_not_null()))
        return pl.concat(found)

    def _in_order(self, table: str, columns: tuple[str, ...]) -> pl.DataFrame:
        """A top group's rows in record order, run by run, with `at`, and `no`, their number."""
        keys = tuple(key for key in self._contract.tables[table].order if key.column != "run_id")
        return _sorted(self._rows(table, (*columns, *_names(keys))), (OrderKey(RUN), *keys)).with_row_index("no")

    def _put(self, table: str, placed: pl.DataFrame) -> None:
        """Notes units given as columns `at` and `unit`, in any order and perhaps not for every row."""
        units = pl.repeat(None, self._tables[table].rows, dtype=pl.UInt32, eager=True)
        self._merge(table, units.scatter(placed["at"], placed["unit"].cast(pl.UInt32)))

    def _merge(self, table: str, units: pl.Series) -> None:
        """Notes the units of a table; one with two kinds of parents (calls) gets them from one or the other."""
        if table in self._units:
            units = pl.select(pl.coalesce(self._units[table], units)).to_series()
        self._units[table] = units

    def _index(self, table: str) -> IdIndex:
        if table not in self._indexes:
            self._indexes[table] = IdIndex.build(self._contract.tables[table], self._tables[table], self._units[table])
        return self._indexes[table]

    def _cut(self, range_bytes: int) -> pl.Series:
        """The first unit of each range."""
        weights = np.zeros(self._count, np.float64)
        for name, reader in self._tables.items():
            done = 0
            for i in range(reader.batches):
                rows = reader.batch_rows(i)
                units = self._units[name].slice(done, rows).to_numpy()
                first = int(units.min())
                counts = np.bincount(units - first)
                weights[first : first + len(counts)] += counts * (reader.batch_bytes(i) / rows + _RECORD_OVERHEAD)
                done += rows
        number = (np.cumsum(weights) - weights) // range_bytes
        starts = np.flatnonzero(np.diff(number, prepend=-1))
        return pl.Series(starts if len(starts) else [0], dtype=pl.UInt32)


def _names(keys: Sequence[OrderKey]) -> tuple[str, ...]:
    return tuple(key.column for key in keys)


def _sorted(frame: pl.DataFrame, keys: Sequence[OrderKey]) -> pl.DataFrame:
    """The frame in the order of the keys. Polars compares text by its UTF-8 bytes, as the contract wants."""
    if not keys:
        return frame
    return frame.sort(list(_names(keys)), nulls_last=[key.nulls_last for key in keys])


def _orphan(table: Table, link: str, parent: str, row: Mapping[str, object]) -> CorruptTable:
    label = ", ".join(f"{name} {row[name]!r}" for name in table.id)
    return CorruptTable(table.name, label, link, repr(row[link]), f"which is the id of no row of {parent} in this run")


def ordering_columns(contract: Contract, table: Table) -> list[str]:
    """The columns of a table's rows that `RangeOrder` needs."""
    links = [group.link for group in contract.groups if group.table == table.name and group.link is not None]
    rules = [name for rule in table.rules if isinstance(rule, AtMostOne) for name in (rule.per, rule.column)]
    wanted = dict.fromkeys((*table.id, *links, *_names(table.order), *rules))
    return ["unit", RUN, *(name for name in wanted if name in table.selected)]


class RangeOrder:
    """The order of the records of one range.

    It is found with arrays of numbers: a range is small, and each operation on a frame would cost as much as thousands
        of numbers.

    Args:
        contract: the contract.
        frames: table → its rows of the range, where there are any, with the columns of `ordering_columns` at least.

    Raises:
        CorruptTable: a parent that is not in the run, or more rows of a kind than may be (`AtMostOne`).
    """

    def __init__(self, contract: Contract, frames: Mapping[str, pl.DataFrame]) -> None:
        self._contract = contract
        self.placed: list[Placed] = []
        """The rows by group, in the order of the groups: those of a table with two kinds of parents twice."""
        for root in contract.order:
            self._add(root, frames, None)
        for name, frame in frames.items():
            _require_at_most_one(contract.tables[name], frame)

    def permutation(self) -> pl.Series:
        """The places, in the concatenated frames of `placed`, of the range's records in record order."""
        keys, places, start = [np.empty(0, np.uint64)], [np.empty(0, np.intp)], 0
        for placed in self.placed:
            at = self._order_of(placed)
            keys.append(placed.key[at])
            places.append(at + start)
            start += len(at)
        # Groups come as the contract has them: of records with one key, those of an earlier group are first.
        order = np.argsort(np.concatenate(keys), kind="stable")
        return pl.Series(np.concatenate(places)[order].astype(np.uint32))

    def _add(self, group: Group, frames: Mapping[str, pl.DataFrame], above: tuple[Group, Placed | None] | None) -> None:
        frame, placed = frames.get(group.table), None
        if frame is not None and group.link is not None and frame[group.link].null_count():
            frame = frame.filter(pl.col(group.link).is_not_null())  # a table with two kinds of parents
        if frame is not None and len(frame):
            placed = self._place(group, frame, above)
            self.placed.append(placed)
        for child in group.children:
            self._add(child, frames, (group, placed))

    def _place(self, group: Group, frame: pl.DataFrame, above: tuple[Group, Placed | None] | None) -> Placed:
        """Gives each row of a group its key: the unit, and within it the place of the node state that it hangs on."""
        unit = frame["unit"].to_numpy().astype(np.uint64) << np.uint64(32)
        if above is None or above[0] in self._contract.order:
            return Placed(group, frame, unit)
        placed = Placed(group, frame, self._parent_keys(group, frame, *above))
        if not group.children:
            return placed
        # A row with children of its own comes behind its unit's other rows, and its children follow it.
        at = self._order_of(placed)
        slots = np.empty(len(at), np.uint64)
        slots[at] = np.arange(1, len(at) + 1, dtype=np.uint64)
        return Placed(group, frame, unit + slots)

    def _parent_keys(self, group: Group, frame: pl.DataFrame, above: Group, parents: Placed | None) -> np.ndarray:
        table, parent_table = self._contract.tables[group.table], self._contract.tables[above.table]
        if parents is None:
            raise _orphan(table, group.link, above.table, frame.row(0, named=True))
        at = _places(frame[group.link], parents.frame[parent_table.id[0]])
        lost = np.flatnonzero(at < 0)
        if len(lost):
            raise _orphan(table, group.link, above.table, frame.row(int(lost[0]), named=True))
        return parents.key[at]

    def _order_of(self, placed: Placed) -> np.ndarray:
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
                frame = placed.frame.select(_names(keys)).with_columns(key=placed.key).with_row_index("at")
                return _sorted(frame, (OrderKey("key"), *keys))["at"].to_numpy()
        return at


@dataclass(frozen=True, slots=True)
class Placed:
    """The rows of a group in a range, and the key by which each comes before or behind those of other groups (uint64)."""

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
    hashes = among.hash().to_numpy()
    by_hash = np.argsort(hashes)
    hashes = hashes[by_hash]
    found = np.searchsorted(hashes, ids.hash().to_numpy())
    at = by_hash[np.minimum(found, len(by_hash) - 1)]
    right = (among.gather(at) == ids).to_numpy()
    if not right.all():
        # Seldom: an id is lost, or two have one hash.
        place = {id_: i for i, id_ in enumerate(among)}
        at = np.array([place.get(id_, -1) for id_ in ids])
    return at


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
