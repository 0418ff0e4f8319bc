"""The contracts as data: that they say what the record contract says, and fit together.

Belongs here: what can be seen without a database. The lists that it is compared with are written down independently
(`benchmarks/fields.py`).
"""

import pytest

from benchmarks.fields import FIELDS, NOT_IN_V0, ORDER, PARSED, TIMES
from landscape_assets.contract import ALL_TABLES, CONTRACTS, V0, V1, Contract, Kind
from landscape_assets.contract.rules import AtMostOne, Cases, ExactlyOne, NotBefore, RowRule, StatusRule, Together, When
from landscape_assets.database.statements import count_rows, display, select_all, select_runs

BOTH = pytest.mark.parametrize("contract", [V0, V1], ids=lambda contract: contract.name)
ALL = pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)


def test_fields_are_those_of_the_record_contract():
    """Every record type has the fields of the contract's table, in its order."""
    ours = {name: tuple(column.field for column in table.fields) for name, table in V1.record_types.items()}
    assert ours == FIELDS


def test_v0_is_v1_without_what_came_later():
    """v0 has no token outcomes and no payload hashes of operations; all else is as in v1."""
    expected = {
        name: tuple(field for field in fields if (name, field) not in NOT_IN_V0)
        for name, fields in FIELDS.items()
        if name != "token_outcome"
    }
    assert {name: tuple(c.field for c in table.fields) for name, table in V0.record_types.items()} == expected
    assert not V0.tables["tokens"].own_run_id
    assert V1.tables["tokens"].own_run_id


@BOTH
def test_order_is_that_of_the_record_contract(contract):
    """The rows below one parent are ordered by the columns of the contract's table; nulls come last where there may be
    some."""
    ours = {name: tuple(key.column for key in table.order) for name, table in contract.tables.items()}
    assert ours == {name: columns for name, columns in ORDER.items() if name in contract.tables}
    for table in contract.tables.values():
        for key in table.order:
            if key.column != "run_id":
                assert key.nulls_last == (not table.column(key.column).required)


@BOTH
def test_kinds_are_those_of_the_record_contract(contract):
    """Times and parsed columns are exactly those that the contract names."""
    for table in contract.tables.values():
        for column in table.columns:
            assert (column.kind is Kind.TIME) == (column.name in TIMES)
            assert (column.kind in (Kind.JSON, Kind.JSON_OBJECTS)) == (column.name in PARSED.values())
            assert bool(column.values) == (column.kind is Kind.ENUM)
            assert column.description.endswith(".")


@ALL
def test_everything_that_names_a_column_names_one_that_is_read(contract):
    """Links, references, paths, order keys, ids and rules name columns and tables of the contract."""
    for group in contract.groups:
        table = contract.tables[group.table]
        if group.link is not None:
            table.column(group.link)
    for table in contract.tables.values():
        for name in table.id:
            assert name == "run_id" or table.column(name)
        for reference in table.references:
            table.column(reference.column)
            assert contract.tables[reference.table].id[0] in contract.tables[reference.table].selected
        for path in table.paths:
            table.column(path.column)
            assert path.table in contract.tables
        for rule in table.rules:
            match rule:
                case StatusRule():
                    named = (rule.column, *rule.required, *rule.forbidden, *(name for name, _ in rule.equals))
                    assert set(rule.values) <= set(table.column(rule.column).values)
                case ExactlyOne():
                    named = rule.columns
                case AtMostOne():
                    named = (rule.per, rule.column)
                case When():
                    conditions = tuple(condition.column for condition in rule.conditions)
                    among = tuple(name for name, _ in rule.among)
                    named = (*conditions, *rule.required, *rule.filled, *rule.forbidden, *among)
                case Cases():
                    named = (*rule.columns, *rule.ruled, *(name for case in rule.cases for name, _ in case.equals))
                    assert all({*case.required, *case.allowed} <= set(rule.ruled) for case in rule.cases)
                case Together():
                    named = rule.columns
                case NotBefore():
                    named = (rule.column, rule.other)
                case RowRule():
                    named = ()
            for name in named:
                table.column(name)


@BOTH
def test_every_status_rule_speaks_of_every_status(contract):
    """No status of a node state or an operation is without rules, and no outcome."""
    for name, column in (("node_states", "status"), ("operations", "status"), ("token_outcomes", "outcome")):
        if name in contract.tables:
            table = contract.tables[name]
            spoken = {value for rule in table.rules if isinstance(rule, StatusRule) for value in rule.values}
            assert spoken == set(table.column(column).values)


@ALL
def test_order_groups_have_the_shape_that_ordering_relies_on(contract):
    """A top group has at most one group below it, and every table has its place, once for each kind of parent."""
    assert all(len(group.children) <= 1 and group.link is None for group in contract.order)
    assert {group.table for group in contract.groups} == set(contract.tables)
    links = [(group.table, group.link) for group in contract.groups]
    assert len(set(links)) == len(links)
    assert [table for table, _ in links if [name for name, _ in links].count(table) > 1] == ["calls", "calls"]


@ALL
def test_every_row_belongs_to_a_run_by_its_run_id_or_by_a_path(contract):
    """A path leads on until a table whose rows say their run themselves."""
    for table in contract.tables.values():
        assert table.own_run_id or table.paths
        assert contract.tables[table.name].about
        for path in table.paths:
            assert path.column in table.selected
            assert contract.tables[path.table].id[0] in contract.tables[path.table].selected


@ALL
@pytest.mark.parametrize("select", [select_runs, count_rows])
def test_statements_have_one_parameter_the_runs(contract, select):
    """Each table is read by one statement with the runs as its only bound parameter, and no literal of a run in it."""
    for table in contract.tables.values():
        compiled = select(contract, table).compile()
        assert set(compiled.params) == {"run_ids"}
        assert str(compiled).lstrip().startswith("SELECT")
        assert "(:run_ids)" in display(select(contract, table))
        assert "POSTCOMPILE" not in display(select(contract, table))
        assert not select_all(contract, table).compile().params


def test_every_table_of_every_contract_is_among_all_tables() -> None:
    """Each by the newest contract that has it."""
    assert set(ALL_TABLES) == {name for contract in CONTRACTS for name in contract.tables}
    for name, table in ALL_TABLES.items():
        assert table is next(contract for contract in CONTRACTS if name in contract.tables).tables[name]


@ALL
def test_a_variant_of_a_contract_differs_in_one_thing(contract: Contract) -> None:
    """Raw error rows, or the order of PostgreSQL: fields, kinds and rules stay."""
    raw, ordered = contract.with_raw_error_rows, contract.on_postgresql
    assert not raw.redacts
    for name, table in contract.tables.items():
        assert [column.field for column in raw.tables[name].columns] == [column.field for column in table.columns]
        assert raw.tables[name].rules == ordered.tables[name].rules == table.rules
        assert ordered.tables[name].columns == table.columns
        changed = [key.column for key in ordered.tables[name].order if key not in table.order]
        assert changed == (["stream_id", "stream_sequence"] if name == "sink_effects" else [])
