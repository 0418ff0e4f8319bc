"""Damage that belongs to no run, or to two: each kind is found in every table and column, and nothing else.

Belongs here: `find_damage`, on both databases. Does not belong here: the command (`../cli/test_check.py`), the asset
check (`../dagster_defs/test_database_check.py`), and what an export refuses within its run
(`../cli/test_corrupt_runs.py`).
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.databases import AuditFile, remove_constraints, to_v0
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN
from support.server import Audit

from landscape_assets.contract import V0, V1, Contract, Table
from landscape_assets.database import AuditDatabase
from landscape_assets.database.integrity import find_damage
from landscape_assets.errors import CorruptTable

A, B = COMPLETED_RUN, FAILED_RUN
TABLES = [pytest.param(c, t, id=f"{c.name}-{t.name}") for c in (V1, V0) for t in c.tables.values()]
LINKS = [
    pytest.param(c, t, column, parent, id=f"{c.name}-{t.name}-{column}")
    for c in (V1, V0)
    for t in c.tables.values()
    for column, parent in {link.column: link.table for link in (*t.paths, *t.references)}.items()
]


def has_run_id(parameters: Any) -> bool:
    return parameters.values[1].own_run_id


def says_its_run(parameters: Any) -> bool:
    """Whether the column is the one by which alone a row says of which run it is."""
    _, table, column, _ = parameters.values
    return not table.own_run_id and column == table.paths[0].column


def found(audit: AuditFile | Audit) -> list[CorruptTable]:
    with AuditDatabase(audit.url) as database:
        return list(find_damage(database))


@pytest.fixture(scope="module")
def without_constraints(
    kind: str, sample_file: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Contract], AuditFile | Audit]:
    """The sample as a database of a contract, of columns and nothing else, so that anything can be put in."""

    made: dict[str, AuditFile | Audit] = {}

    def make(contract: Contract) -> AuditFile | Audit:
        if contract.name in made:
            return made[contract.name]
        if kind == "sqlite":
            path = Path(shutil.copy(sample_file, tmp_path_factory.mktemp("free") / "landscape.db"))
            remove_constraints(path)
            audit: AuditFile | Audit = AuditFile(path)
        else:
            audit = request.getfixturevalue("copied")(sample_file, free=True)
        if contract is V0:
            to_v0(audit)
        return made.setdefault(contract.name, audit)

    return make


class Damaged:
    """A database without constraints, and the rows that are put into it: rows with nothing but ids.

    Args:
        audit: the database.
        contract: its contract.
    """

    def __init__(self, audit: AuditFile | Audit, contract: Contract) -> None:
        self._audit, self.contract = audit, contract
        self._foreign: set[str] = set()

    def put(self, table: Table, run_id: str, /, **changed: str | None) -> dict[str, str | None]:
        """Puts a row in that is right for a run, but for what is changed; gives its ids."""
        row: dict[str, str | None] = {"run_id": run_id} if table.own_run_id else {}
        row[table.id[0]] = run_id if table.name == "runs" else "new"
        for link in (*table.paths[:1], *table.references):
            if link.column not in {path.column for path in table.paths[1:]}:  # one path is enough
                parent = self.contract.tables[link.table]
                ((row[link.column],),) = self._audit.execute(
                    f"SELECT min({parent.id[0]}) FROM {parent.name} WHERE {self._of_run(parent, run_id)}"
                )
        row |= changed
        values = ", ".join("NULL" if value is None else f"'{value}'" for value in row.values())
        self._audit.execute(f"INSERT INTO {table.name} ({', '.join(row)}) VALUES ({values})")
        return row

    def put_foreign(self, table: Table) -> None:
        """Puts a right row of run B in, with the id «foreign»; once, however often it is asked for."""
        if table.name not in self._foreign:
            self._foreign.add(table.name)
            self.put(table, B, **{table.id[0]: "foreign"})

    def _of_run(self, table: Table, run_id: str) -> str:
        if table.own_run_id:
            return f"run_id = '{run_id}'"
        (path,) = table.paths
        parent = self.contract.tables[path.table]
        return f"{path.column} IN (SELECT {parent.id[0]} FROM {parent.name} WHERE {self._of_run(parent, run_id)})"

    def all(self) -> list[CorruptTable]:
        """Every finding."""
        return found(self._audit)

    def clear(self) -> None:
        """Takes the rows out again."""
        for table in self.contract.tables.values():
            links = {link.column for link in (*table.paths, *table.references)}
            filled = next(c.name for c in table.columns if c.required and c.name not in (*table.id, *links))
            self._audit.execute(f"DELETE FROM {table.name} WHERE {filled} IS NULL")


Case = tuple[Any, ...]
"""A contract, one of its tables, and what else a test is about."""

Put = Callable[..., dict[str, str | None]]
"""Puts the rows of a case into a database; gives the ids of the one that is looked for."""


def apart(cases: list[Case]) -> Iterator[list[Case]]:
    """Cases in groups in which no two are of one table; a row of the table runs is never beside another case, for it
    makes a run."""
    left = [case for case in cases if case[1].name != "runs"]
    yield from ([case] for case in cases if case[1].name == "runs")
    while left:
        group: dict[str, Case] = {}
        for case in left:
            group.setdefault(case[1].name, case)
        yield list(group.values())
        left = [case for case in left if group[case[1].name] is not case]


class Search:
    """What is found of the cases of a test. A search goes through every table, and so many cases are put in before it:
    as many as are of different tables.

    Args:
        databases: contract → its database.
    """

    def __init__(self, databases: Callable[[Contract], AuditFile | Audit]) -> None:
        self._databases = databases
        self._seen: dict[tuple[Put, str], list[tuple[Case, dict[str, str | None], list[CorruptTable]]]] = {}

    def all(self, put: Put, cases: list[Any], *case: Any) -> tuple[dict[str, str | None], list[CorruptTable]]:
        """The row of a case, and every finding in its table. There is no finding in a table that has no case.

        Args:
            put: puts the rows of a case in.
            cases: the parameters of all cases, of whatever contract.
            case: one of them.
        """
        contract = case[0]
        if (put, contract.name) not in self._seen:
            mine = [each.values for each in cases if each.values[0] is contract]
            self._seen[put, contract.name] = [found for group in apart(mine) for found in self._search(put, group)]
        ((row, findings),) = (
            (row, findings)
            for (_, table, *rest), row, findings in self._seen[put, contract.name]
            if (table.name, *rest) == (case[1].name, *case[2:])
        )
        return row, findings

    def only(self, put: Put, cases: list[Any], *case: Any) -> tuple[dict[str, str | None], CorruptTable]:
        """The same where there is one finding."""
        row, (one,) = self.all(put, cases, *case)
        return row, one

    def _search(self, put: Put, group: list[Case]) -> list[tuple[Case, dict[str, str | None], list[CorruptTable]]]:
        contract = group[0][0]
        here = Damaged(self._databases(contract), contract)
        try:
            rows = [put(here, *case) for case in group]
            findings = here.all()
        finally:
            here.clear()
        assert {one.table for one in findings} <= {table.name for _, table, *_ in group}
        return [
            (case, row, [one for one in findings if one.table == case[1].name])
            for case, row in zip(group, rows, strict=True)
        ]


@pytest.fixture(scope="module")
def search(without_constraints: Callable[[Contract], AuditFile | Audit]) -> Search:
    """Searches of the sample without constraints."""
    return Search(without_constraints)


def label(table: Table, row: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {'null' if row[name] is None else repr(row[name])}" for name in table.key)


def test_the_sample_has_no_damage(sample_database):
    """Three runs, with every index."""
    assert found(sample_database) == []


def test_the_sample_as_v0_has_no_damage(database):
    """Tokens have no run_id of their own."""
    to_v0(database)
    with AuditDatabase(database.url) as opened:
        assert opened.contract is V0
    assert found(database) == []


def put_right(here: Damaged, contract: Contract, table: Table) -> dict[str, str | None]:
    row = here.put(table, A)
    if table.id_per_run:
        here.put(table, B)
    return row


RIGHT = [each for each in TABLES if each.values[1].name != "runs"]


@pytest.mark.parametrize(("contract", "table"), TABLES)
def test_a_right_row_is_no_damage(search, contract, table):
    """The rows of these tests are right but for what is changed in them; a node's id may occur in every run."""
    if table.name != "runs":
        assert search.all(put_right, RIGHT, contract, table)[1] == []


def put_ghost(here: Damaged, contract: Contract, table: Table, column: str, parent: str) -> dict[str, str | None]:
    return here.put(table, A, **{column: "ghost"})


@pytest.mark.parametrize(("contract", "table", "column", "parent"), LINKS)
def test_a_parent_that_does_not_exist(search, contract, table, column, parent):
    """Every column that holds ids of another table, in every table."""
    row, one = search.only(put_ghost, LINKS, contract, table, column, parent)
    assert (one.table, one.id, one.column, one.found) == (table.name, label(table, row), column, "'ghost'")
    assert one.rule == f"which is the id of no row of {parent}"
    assert str(one) == f"Corrupt audit data: table {table.name}, {one.id}, column {column}: found 'ghost', {one.rule}."


def put_child_of_foreign(
    here: Damaged, contract: Contract, table: Table, column: str, parent: str
) -> dict[str, str | None]:
    here.put_foreign(contract.tables[parent])
    return here.put(table, A, **{column: "foreign"})


OTHERS = [link for link in LINKS if not says_its_run(link)]


@pytest.mark.parametrize(("contract", "table", "column", "parent"), OTHERS)
def test_a_parent_of_another_run(search, contract, table, column, parent):
    """Every column that can lead to another run than the row's own run_id, or its other parent."""
    row, one = search.only(put_child_of_foreign, OTHERS, contract, table, column, parent)
    assert (one.table, one.id, one.column, one.found) == (table.name, label(table, row), column, "'foreign'")
    assert one.rule == f"which is the id of a row of {parent} in run {B!r}, and not in run {A!r}"


def put_of_no_run(here: Damaged, contract: Contract, table: Table, run_id: str | None) -> dict[str, str | None]:
    return here.put(table, A, run_id=run_id)


OF_NO_RUN = [pytest.param(*each.values, run_id) for each in TABLES if has_run_id(each) for run_id in ("ghost", None)]


@pytest.mark.parametrize("run_id", ["ghost", None])
@pytest.mark.parametrize(("contract", "table"), list(filter(has_run_id, TABLES)))
def test_a_row_of_no_run(search, contract, table, run_id):
    """A run_id that is not among the runs, or none, in every table that has one."""
    row, findings = search.all(put_of_no_run, OF_NO_RUN, contract, table, run_id)
    if table.name == "runs" and run_id:
        assert findings == []  # it is a run
        return
    (one,) = findings
    assert (one.table, one.id, one.column) == (table.name, label(table, row), "run_id")
    expected = ("'ghost'", "which is the id of no run") if run_id else ("null", "where a value is required")
    assert (one.found, one.rule) == expected


def put_without_parent(here: Damaged, contract: Contract, table: Table) -> dict[str, str | None]:
    return here.put(table, A, **dict.fromkeys(path.column for path in table.paths))


WITH_PATHS = [each for each in TABLES if each.values[1].paths]


@pytest.mark.parametrize(("contract", "table"), WITH_PATHS)
def test_a_row_that_names_no_parent(search, contract, table):
    """A row without any id by which it would belong to a run, in every table that has a path."""
    row, one = search.only(put_without_parent, WITH_PATHS, contract, table)
    paths = [path.column for path in table.paths]
    assert (one.table, one.id, one.column, one.found) == (table.name, label(table, row), paths[0], "null")
    either = "where one of state_id and operation_id must be given"
    assert one.rule == (either if len(paths) > 1 else "where a value is required")


def put_twice(here: Damaged, contract: Contract, table: Table) -> dict[str, str | None]:
    row = here.put(table, A)
    if table.name != "runs":  # the run itself is there already
        here.put(table, A)
    return row


@pytest.mark.parametrize(("contract", "table"), TABLES)
def test_a_row_that_is_there_twice(search, contract, table):
    """Every id, and every pair that is one."""
    row, one = search.only(put_twice, TABLES, contract, table)
    column = table.id[-1]
    assert (one.table, one.id, one.column, one.found) == (table.name, label(table, row), column, repr(row[column]))
    assert one.rule == "which occurs more than once"


def put_in_two_runs(here: Damaged, contract: Contract, table: Table) -> dict[str, str | None]:
    here.put(table, B)
    row = here.put(table, A)
    for child in contract.tables.values():
        links = {link.column: link.table for link in (*child.paths, *child.references)}
        for column in [column for column, parent in links.items() if parent == table.name]:
            ids = {} if child.id[0] in links else {child.id[0]: f"by {column}"}
            here.put(child, A, **ids, **{column: "new"})
    return row


IN_TWO_RUNS = [each for each in filter(has_run_id, TABLES) if each.values[1].name not in ("runs", "nodes")]


@pytest.mark.parametrize(("contract", "table"), IN_TWO_RUNS)
def test_an_id_in_two_runs(search, contract, table):
    """Rows that hang on one of the two are right, and are not found as well."""
    row, one = search.only(put_in_two_runs, IN_TWO_RUNS, contract, table)
    assert (one.table, one.id, one.column, one.found) == (table.name, label(table, row), table.id[0], "'new'")
    assert one.rule == "which occurs in 2 runs"


def put_twin(here: Damaged, contract: Contract, table: Table, column: str, parent: str) -> dict[str, str | None]:
    here.put_foreign(contract.tables[parent])
    here.put(table, A)
    return here.put(table, A, **{column: "foreign"})


TWINS = [link for link in OTHERS if link.values[2] not in link.values[1].key]


@pytest.mark.parametrize(("contract", "table", "column", "parent"), TWINS)
def test_a_twin_does_not_hide_that_a_parent_is_of_another_run(search, contract, table, column, parent):
    """Of two rows with one id, one of which is right, both the id and the other row are found."""
    _, findings = search.all(put_twin, TWINS, contract, table, column, parent)
    assert {(one.table, one.column, one.found) for one in findings} == {
        (table.name, table.id[0], "'new'"),
        (table.name, column, "'foreign'"),
    }


def test_a_run_that_was_deleted(database):
    """Every row that says that it is the run's is found, once, and no other row."""
    database.execute(f"DELETE FROM runs WHERE run_id = '{B}'")
    findings = found(database)
    assert {(one.column, one.found, one.rule) for one in findings} == {("run_id", repr(B), "which is the id of no run")}
    rows = {
        name: database.execute(f"SELECT count(*) FROM {name} WHERE run_id = '{B}'")[0][0]
        for name, table in V1.tables.items()
        if table.own_run_id
    }
    assert {name: count for name, count in rows.items() if count} == {
        name: len([one for one in findings if one.table == name]) for name in {one.table for one in findings}
    }
    assert len({(one.table, one.id) for one in findings}) == len(findings) == sum(rows.values()) > 20


def test_a_table_that_was_emptied(database):
    """Many findings come one by one: the first can be taken, and the rest left."""
    database.execute("DELETE FROM node_states")
    with AuditDatabase(database.url) as opened:
        findings = find_damage(opened)
        first = next(findings)
        findings.close()
        everything = list(find_damage(opened))
    assert str(first) == str(everything[0])
    links = (("calls", "state_id"), ("routing_events", "state_id"), ("artifacts", "produced_by_state_id"))
    orphans = sum(database.execute(f"SELECT count({column}) FROM {table}")[0][0] for table, column in links)
    assert len(everything) == orphans > 50


@pytest.mark.parametrize("odd", [b"a\xff", b"\x00", b"a\nb", b"'; --", "ü".encode(), b"\\xff"])
def test_ids_of_any_bytes(sample, odd):
    """SQLite keeps any bytes in an id: they are compared as they are, and shown escaped."""
    audit = AuditFile(sample)
    text, shown = f"CAST(x'{odd.hex()}' AS TEXT)", repr(odd.decode("utf-8", "backslashreplace"))
    ((token,),) = audit.execute("SELECT min(token_id) FROM tokens")
    for table in V1.tables.values():
        for column in {"token_id", "parent_token_id"} & set(table.selected):
            audit.execute(f"UPDATE {table.name} SET {column} = {text} WHERE {column} = '{token}'")
    assert found(audit) == []
    audit.execute(f"UPDATE tokens SET row_id = {text} WHERE token_id = {text}")
    (one,) = found(audit)
    assert (one.id, one.column, one.found) == (f"token_id {shown}", "row_id", shown)


def test_bytes_are_not_the_text_that_they_would_be(sample):
    """SQLite tells them apart, and so an id that is stored as a blob leads nowhere."""
    audit = AuditFile(sample)
    remove_constraints(sample)
    audit.execute("UPDATE artifacts SET produced_by_state_id = CAST(produced_by_state_id AS BLOB)")
    assert {(one.table, one.column) for one in found(audit)} == {("artifacts", "produced_by_state_id")}
    assert len(found(audit)) == audit.execute("SELECT count(*) FROM artifacts")[0][0]
