"""Corrupt audit data (docs/records.md, «What makes an audit database corrupt»): every kind of it is refused, and only
that run.

Belongs here: runs damaged in one place each, and what an export says of them, on both databases. One database of each
holds a copy of the sample's run for each kind of damage, on a day of its own, so that every refusal is also a run that
another's damage did not stop. Does not belong here: values that are right (`../export/test_records.py`), values that
only PostgreSQL can hold (`../postgresql/test_values.py`).
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support.databases import (
    AuditFile,
    changing,
    empty_database,
    insert_copy,
    remove_constraints,
    rows_of_sample,
)
from support.exporter import Exporter
from support.pipeline import make_records, refusal
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN, RUNNING_RUN
from support.server import Audit

from landscape_assets.contract import V1
from landscape_assets.database import AuditDatabase
from landscape_assets.database.integrity import find_damage
from landscape_assets.errors import CorruptTable

IDS = {
    "runs": ("run_id",),
    "secret_resolutions": ("resolution_id",),
    "nodes": ("node_id",),
    "edges": ("edge_id",),
    "operations": ("operation_id",),
    "calls": ("call_id",),
    "rows": ("row_id",),
    "tokens": ("token_id",),
    "token_parents": ("token_id", "parent_token_id"),
    "token_outcomes": ("outcome_id",),
    "node_states": ("state_id",),
    "routing_events": ("event_id",),
    "batches": ("batch_id",),
    "batch_members": ("batch_id", "token_id"),
    "artifacts": ("artifact_id",),
}
"""By which columns a message names a row."""


@dataclass(frozen=True)
class Damage:
    """One value changed in one row, and what the refusal says of it.

    `column` of the first row of `table` where `row` holds becomes `value` (SQL), as do the columns of `also`. The
    message then names that row, `column` (or `blames`), what was found (`found`), and the rule that it breaks (`rule`).
    `postgresql` is the value for PostgreSQL, where it is written differently there; None where a column of the declared
    type cannot hold it.
    """

    table: str
    column: str
    value: str
    found: str
    rule: str
    row: str = "1 = 1"
    also: dict[str, str] = field(default_factory=dict)
    blames: str | None = None
    postgresql: str | None = ""

    def __str__(self) -> str:
        state = f"-{self.row.split()[0]}-{self.row.split()[-1]}" if self.row != "1 = 1" else ""
        return f"{self.table}.{self.column}={self.value}{state}".replace(" ", "").replace("'", "")[:60]

    def inflict(self, kind: str, run_id: str) -> str:
        """The statement that changes the row, of those that belong to the run; it gives the row's ids as they are
        afterwards."""
        address, order, value = "rowid", "", self.value
        if kind == "postgresql":
            address, order, value = "ctid", ' COLLATE "C"', self.postgresql or self.value
        ids = IDS[self.table]
        changes = ", ".join(f"{name} = {to}" for name, to in {self.column: value, **self.also}.items())
        # The ids of a copied run begin with its run_id.
        row = (
            f"SELECT {address} FROM {self.table} WHERE {ids[0]} LIKE '{run_id}%' AND {self.row} "
            f"ORDER BY {', '.join(f'{name}{order}' for name in ids)} LIMIT 1"
        )
        return f"UPDATE {self.table} SET {changes} WHERE {address} = ({row}) RETURNING {', '.join(ids)}"


TEXT = "is stored as text and is not"


def enums() -> Iterator[Damage]:
    """An enum column holds a value that is not listed."""
    for table, column in (
        ("runs", "reproducibility_grade"),
        ("secret_resolutions", "source"),
        ("nodes", "node_type"),
        ("nodes", "determinism"),
        ("edges", "default_mode"),
        ("operations", "operation_type"),
        ("operations", "status"),
        ("calls", "call_type"),
        ("calls", "status"),
        ("token_outcomes", "outcome"),
        ("node_states", "status"),
        ("routing_events", "mode"),
        ("batches", "status"),
        ("batches", "trigger_type"),
    ):
        yield Damage(table, column, "'Completed'", "'Completed'", "which is none of")
    yield Damage("runs", "status", "'finished'", "finished", "which is none of")


def json_texts() -> Iterator[Damage]:
    """JSON that is exported parsed does not parse, or has no canonical form."""
    for table, column in (("runs", "settings_json"), ("nodes", "config_json"), ("nodes", "schema_fields_json")):
        row = "schema_fields_json IS NOT NULL" if column == "schema_fields_json" else "1 = 1"
        yield Damage(table, column, "'[{'", "'[{'", "which is no JSON", row=row)
        yield Damage(table, column, "''", "''", "which is no JSON", row=row)
    yield Damage("runs", "settings_json", """'{"a": NaN}'""", """'{"a": NaN}'""", "which has no canonical form")
    yield Damage("runs", "settings_json", """'{"a": -Infinity}'""", "Infinity", "which has no canonical form")
    yield Damage(
        "runs", "settings_json", """'{"a": 9007199254740992}'""", "9007199254740992", "which has no canonical form"
    )
    yield Damage(
        "runs", "settings_json", """'{"a": 1, "a": 2}'""", '\'{"a": 1, "a": 2}\'', "which has the key 'a' twice"
    )
    yield Damage("nodes", "config_json", """'{"a": "\\ud800"}'""", "ud800", "which has no canonical form")
    yield Damage("nodes", "config_json", f"'{'[' * 100_000}'", "[[[[", "which is nested too deeply")
    for value in ("{}", "[1]", '[{"name": "a"}, null]', '"[]"', "null"):
        yield Damage(
            "nodes",
            "schema_fields_json",
            f"'{value}'",
            f"'{value}'",
            "which is not a list of objects",
            row="schema_fields_json IS NOT NULL",
        )


def integers() -> Iterator[Damage]:
    """An int column holds a negative number, something that is no integer, or null where that is not allowed."""
    for table, column, nullable in (
        ("nodes", "sequence_in_pipeline", True),
        ("calls", "call_index", False),
        ("rows", "row_index", False),
        ("tokens", "step_in_pipeline", True),
        ("token_parents", "ordinal", False),
        ("node_states", "step_index", False),
        ("node_states", "attempt", False),
        ("routing_events", "ordinal", False),
        ("batches", "attempt", False),
        ("batch_members", "ordinal", False),
        ("artifacts", "size_bytes", False),
    ):
        yield Damage(table, column, "-1", "-1", "which is less than 0")
        yield Damage(table, column, "'many'", "'many'", f"which {TEXT} an integer", postgresql=None)
        if not nullable:
            yield Damage(table, column, "NULL", "null", "where a value is required")
    yield Damage("rows", "row_index", "1.5", "1.5", "which is stored as real and is not an integer", postgresql=None)
    yield Damage("artifacts", "size_bytes", "9007199254740992", "9007199254740992", "which is beyond 2^53-1")
    yield Damage(
        "artifacts", "size_bytes", "x'01'", "X'01'", "which is stored as blob and is not an integer", postgresql=None
    )


def node_states() -> Iterator[Damage]:
    """A node state lacks what its status demands, or has what it forbids."""
    for status, columns in (
        ("completed", ("output_hash", "duration_ms", "completed_at")),
        ("pending", ("duration_ms", "completed_at")),
        ("failed", ("duration_ms", "completed_at")),
    ):
        for column in columns:
            yield Damage(
                "node_states",
                column,
                "NULL",
                "null",
                f"where a value is required when status is {status}",
                row=f"status = '{status}'",
            )
    for status, columns in (
        (
            "open",
            (
                "output_hash",
                "duration_ms",
                "completed_at",
                "context_after_json",
                "error_json",
                "success_reason_json",
            ),
        ),
        ("pending", ("output_hash", "error_json", "success_reason_json")),
        ("completed", ("error_json",)),
        ("failed", ("success_reason_json",)),
    ):
        for column in columns:
            value, found = {
                "duration_ms": ("0.0", "0.0"),
                "completed_at": ("'2026-01-01 00:00:00.000000'", "2026-01-01 00:00:00"),
            }.get(column, ("''", "''"))
            yield Damage(
                "node_states",
                column,
                value,
                found,
                f"where none may be when status is {status}",
                row=f"status = '{status}'",
            )


def outcomes() -> Iterator[Damage]:
    """is_terminal is neither 0 nor 1, or at odds with the outcome, or true of two outcomes of one token."""
    yield Damage("token_outcomes", "is_terminal", "2", "2", "which is neither 0 nor 1")
    yield Damage("token_outcomes", "is_terminal", "-1", "-1", "which is neither 0 nor 1")
    yield Damage("token_outcomes", "is_terminal", "'yes'", "'yes'", f"which {TEXT} an integer", postgresql=None)
    yield Damage("token_outcomes", "is_terminal", "NULL", "null", "where a value is required")
    for outcome in (
        "completed",
        "routed",
        "forked",
        "failed",
        "quarantined",
        "diverted",
        "consumed_in_batch",
        "coalesced",
        "expanded",
    ):
        yield Damage(
            "token_outcomes", "is_terminal", "0", "False", "where it must be true", row=f"outcome = '{outcome}'"
        )
    yield Damage("token_outcomes", "is_terminal", "1", "True", "where it must be false", row="outcome = 'buffered'")


def operations_and_calls() -> Iterator[Damage]:
    """An operation that its status contradicts; a call with two parents."""
    for status in ("completed", "failed", "pending"):
        for column in ("completed_at", "duration_ms"):
            yield Damage(
                "operations",
                column,
                "NULL",
                "null",
                "where a value is required when status is completed or failed or pending",
                row=f"status = '{status}'",
            )
    yield Damage(
        "operations",
        "error_message",
        "NULL",
        "null",
        "where a value is required when status is failed",
        row="status = 'failed'",
    )
    yield Damage(
        "operations",
        "error_message",
        "'oops'",
        "'oops'",
        "where none may be when status is completed",
        row="status = 'completed'",
    )
    opened = {"status": "'open'", "completed_at": "NULL", "duration_ms": "NULL", "error_message": "NULL"}
    for column, value, found in (
        ("completed_at", "started_at", "20"),
        ("duration_ms", "1", "1.0"),
        ("error_message", "''", "''"),
    ):
        others = {name: to for name, to in opened.items() if name != column}
        yield Damage("operations", column, value, found, "where none may be when status is open", also=others)
    yield Damage(
        "calls",
        "operation_id",
        "'ghost'",
        "",
        "where exactly one of state_id and operation_id must be given",
        row="state_id IS NOT NULL",
        blames="state_id",
    )


def secrets() -> Iterator[Damage]:
    """A secret's resolution is not as the key vault's are."""
    table = "secret_resolutions"
    yield Damage(table, "source", "'env'", "'env'", "which is none of keyvault")
    for column in ("resolution_id", "env_var_name", "vault_url", "secret_name"):
        yield Damage(table, column, "''", "''", "which is empty")
    for value in ("upper(fingerprint)", "substr(fingerprint, 2)", "fingerprint || 'a'", "''"):
        yield Damage(table, "fingerprint", value, "'", "which does not match [0-9a-f]{64}")
    line = {"value": "fingerprint || char(10)", "postgresql": "fingerprint || chr(10)"}
    yield Damage(table, "fingerprint", found="'", rule="which does not match [0-9a-f]{64}", **line)
    yield Damage(table, "timestamp", "9e999", "inf", "which is not finite", postgresql="'Infinity'")
    yield Damage(table, "timestamp", "-9e999", "-inf", "which is not finite", postgresql="'-Infinity'")
    yield Damage(table, "timestamp", "NULL", "null", "where a value is required")
    yield Damage(table, "timestamp", "'now'", "'now'", f"which {TEXT} a number", postgresql=None)
    yield Damage(table, "resolution_latency_ms", "-0.5", "-0.5", "which is less than 0")


def times_and_numbers() -> Iterator[Damage]:
    """A time does not parse; a number is not finite; a value is of another type than its column, or no text."""
    for table, column in (
        ("runs", "started_at"),
        ("runs", "completed_at"),
        ("nodes", "registered_at"),
        ("edges", "created_at"),
        ("operations", "started_at"),
        ("operations", "completed_at"),
        ("calls", "created_at"),
        ("tokens", "created_at"),
        ("token_outcomes", "recorded_at"),
        ("node_states", "started_at"),
        ("node_states", "completed_at"),
        ("routing_events", "created_at"),
        ("batches", "created_at"),
        ("batches", "completed_at"),
        ("artifacts", "created_at"),
    ):
        row = f"{column} IS NOT NULL"
        yield Damage(table, column, "'yesterday'", "'yesterday'", "which is not a time", row=row, postgresql=None)
    for value in (
        "2026-02-30 00:00:00.000000",
        "2026-01-01 24:00:00.000000",
        "2026-01-01",
        "2026-01-01 00:00:00+01:00",
        "",
    ):
        yield Damage("edges", "created_at", f"'{value}'", f"'{value}'", "which is not a time", postgresql=None)
    yield Damage("tokens", "created_at", "1767225600", "'1767225600'", "which is not a time", postgresql=None)
    for table, column in (
        ("operations", "duration_ms"),
        ("calls", "latency_ms"),
        ("node_states", "duration_ms"),
        ("secret_resolutions", "resolution_latency_ms"),
    ):
        row = f"{column} IS NOT NULL"
        yield Damage(table, column, "9e999", "inf", "which is not finite", row=row, postgresql="'Infinity'")
        yield Damage(table, column, "'soon'", "'soon'", f"which {TEXT} a number", row=row, postgresql=None)
    blob, not_utf_8 = "which is stored as blob and is not text", "which is not UTF-8"
    yield Damage("nodes", "plugin_name", "x'00ff'", "X'00FF'", blob, postgresql=None)
    yield Damage("rows", "source_data_hash", "CAST(x'61ff' AS TEXT)", r"b'a\xff'", not_utf_8, postgresql=None)
    yield Damage("calls", "error_json", "CAST(x'eda080' AS TEXT)", r"b'\xed\xa0\x80'", not_utf_8, postgresql=None)


def required() -> Iterator[Damage]:
    """A null stands where the contract allows none."""
    for table, column in (
        ("runs", "started_at"),
        ("runs", "settings_json"),
        ("runs", "config_hash"),
        ("nodes", "plugin_version"),
        ("nodes", "config_json"),
        ("nodes", "registered_at"),
        ("edges", "label"),
        ("operations", "node_id"),
        ("calls", "request_hash"),
        ("rows", "source_data_hash"),
        ("tokens", "created_at"),
        ("token_outcomes", "recorded_at"),
        ("token_outcomes", "token_id"),
        ("node_states", "input_hash"),
        ("node_states", "token_id"),
        ("routing_events", "edge_id"),
        ("batches", "aggregation_node_id"),
        ("artifacts", "path_or_uri"),
        ("secret_resolutions", "env_var_name"),
    ):
        yield Damage(table, column, "NULL", "null", "where a value is required")


def references() -> Iterator[Damage]:
    """An id that no row of the run has."""
    for table, column, parent in (
        ("edges", "from_node_id", "nodes"),
        ("edges", "to_node_id", "nodes"),
        ("operations", "node_id", "nodes"),
        ("rows", "source_node_id", "nodes"),
        ("tokens", "row_id", "rows"),
        ("token_parents", "parent_token_id", "tokens"),
        ("token_outcomes", "token_id", "tokens"),
        ("token_outcomes", "batch_id", "batches"),
        ("node_states", "token_id", "tokens"),
        ("node_states", "node_id", "nodes"),
        ("routing_events", "edge_id", "edges"),
        ("batches", "aggregation_node_id", "nodes"),
        ("batch_members", "token_id", "tokens"),
        ("artifacts", "sink_node_id", "nodes"),
        ("artifacts", "produced_by_state_id", "node_states"),
    ):
        yield Damage(table, column, "'ghost'", "ghost", f"which is the id of no row of {parent} in this run")
    # Rows without a run_id whose parent is gone are told by their other id, or by their time.
    for table, column, parent in (
        ("calls", "state_id", "node_states"),
        ("calls", "operation_id", "operations"),
        ("routing_events", "state_id", "node_states"),
        ("token_parents", "token_id", "tokens"),
        ("batch_members", "batch_id", "batches"),
    ):
        row = f"{column} IS NOT NULL"
        yield Damage(table, column, "'ghost'", "ghost", f"which is the id of no row of {parent} in this run", row=row)
    yield Damage(
        "calls",
        "state_id",
        "NULL",
        "null",
        "where exactly one of state_id and operation_id",
        row="state_id IS NOT NULL",
    )


DAMAGES = [
    *enums(),
    *json_texts(),
    *integers(),
    *node_states(),
    *outcomes(),
    *operations_and_calls(),
    *secrets(),
    *times_and_numbers(),
    *required(),
    *references(),
]

RUNS = {f"run-{number:03}": damage for number, damage in enumerate(DAMAGES)}
GOOD = ("run-first", "run-last")

OF_NO_RUN = [
    run_id
    for run_id, damage in RUNS.items()
    if damage.column in [path.column for path in V1.tables[damage.table].paths]
    and (damage.value == "NULL" or damage.rule.startswith("which is the id of no row"))
]
"""The damages by which a row no longer leads to any run: no export sees it, and the check of the database finds it."""

HELD = {
    "sqlite": list(RUNS),
    "postgresql": [run_id for run_id, damage in RUNS.items() if damage.postgresql is not None],
}
"""The damaged runs that each database can hold. PostgreSQL keeps no value of another type than its column, and no text
that is
not UTF-8; what it reads as a time, be it «yesterday», it stores as one."""

REFUSED = {kind: [run_id for run_id in held if run_id not in OF_NO_RUN] for kind, held in HELD.items()}

ONE_A_RULE = {kind: list({RUNS[run_id].rule[:9]: run_id for run_id in held}.values()) for kind, held in REFUSED.items()}
"""A damaged run for each kind of rule, as it begins: these are exported by the command too, the others by its functions
alone,
which is faster."""

_PARENTS = ("run_id", "row_id", "token_id", "state_id", "operation_id", "batch_id", "node_id", "edge_id")


class Ward:
    """A database with one damaged run for each damage and two good ones.

    Args:
        kind: which of the two databases it is.
        audit: the database, damaged.
        folder: for what is made of it.
    """

    def __init__(self, kind: str, audit: AuditFile | Audit, folder: Path) -> None:
        self.kind, self.audit, self._folder = kind, audit, folder
        self._opened: AuditDatabase | None = None
        self._refusals: dict[str, str] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        """The ids of the damaged rows, as they are afterwards."""
        for table, ids in IDS.items():
            for column in sorted({*ids, *_PARENTS} & set(_columns(audit, table))):
                audit.execute(f"CREATE INDEX {table}_{column} ON {table} ({column})")
        for run_id in HELD[kind]:
            damage = RUNS[run_id]
            (found,) = audit.execute(damage.inflict(kind, run_id))
            self.rows[run_id] = dict(zip(IDS[damage.table], found, strict=True))

    def refusal(self, run_id: str) -> str:
        """With which words the run is refused, by reading its damaged table or by making its records."""
        if run_id not in self._refusals:
            if self._opened is None:
                self._opened = AuditDatabase(self.audit.url)
            error = refusal(self._opened, self.audit.url, run_id, RUNS[run_id].table, self._folder / run_id)
            self._refusals[run_id] = str(error)
        return self._refusals[run_id]

    def close(self) -> None:
        """Closes the database."""
        if self._opened is not None:
            self._opened.close()


def _columns(audit: AuditFile | Audit, table: str) -> list[str]:
    if isinstance(audit, AuditFile):
        return [name for (name,) in audit.execute(f"SELECT name FROM pragma_table_info('{table}')")]
    return [
        name
        for (name,) in audit.execute(f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'")
    ]


@pytest.fixture(scope="module")
def wards(request, tmp_path_factory) -> Iterator[Callable[[str], Ward]]:
    """The ward of each database, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("wards")
    made: list[Ward] = []

    @cache
    def whole() -> Path:
        path = folder / "whole.db"
        empty_database(path)
        with changing(path) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            for day, run_id in enumerate((GOOD[0], *RUNS, GOOD[1])):
                insert_copy(connection, rows_of_sample(COMPLETED_RUN), run_id, f"{run_id}/", timedelta(days=day))
        return path

    @cache
    def ward(kind: str) -> Ward:
        if kind == "postgresql":
            audit: AuditFile | Audit = request.getfixturevalue("copied")(whole(), free=True)
        else:
            path = Path(shutil.copy(whole(), folder / "damaged.db"))
            remove_constraints(path)
            audit = AuditFile(path)
        made.append(Ward(kind, audit, folder / kind))
        return made[-1]

    yield ward
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def exported(kind, wards, tmp_path_factory):
    """What the command line said of a damaged run for each kind of rule and of the good ones, and the export folder."""
    exporter = Exporter(tmp_path_factory.mktemp("exports"))
    every = [f"--run-id={run_id}" for run_id in (GOOD[0], *ONE_A_RULE[kind], GOOD[1])]
    result = exporter.export(wards(kind).audit.url, *every, "--format", "jsonl", "--json")
    assert result.exit_code == 1
    return {outcome["run_id"]: outcome for outcome in json.loads(result.stdout)}, exporter.output


def require_named(message: str, damage: Damage, row: dict[str, Any]) -> None:
    """The message names the table, the row by its id, the column, what was found there and the rule."""
    label = ", ".join(f"{name} {row[name]!r}" for name in IDS[damage.table])
    where = f"Corrupt audit data: table {damage.table}, {label}, column {damage.blames or damage.column}: found "
    assert message.startswith(where)
    found, _, rule = message.removeprefix(where).partition(", w")
    assert damage.found in found
    assert damage.rule in f"w{rule}"
    assert len(message) < 700


@pytest.mark.parametrize(
    ("kind", "run_id"),
    [(kind, run_id) for kind, held in REFUSED.items() for run_id in held],
    ids=lambda value: str(RUNS.get(value, value)),
)
def test_damage_is_refused_by_table_id_column_and_value(wards, kind, run_id):
    """Whatever is damaged, reading the run or making its records refuses it; in the same words on both databases, but
    for the
    offset of a time."""
    ward = wards(kind)
    said = ward.refusal(run_id)
    require_named(said, RUNS[run_id], ward.rows[run_id])
    if kind == "postgresql":
        assert said.replace("+00:00", "") == wards("sqlite").refusal(run_id)


def test_damage_that_belongs_to_no_run_is_found_by_the_check(kind, wards):
    """By table, id and column."""
    ward = wards(kind)
    with AuditDatabase(ward.audit.url) as audit:
        found = [str(finding) for finding in find_damage(audit)]
    lost = [run_id for run_id in OF_NO_RUN if run_id in HELD[kind]]
    assert len(lost) > 7
    for run_id in lost:
        damage, row = RUNS[run_id], ward.rows[run_id]
        label = ", ".join(f"{name} {'null' if row[name] is None else repr(row[name])}" for name in IDS[damage.table])
        assert any(
            message.startswith(f"Corrupt audit data: table {damage.table}, {label}, column {damage.column}:")
            for message in found
        )


def test_a_damaged_run_fails_with_that_message(kind, wards, exported):
    """The command reports the refusal as the run's error, word for word, and no package: one damage for each kind of
    rule."""
    for run_id in ONE_A_RULE[kind]:
        outcome = exported[0][run_id]
        assert (outcome["status"], outcome["package"], outcome["record_count"]) == ("failed", None, None)
        assert outcome["error"] == wards(kind).refusal(run_id)


def test_other_runs_of_a_corrupt_database_are_exported(exported):
    """Runs that are whole are exported before and after those that are not, and nothing but their packages is left."""
    outcomes, output = exported
    assert [run_id for run_id, outcome in outcomes.items() if outcome["status"] == "exported"] == list(GOOD)
    assert sorted(path.name for path in output.iterdir()) == sorted(GOOD)
    assert {outcomes[run_id]["record_count"] for run_id in GOOD} == {202}


REMOVED = {
    "every state, event and token of a row": (
        "DELETE FROM tokens WHERE row_id = 'c1103-row-00'",
        "table ",
        "column token_id: found 'c1103-token-00",
        "the id of no row of tokens",
    ),
    "a node": (
        "DELETE FROM nodes WHERE run_id = 'complaints-2026-11-03' AND node_type = 'source'",
        "table ",
        "column node_id: found 'source_complaints_",
        "the id of no row of nodes",
    ),
    "a second terminal outcome": (
        (
            "INSERT INTO token_outcomes (outcome_id, run_id, token_id, outcome, is_terminal, recorded_at) "
            "SELECT 'second', run_id, token_id, 'routed', 1, recorded_at FROM token_outcomes "
            "WHERE outcome = 'completed' AND token_id LIKE 'c1103%' LIMIT 1"
        ),
        "table token_outcomes, outcome_id '",
        "column token_id: found 'c1103-token-",
        "which has more than one terminal outcome",
    ),
    "a row that says another run": (
        "UPDATE tokens SET run_id = 'complaints-2026-11-10' WHERE token_id = 'c1103-token-00'",
        "table tokens, token_id 'c1103-token-00'",
        "column run_id: found 'complaints-2026-11-10'",
        "but its row_id leads to run complaints-2026-11-03",
    ),
    "a node of another run": (
        "UPDATE edges SET run_id = 'complaints-2026-11-10', label = 'moved'"
        " WHERE edge_id = (SELECT edge_id FROM routing_events LIMIT 1)",
        "table routing_events, event_id 'c1103-",
        "column edge_id",
        "the id of no row of edges in this run",
    ),
}
"""What is taken out of the sample (or put into it), and what the refusal then says: where, column and value, rule."""


@pytest.mark.parametrize("case", REMOVED)
def test_what_lost_its_parent_is_named(database, tmp_path, case):
    """A record that no record of the run leads to any more is an error that names it, never lost; other runs are not
    touched."""
    statement, where, column, rule = REMOVED[case]
    assert database.execute("DROP INDEX ix_token_outcomes_terminal_unique", f"{statement} RETURNING 1")
    with pytest.raises(CorruptTable) as refusal:
        make_records(database.url, COMPLETED_RUN, tmp_path / "completed")
    assert str(refusal.value).startswith(f"Corrupt audit data: {where}")
    assert column in str(refusal.value)
    assert rule in str(refusal.value)
    if not statement.startswith("UPDATE"):  # that moved a row into the other run
        assert sum(make_records(database.url, FAILED_RUN, tmp_path / "failed").counts.values()) > 50


@pytest.mark.parametrize(
    ("damage", "missing"),
    [
        (
            "DELETE FROM node_states WHERE state_id = (SELECT min(state_id) FROM calls)",
            {"node_state", "call", "routing_event"},
        ),
        ("DELETE FROM operations WHERE operation_id = (SELECT min(operation_id) FROM calls)", {"operation", "call"}),
        (
            "UPDATE calls SET state_id = NULL"
            " WHERE call_id = (SELECT min(call_id) FROM calls WHERE state_id IS NOT NULL)",
            {"call"},
        ),
    ],
)
def test_rows_that_belong_to_no_run_are_found_by_the_check(database, exporter, undamaged, damage, missing):
    """Nothing says which run they belonged to, and no export guesses. The check of the database finds them."""
    assert exporter.run("check", "--database", database.url).exit_code == 0
    database.execute(damage)
    for run_id, counts in undamaged.items():
        after = make_counts(database, exporter.folder, run_id)
        assert {name for name, count in counts.items() if after.get(name) != count} <= missing
    result = exporter.run("check", "--database", database.url)
    assert result.exit_code == 1
    assert "table calls, call_id '" in result.stdout


@pytest.fixture(scope="module")
def undamaged(sample_database, tmp_path_factory) -> dict[str, dict[str, int]]:
    """Run → record type → records, of the sample."""
    folder = tmp_path_factory.mktemp("undamaged")
    return {run_id: make_counts(sample_database, folder, run_id) for run_id in (COMPLETED_RUN, FAILED_RUN)}


def make_counts(database: AuditFile | Audit, folder: Path, run_id: str) -> dict[str, int]:
    """Record type → records of a run."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        return make_records(database.url, run_id, Path(name)).counts


def test_an_id_that_occurs_twice_is_refused(filled, tmp_path):
    """Where the table has no key, two tokens with one id are an error, and not two records or one."""
    rows = rows_of_sample(COMPLETED_RUN)
    url = filled(rows | {"tokens": [*rows["tokens"], rows["tokens"][0]]})
    with pytest.raises(CorruptTable, match="occurs more than once"):
        make_records(url, COMPLETED_RUN, tmp_path / "made")


def test_an_unfinished_run_with_corrupt_rows_is_refused_as_unfinished(database, exporter):
    """That the run still goes on is said before anything in its tables is looked at."""
    assert database.execute(f"UPDATE rows SET row_index = -1 - row_index WHERE run_id = '{RUNNING_RUN}' RETURNING 1")
    assert "has not finished" in exporter.outcome(database.url, RUNNING_RUN)["error"]
