"""The statements that read a run's rows of a table, derived from the contract.

`select_run` alone gives them. Where a table has no run_id, a database that joins row by row is faster without the join: `select_all`
gives the rows of every run, `select_parents` the ids by which those of one run are told, and `select_strays` those that no parent
claims.

Belongs here: SQLAlchemy Core statements. Does not belong here: how a database runs them (`landscape/`), order (the export sorts
by itself, so that ids compare as bytes whatever the collation).
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from .model import Contract, Path, Table

RUN_ID = "run_id"
"""The name of the one bound parameter: the run."""


def select_run(contract: Contract, table: Table, *, strays: bool = True) -> sa.Select:
    """The statement that reads the rows of one table that belong to one run, strays included.

    A row belongs to the run when its path leads there (contract, section 2), or when it says so by its own run_id. A row of a
    table without a run_id whose parent does not exist belongs to no run by any path; it must not be lost in silence. It is
    read with every run that it may have belonged to: the run of the other id that it holds (`stray_by` a path), or the runs
    in progress when it was recorded and the last run started before (`stray_by` a time); with every run when nothing tells.
    The export then refuses it as an orphan.

    Args:
        contract: the contract of the database.
        table: one of its tables.
        strays: whether rows that belong to no run by any path are among them.

    Returns:
        A SELECT of `table.selected`, and `run_id` last when the table claims its run, with the bound parameter `run_id`;
        in no order.
    """
    statement, row = _select(contract, table)
    if not table.paths:
        return statement.where(row.c.run_id == _RUN)

    joined, parents, runs = _follow_all(contract, table, row)
    conditions = [run_id == _RUN for run_id in runs]
    if table.own_run_id:
        conditions.append(row.c.run_id == _RUN)
    elif strays:
        conditions.append(_is_stray(contract, table, row, parents))
    return statement.select_from(joined).where(sa.or_(*conditions))


def select_all(contract: Contract, table: Table) -> sa.Select:
    """The statement that reads the rows of one table of every run.

    Args and returns as `select_run`, but that no parameter is bound.
    """
    return _select(contract, table)[0]


def select_parents(contract: Contract, path: Path) -> sa.Select:
    """The statement that reads by which ids a path leads to one run.

    Args:
        contract: the contract of the database.
        path: a path of one of its tables.

    Returns:
        A SELECT of the ids of those rows of `path.table` that belong to the run, with the bound parameter `run_id`.
    """
    table = contract.tables[path.table]
    row = contract.metadata.tables[table.name].alias("parent")
    statement = sa.select(row.c[table.id[0]])
    if not table.paths:
        return statement.where(row.c.run_id == _RUN)
    joined, _, run_id = _follow(contract, row, row, table.paths[0])
    return statement.select_from(joined).where(run_id == _RUN)


def select_strays(contract: Contract, table: Table) -> sa.Select:
    """The statement that reads those rows of `select_run` that belong to no run by any path. Arguments and result as there."""
    statement, row = _select(contract, table)
    joined, parents, _ = _follow_all(contract, table, row)
    return statement.select_from(joined).where(_is_stray(contract, table, row, parents))


_RUN = sa.bindparam(RUN_ID, type_=sa.Text())


def _select(contract: Contract, table: Table) -> tuple[sa.Select, sa.FromClause]:
    row = contract.metadata.tables[table.name].alias("t")
    columns = [row.c[name] for name in table.selected]
    if table.claims_run:
        columns.append(row.c.run_id)
    return sa.select(*columns), row


def _follow_all(
    contract: Contract, table: Table, row: sa.FromClause
) -> tuple[sa.FromClause, list[sa.ColumnElement], list[sa.ColumnElement]]:
    """Joins all paths of a table; gives the join, and for each path what `_follow` gives."""
    joined, parents, runs = row, [], []
    for path in table.paths:
        joined, parent, run_id = _follow(contract, joined, row, path)
        parents.append(parent)
        runs.append(run_id)
    return joined, parents, runs


def _is_stray(
    contract: Contract, table: Table, row: sa.FromClause, parents: list[sa.ColumnElement]
) -> sa.ColumnElement[bool]:
    return sa.and_(*(parent.is_(None) for parent in parents), _may_belong(contract, table, row, _RUN))


def _follow(
    contract: Contract, joined: sa.FromClause, row: sa.FromClause, path: Path
) -> tuple[sa.FromClause, sa.ColumnElement, sa.ColumnElement]:
    """Joins a path; gives the join, the id of the first parent (null for a stray), and the run_id at its end."""
    first: sa.ColumnElement | None = None
    prefix = path.column.removesuffix("_id")
    while True:
        table = contract.tables[path.table]
        parent = contract.metadata.tables[path.table].alias(f"{prefix}_{path.table}")
        joined = joined.outerjoin(parent, parent.c[table.id[0]] == row.c[path.column])
        if first is None:
            first = parent.c[table.id[0]]
        if not table.paths:
            return joined, first, parent.c.run_id
        row, path = parent, table.paths[0]


def _may_belong(
    contract: Contract, table: Table, row: sa.FromClause, run: sa.BindParameter
) -> sa.ColumnElement[bool]:
    """Whether a row without a parent may have belonged to the run, by `table.stray_by`."""
    if isinstance(table.stray_by, Path):
        target = contract.tables[table.stray_by.table]
        other: sa.FromClause = contract.metadata.tables[target.name].alias("other")
        matches = _exists(other.c[target.id[0]] == row.c[table.stray_by.column], of=other, within=(row,))
        if not target.paths:
            return sa.or_(matches(other.c.run_id == run), ~matches())
        joined, _, run_id = _follow(contract, other, other, target.paths[0])
        led = _exists(other.c[target.id[0]] == row.c[table.stray_by.column], of=joined, within=(row,))
        return sa.or_(led(run_id == run), ~matches())
    runs = contract.metadata.tables["runs"]
    mine, later, earlier = runs.alias("mine"), runs.alias("later"), runs.alias("earlier")
    at = row.c[table.stray_by]
    later_one = _exists(later.c.started_at > mine.c.started_at, of=later, within=(mine, row))
    earlier_one = _exists(earlier.c.started_at < mine.c.started_at, of=earlier, within=(mine,))
    return _exists(mine.c.run_id == run, of=mine, within=(row,))(
        sa.or_(
            sa.and_(
                mine.c.started_at <= at,
                sa.or_(at <= mine.c.completed_at, ~later_one(later.c.started_at <= at)),
            ),
            sa.and_(at < mine.c.started_at, ~earlier_one()),
        )
    )


def _exists(
    condition: sa.ColumnElement[bool], *, of: sa.FromClause, within: tuple[sa.FromClause, ...]
) -> Callable[..., sa.ColumnElement[bool]]:
    """A maker of `EXISTS (SELECT 1 FROM of WHERE condition AND ...)`, correlated with the selectables around it."""

    def make(*more: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        one = sa.select(sa.literal_column("1")).select_from(of).where(condition, *more)
        return one.correlate(*within).exists()

    return make
