"""The plan of an external bucket sort: which rows are sorted together (contract, section 2).

Belongs here: sort groups, and cutting them into buckets, from ids and sort keys alone. Does not belong here: how rows
are moved into buckets (`buckets.py`), and the order within a bucket (`sort.py`).

The order of records is a forest of groups (`Contract.order`) for each run, one run after the other. A **sort group** is
a record at the top of it or right below (a row, a token, an operation, a call of an operation, ...) with everything
that hangs on it further down (a token's parents, outcomes and states, and the states' events and calls). Sort groups
are numbered in record order, every row of every table gets the number of its sort group, and they are cut into
**buckets** of about equal weight: one may have a part of a run, or many runs. One bucket after the other is then sorted
by itself, with all its ids at hand. What grows with the runs is an index of ids: 8 bytes of hash and 4 of sort group
for each token and node state, and 4 bytes for each row of every table.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa

from ..budget import Budget
from ..contract import Contract, Group, Table
from ..contract.model import OrderKey
from ..database import RUN
from ..lookup import with_nulls
from ..parallel import in_order
from ..storage.arrow_file import ArrowReader
from .id_index import IdIndex, orphan
from .sort import key_names, sort_rows

_RECORD_OVERHEAD = 200
"""Bytes of a record in canonical form beyond its values: keys, quotation marks, run_id."""


@dataclass(frozen=True, slots=True)
class SortPlan:
    """Where the rows of a run go.

    Args:
        sort_groups: table → the sort group of each row, in the order of the table's file (uint32).
        starts: the first sort group of each bucket, ascending from 0 (uint32).
        indexes: table → the index of its ids, for references.
    """

    sort_groups: Mapping[str, pl.Series]
    starts: np.ndarray
    indexes: Mapping[str, IdIndex]

    @property
    def buckets(self) -> int:
        """How many buckets there are."""
        return len(self.starts)

    def bucket_of(self, sort_groups: pl.Series) -> np.ndarray:
        """The bucket of each sort group."""
        buckets: np.ndarray = np.searchsorted(self.starts, sort_groups.to_numpy(), side="right") - 1
        return buckets

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
            ids = pl.Series(rows.column(reference.column))
            found = self.indexes[reference.table].sort_groups(ids, pl.Series(rows.column(RUN)))
            if found.null_count() > ids.null_count():
                lost = pl.DataFrame(rows).filter(found.is_null() & ids.is_not_null())
                raise orphan(table, reference.column, reference.table, lost.row(0, named=True))


def plan_sort(contract: Contract, runs: int, tables: Mapping[str, ArrowReader], budget: Budget) -> SortPlan:
    """Numbers the sort groups of some runs and cuts them into buckets.

    Args:
        contract: the contract of the tables.
        runs: how many runs there are.
        tables: table → its rows, for every table of the contract.
        budget: about how many bytes of canonical form a bucket may have (a sort group is never cut), and how many
            threads there are.

    Raises:
        CorruptTable: a row whose parent is not in the run (an orphan), or an id that occurs twice.
    """
    with ThreadPoolExecutor(budget.threads, "order") as pool:
        return _Planner(contract, runs, tables, pool, budget.threads).plan(budget.bucket_bytes)


class _Planner:
    """The work of `plan_sort`."""

    def __init__(
        self, contract: Contract, runs: int, tables: Mapping[str, ArrowReader], pool: ThreadPoolExecutor, threads: int
    ) -> None:
        self._contract, self._runs, self._tables = contract, runs, tables
        self._pool, self._threads = pool, threads
        self._sort_groups: dict[str, pl.Series] = {}
        self._indexes: dict[str, IdIndex] = {}
        self._count = 0

    def plan(self, bucket_bytes: int) -> SortPlan:
        # Each group at the top is numbered by itself, its runs one after the other; then its runs are moved apart, so
        # that all groups of a run come before the next run.
        counts = np.array([self._number(root) for root in self._contract.order], np.int64)
        self._count = int(counts.sum())
        if self._count >= 2**32:
            raise AssertionError("more than 2^32 sort groups")
        by_run = counts.T.ravel()
        firsts = (np.cumsum(by_run) - by_run).reshape(self._runs, len(counts)).T
        for root, first, count in zip(self._contract.order, firsts, counts, strict=True):
            shift = first - (np.cumsum(count) - count)
            for group in (root, *root.children):
                self._shift(group.table, shift)
        for root in self._contract.order:
            for child in root.children:
                self._assign_descendants(child)
        for table in self._contract.tables.values():
            for reference in table.references:
                self._index(reference.table)
        return SortPlan(self._sort_groups, self._cut(bucket_bytes), self._indexes)

    def _number(self, root: Group) -> np.ndarray:
        """Numbers the sort groups of a top group from 0, those of the first run first; how many each run has."""
        if not root.children:
            rows = self._in_order(root.table, ())
            self._put(root.table, rows.select("at", sort_group=pl.col("no")))
            return self._count_by_run(rows)
        (child,) = root.children
        return self._number_pair(root, child)

    def _count_by_run(self, rows: pl.DataFrame) -> np.ndarray:
        counts: np.ndarray = np.bincount(rows[RUN].to_numpy(), minlength=self._runs)
        return counts

    def _number_pair(self, root: Group, child: Group) -> np.ndarray:
        """Every row of a top group and of its child group is a sort group: each parent comes before its children."""
        assert child.link is not None  # as of every group that is not at the top
        parent_id, child_table = self._contract.tables[root.table].id[0], self._contract.tables[child.table]
        parents = self._in_order(root.table, (parent_id,))
        children = self._rows(
            child.table, (child.link, *child_table.id, *key_names(child_table.order)), child.link
        ).join(
            parents.select(pl.col(parent_id).alias(child.link), pl.col("no").alias("parent")),
            on=child.link,
            how="left",
            maintain_order="left",
        )
        lost = children.filter(pl.col("parent").is_null()).head(1)
        if len(lost):
            raise orphan(child_table, child.link, root.table, lost.row(0, named=True))
        children = sort_rows(children, (OrderKey("parent"), *child_table.order)).with_row_index("rank")
        parents = parents.join(
            children.group_by("parent").len("children"),
            left_on="no",
            right_on="parent",
            how="left",
            maintain_order="left",
        )
        born = pl.col("children").fill_null(0)
        before = born.cum_sum() - born
        self._put(root.table, parents.select("at", sort_group=pl.col("no") + before))
        self._put(child.table, children.select("at", sort_group=pl.col("rank") + pl.col("parent") + 1))
        counts: np.ndarray = self._count_by_run(parents) + self._count_by_run(children)
        return counts

    def _shift(self, table: str, shift: np.ndarray) -> None:
        """Moves the sort groups of each run by as much as is said."""
        if shift.any():
            # Batch by batch: a column that is kept would keep its whole batch in memory.
            by_row = [shift[frame[RUN].to_numpy()] for frame in self._tables[table].frames([RUN])]
            moved = pl.Series(np.concatenate([np.empty(0, np.int64), *by_row]))
            self._sort_groups[table] = (self._sort_groups[table].cast(pl.Int64) + moved).cast(pl.UInt32)

    def _assign_descendants(self, parent: Group) -> None:
        """Rows further down get the sort group of their parent."""
        for group in parent.children:
            index, reader = self._index(parent.table), self._tables[group.table]
            found = [pl.Series([], dtype=pl.UInt32)]
            look_up = partial(self._groups_of_parents, parent, group, index)
            found.extend(in_order(self._pool, look_up, range(reader.batches), self._threads))
            self._merge(group.table, pl.concat(found))
            self._assign_descendants(group)

    def _groups_of_parents(self, parent: Group, group: Group, index: IdIndex, i: int) -> pl.Series:
        """The sort group of the parent of each row of a batch; null where none is given."""
        assert group.link is not None
        table, reader = self._contract.tables[group.table], self._tables[group.table]
        found = pl.DataFrame(reader.batch(i, [group.link, RUN]))
        links = found[group.link]
        sort_groups = index.sort_groups(links, found[RUN])
        if sort_groups.null_count() > links.null_count():
            rows = pl.DataFrame(reader.batch(i, list(dict.fromkeys((group.link, *table.id)))))
            lost = rows.filter(sort_groups.is_null() & links.is_not_null())
            raise orphan(table, group.link, parent.table, lost.row(0, named=True))
        return sort_groups

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
        return sort_rows(self._rows(table, (*columns, *key_names(keys))), (OrderKey(RUN), *keys)).with_row_index("no")

    def _put(self, table: str, placed: pl.DataFrame) -> None:
        """Notes sort groups given as columns `at` and `sort_group`, in any order and perhaps not for every row."""
        sort_groups, given = np.zeros(self._tables[table].rows, np.uint32), np.zeros(self._tables[table].rows, bool)
        at = placed["at"].to_numpy()
        sort_groups[at], given[at] = placed["sort_group"].to_numpy(), True
        self._merge(table, with_nulls(sort_groups, given))

    def _merge(self, table: str, sort_groups: pl.Series) -> None:
        """Notes the sort groups of a table; one with two kinds of parents (calls) gets them from one or the other."""
        if table in self._sort_groups:
            sort_groups = pl.select(pl.coalesce(self._sort_groups[table], sort_groups)).to_series()
        self._sort_groups[table] = sort_groups

    def _index(self, table: str) -> IdIndex:
        if table not in self._indexes:
            self._indexes[table] = IdIndex.build(
                self._contract.tables[table], self._tables[table], self._sort_groups[table]
            )
        return self._indexes[table]

    def _cut(self, bucket_bytes: int) -> np.ndarray:
        """The first sort group of each bucket."""
        weights = np.zeros(self._count, np.float64)
        for name, reader in self._tables.items():
            done = 0
            for i in range(reader.batches):
                rows = reader.batch_rows(i)
                sort_groups = self._sort_groups[name].slice(done, rows).to_numpy()
                first = int(sort_groups.min())
                counts = np.bincount(sort_groups - first)
                weights[first : first + len(counts)] += counts * (reader.batch_bytes(i) / rows + _RECORD_OVERHEAD)
                done += rows
        number = (np.cumsum(weights) - weights) // bucket_bytes
        starts = np.flatnonzero(np.diff(number, prepend=-1))
        return starts.astype(np.uint32) if len(starts) else np.zeros(1, np.uint32)
