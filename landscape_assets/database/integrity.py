"""Damage that belongs to no run, or to two: what the export of a run cannot see, looked for in the whole database.

Belongs here: statements over whole tables, derived from the contract, and what their rows mean. They return damaged
rows alone, so that memory does not grow with the database. Does not belong here: what is wrong within a run's own rows
(`validation.py`, `records/`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from ..contract import Contract, Table
from ..errors import CorruptTable
from .audit_database import AuditDatabase


def find_damage(database: AuditDatabase) -> Iterator[CorruptTable]:
    """Looks for rows without a run or a parent, rows with a parent of another run, and ids that occur more than once.

    Args:
        database: the audit database, all of which is looked at in one state.

    Yields:
        Each finding as the error that it would be in an export, table by table as in the contract.

    Raises:
        DatabaseError: the database cannot be read.
    """
    for found in database.file_damage():
        yield CorruptTable("(any)", "the file", "(any)", found, "which SQLite's integrity check says of it")
    for table in database.contract.tables.values():
        yield from _repeated_ids(database, table)
        if table.own_run_id:
            yield from _unknown_runs(database, table.name, table.key)
        if table.paths:
            yield from _without_parent(database, table)
        links = {link.column: link.table for link in table.paths} | {
            link.column: link.table for link in table.references
        }
        for column, parent in links.items():
            yield from _wrong_parents(database, table, column, database.contract.tables[parent])
    for name in database.contract.joined:
        yield from _unknown_runs(database, name, ("run_id",))


def _repeated_ids(database: AuditDatabase, table: Table) -> Iterator[CorruptTable]:
    row, same = (database.contract.metadata.tables[table.name].alias() for _ in range(2))
    key = [row.c[name] for name in table.key]
    runs: sa.ColumnElement[Any] = sa.null()
    if table.own_run_id:
        is_same = (same.c[name] == row.c[name] for name in table.key)
        runs = sa.select(sa.func.count(same.c.run_id.distinct())).where(*is_same).scalar_subquery()
    # Nothing is bound, so that the rows are streamed from PostgreSQL, too.
    repeated = sa.func.count() > sa.literal_column("1")
    select = sa.select(*key, runs).where(*(part.is_not(None) for part in key)).group_by(*key).having(repeated)
    column = table.id[-1]
    for *ids, count in database.texts(select):
        often = f"in {count} runs" if int(count or 1) > 1 else "more than once"
        yield _corrupt(table, ids, column, ids[table.key.index(column)], f"which occurs {often}")


def _unknown_runs(database: AuditDatabase, table: str, key: Sequence[str]) -> Iterator[CorruptTable]:
    row, run = (database.contract.metadata.tables[name].alias() for name in (table, "runs"))
    select = (
        sa.select(*(row.c[name] for name in key), row.c.run_id)
        .select_from(row.outerjoin(run, run.c.run_id == row.c.run_id))
        .where(run.c.run_id.is_(None))
    )
    for *ids, found in database.texts(select):
        rule = "where a value is required" if found is None else "which is the id of no run"
        label = ", ".join(f"{name} {_quoted(value)}" for name, value in zip(key, ids, strict=True))
        yield CorruptTable(table, label, "run_id", _quoted(found), rule)


def _without_parent(database: AuditDatabase, table: Table) -> Iterator[CorruptTable]:
    """Rows that name no parent at all by which they would belong to a run."""
    row = database.contract.metadata.tables[table.name].alias()
    names = [path.column for path in table.paths]
    select = sa.select(*(row.c[name] for name in table.key)).where(*(row.c[name].is_(None) for name in names))
    rule = "where a value is required" if len(names) == 1 else f"where one of {' and '.join(names)} must be given"
    for ids in database.texts(select):
        yield _corrupt(table, ids, names[0], None, rule)


def _wrong_parents(database: AuditDatabase, table: Table, column: str, parent: Table) -> Iterator[CorruptTable]:
    """Rows that name a parent which does not exist, or which is not of their run."""
    for *ids, found, mine, exists, other, agrees in database.texts(
        _select_wrong_parents(database.contract, table, column, parent)
    ):
        if exists is None:
            yield _corrupt(table, ids, column, found, f"which is the id of no row of {parent.name}")
        elif mine is not None and other is not None and agrees is None:
            rule = f"which is the id of a row of {parent.name} in run {other!r}, and not in run {mine!r}"
            yield _corrupt(table, ids, column, found, rule)


def _select_wrong_parents(contract: Contract, table: Table, column: str, parent: Table) -> sa.Select[Any]:
    """Rows without a parent of their run: their key, the column, and what tells why, null or not.

    What tells why is asked of these rows alone, in subqueries of the result: the run of the row, if there is such a
    run; the parent's id, if there is such a row in any run; a run of the parent, if there is such a run; and a run that
    row and parent have in common after all, because the id that tells the row's run occurs in two.
    """
    source, row, run = _placed(contract, table)
    parents, above, run_above = _placed(contract, parent)
    others, other, run_other = _placed(contract, parent)
    above_id, other_id = above.c[parent.id[0]], other.c[parent.id[0]]
    known, known_other = (contract.metadata.tables["runs"].alias() for _ in range(2))

    def first(value: sa.ColumnElement[Any], of: sa.FromClause, *where: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
        return sa.select(sa.func.min(value)).select_from(of).where(*where).scalar_subquery()

    mine: sa.ColumnElement[Any] = first(known.c.run_id, known, known.c.run_id == run)
    agrees: sa.ColumnElement[Any] = sa.null()
    of_same_run = [run_above == run]
    if not table.own_run_id and column == table.paths[0].column:
        # The run is the parent's own: only whether the parent exists is in question.
        source, parents, mine, of_same_run = row, above, sa.null(), []
    elif not table.own_run_id:
        same_rows, same, run_same = _placed(contract, table)
        pairs = same_rows.join(others, sa.and_(other_id == same.c[column], run_other == run_same))
        names = {*table.key, column, table.paths[0].column}
        agrees = first(run_other, pairs, *(same.c[name] == row.c[name] for name in sorted(names)))
    return (
        sa.select(
            *(row.c[name] for name in table.key),
            row.c[column],
            mine,
            first(other_id, other, other_id == row.c[column]),
            first(run_other, others.join(known_other, known_other.c.run_id == run_other), other_id == row.c[column]),
            agrees,
        )
        .select_from(source.outerjoin(parents, sa.and_(above_id == row.c[column], *of_same_run)))
        .where(row.c[column].is_not(None), above_id.is_(None))
    )


def _placed(contract: Contract, table: Table) -> tuple[sa.FromClause, sa.FromClause, sa.ColumnElement[Any]]:
    """A table with what tells the runs of its rows.

    Returns:
        The FROM clause; the table in it; the run, which is null where no parent tells it.
    """
    row = contract.metadata.tables[table.name].alias()
    if table.own_run_id:
        return row, row, row.c.run_id
    source: sa.FromClause = row
    runs = []
    for path in table.paths:
        parents, parent, run = _placed(contract, contract.tables[path.table])
        source = source.outerjoin(parents, parent.c[contract.tables[path.table].id[0]] == row.c[path.column])
        runs.append(run)
    return source, row, runs[0] if len(runs) == 1 else sa.func.coalesce(*runs)


def _corrupt(table: Table, ids: Sequence[str | None], column: str, found: str | None, rule: str) -> CorruptTable:
    label = ", ".join(f"{name} {_quoted(value)}" for name, value in zip(table.key, ids, strict=True))
    return CorruptTable(table.name, label, column, _quoted(found), rule)


def _quoted(value: str | None) -> str:
    return "null" if value is None else repr(value)
