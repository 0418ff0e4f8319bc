"""The statements that read the rows of runs in a table, derived from the contract.

A row belongs to a run when its path leads there (contract, section 2): by its own run_id where the table has no path,
and else by the row that it hangs on. There are two ways to the same rows. `select_runs` begins at the runs and follows
the indexes of ELSPETH's schema; what it costs grows with the runs. `select_all` reads the whole table, and the reader
sorts out the rows of the runs (`database/membership.py`); what it costs grows with the table, but each row costs less.

A statement is made once for each contract and table: to make one takes longer than to run it for a small run.

Belongs here: SQLAlchemy Core statements. Does not belong here: which way is taken and how a database runs it
(`database/`), order (the export sorts by itself, so that ids compare as bytes whatever the collation).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa

from ..contract.model import ByPresence, Column, Contract, Table

RUN_IDS = "run_ids"
"""The name of the one bound parameter: the runs, a list of run_ids."""


@cache
def select_runs(contract: Contract, table: Table, *, literal: bool = False) -> sa.Select[Any]:
    """The statement that reads the rows of one table that belong to some runs, beginning at these runs.

    Args:
        contract: the contract of the database.
        table: one of its tables.
        literal: write the run_ids into the statement when it is executed, instead of binding them.

    Returns:
        A SELECT of `table.selected`, and of `run_id` last when the table has it, with the bound parameter `run_ids`; in
        no order.
    """
    statement, row = _select(contract, table)
    return statement.where(_belongs(contract, table, row, literal))


@cache
def select_all(contract: Contract, table: Table) -> sa.Select[Any]:
    """The statement that reads the rows of one table of every run. Arguments and result as for `select_runs`, without a
    parameter."""
    return _select(contract, table)[0]


@cache
def count_rows(contract: Contract, table: Table, *, literal: bool = False) -> sa.Select[Any]:
    """The statement that counts the rows of `select_runs`; arguments as there."""
    row = contract.metadata.tables[table.name].alias("t")
    return sa.select(sa.func.count()).select_from(row).where(_belongs(contract, table, row, literal))


@cache
def display(statement: sa.Select[Any]) -> str:
    """A statement as people are shown it, with the runs as `:run_ids`."""
    return str(statement).replace(f"(__[POSTCOMPILE_{RUN_IDS}])", f"(:{RUN_IDS})")


def _select(contract: Contract, table: Table) -> tuple[sa.Select[Any], Any]:
    row = contract.metadata.tables[table.name].alias("t")
    source: sa.FromClause = row
    others: dict[str, sa.FromClause] = {}
    for name in dict.fromkeys(column.of for column in table.columns if column.of is not None):
        others[name] = contract.metadata.tables[name]
        source = source.outerjoin(others[name], others[name].c.run_id == row.c.run_id)
    columns = [_value(column, row, others) for column in table.columns]
    if table.own_run_id:
        columns.append(row.c.run_id)
    return sa.select(*columns).select_from(source), row


def _value(column: Column, row: sa.FromClause, others: Mapping[str, sa.FromClause]) -> sa.ColumnElement[Any]:
    """What is read for a column: its own, that of another table, or what follows from others."""
    if column.redacted:
        return sa.cast(sa.null(), sa.Text).label(column.name)
    if column.of is not None:
        return others[column.of].c[column.name]
    if column.derived is None:
        return row.c[column.name]
    if isinstance(column.derived, ByPresence):
        how = column.derived
        given = row.c[how.column].is_not(None)
        found, other = (sa.literal_column(f"'{text}'", sa.Text()) for text in (how.given, how.absent))
        return sa.case((given, found), else_=other).label(column.name)
    per, by = row.c[column.derived.per], [row.c[name] for name in column.derived.by]
    number = sa.func.row_number().over(partition_by=per, order_by=by)
    return (number - sa.literal_column("1")).label(column.name)


def _belongs(contract: Contract, table: Table, row: sa.FromClause, literal: bool) -> sa.ColumnElement[bool]:
    """Whether a row belongs to one of the runs.

    Ids of parents are looked up in subqueries and not in joins, so that a row with two parents comes once.
    """
    if not table.paths:
        run_ids = sa.bindparam(RUN_IDS, type_=sa.Text(), expanding=True, literal_execute=literal)
        return row.c.run_id.in_(run_ids)
    conditions = []
    for path in table.paths:
        parent_table = contract.tables[path.table]
        parent = contract.metadata.tables[path.table]
        ids = sa.select(parent.c[parent_table.id[0]]).where(_belongs(contract, parent_table, parent, literal))
        conditions.append(row.c[path.column].in_(ids))
    return sa.or_(*conditions)
