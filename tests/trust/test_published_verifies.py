"""What the exporter publishes, its verifier accepts: at every limit a run is refused by name, or its package verifies.

Belongs here: runs with values at and around each limit of docs/package.md, "Limits". Does not belong here: every other
kind of corruption (`../cli/test_corrupt_runs.py`), and what the verifier does with packages that no exporter made
(`../verify/`).
"""

import json
import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from support.databases import fill
from support.exporter import KEY, Exporter
from support.pipeline import jsonl, make_files
from support.strategies import UNSHRUNK, runs

from landscape_assets.contract import V1, Kind
from landscape_assets.errors import CorruptTable
from landscape_assets.package import Export, publish
from landscape_assets.records.sign import SigningKey
from landscape_assets.verify import Status, verify_package

Tables = dict[str, list[dict[str, Any]]]


def nested(depth: int, inner: str = "1", kinds: str = "[{") -> str:
    """JSON of arrays and objects, one in another."""
    opened = [kinds[i % len(kinds)] for i in range(depth)]
    return (
        "".join("[" if one == "[" else '{"a":' for one in opened)
        + inner
        + "".join("]" if one == "[" else "}" for one in reversed(opened))
    )


GOOD = {
    Kind.TIME: [
        "0001-01-01 00:00:00",
        "0010-10-10 10:10:10",
        "1000-01-01T00:00:00.000001",
        "2024-02-29 00:00:00.5",
        "9999-12-31 23:59:59.999999",
    ],
    Kind.JSON: [
        *(nested(depth, kinds=kinds) for depth in (254, 255) for kinds in ("[", "{", "[{")),
        nested(255, inner="").replace('"a":}', "}"),
        json.dumps("[" * 300 + "{" * 300),
        json.dumps(["[{" * 200, [[]] * 300, [{}] * 300]),
        f"[{2**53 - 1}, {-(2**53) + 1}, 1e308, -0.0, 5e-324, 1e-7, 1.2345678901234568e20]",
        r'"\ud83d\ude00 \u0000 \u007f"',
    ],
    Kind.JSON_OBJECTS: [f'[{{"a":{nested(253)}}}]', "[" + ", ".join(["{}"] * 300) + "]", "[]"],
    Kind.INTEGER: [0, 2**53 - 1],
    Kind.FLOAT: [0.0, -0.0, 5e-324, 1.7976931348623157e308, 9007199254740993.0, 1e21, 1e-7],
    Kind.TEXT: ["\0", "\n\r\u2028", "\x7f\u0080", '"\\', "\U0010ffff", "[" * 300, "=1\t"],
}  # fmt: skip
"""Values within the limits, by kind."""

BAD = {
    Kind.TIME: [
        "0000-01-01 00:00:00",
        "0000-12-31 23:59:59.999999",
        "10000-01-01 00:00:00",
        "2023-02-29 00:00:00",
        "2026-01-01 23:59:60",
        "2026-01-01 24:00:00",
    ],
    Kind.JSON: [
        *(nested(depth, kinds=kinds) for depth in (256, 257, 5000) for kinds in ("[", "{", "[{")),
        nested(100_000),
        f"[{2**53}]",
        f"[{-(2**53)}]",
        "1e309",
        '{"a": 1, "a": 1}',
        r'["\ud800"]',
        r'{"\udc00": 1}',
        "NaN",
    ],
    Kind.JSON_OBJECTS: [f'[{{"a":{nested(254)}}}]', "[1]", '[{"a": 1, "a": 2}]'],
    Kind.INTEGER: [2**53, 2**63 - 1, -1],
    Kind.FLOAT: [float("inf"), float("-inf")],
    Kind.TEXT: [b"\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"],
}
"""Values beyond them."""


@dataclass
class Case:
    """A run, and the cells (table, column) in which it has a value beyond a limit."""

    tables: Tables
    bad: set[tuple[str, str]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A valid run in which up to four values are replaced by such as are at a limit, or beyond it."""
    tables = draw(runs())
    cells = [
        (name, row, column)
        for name, rows in tables.items()
        for row in rows
        for column in V1.tables[name].columns
        if row.get(column.name) is not None and column.kind in GOOD
        # The names of rows, and links to them, are left as they are.
        and not column.name.endswith("_id") and not column.pattern
    ]  # fmt: skip
    case = Case(tables, set())
    by_kind = {kind: [cell for cell in cells if cell[2].kind is kind] for kind in GOOD}
    kinds = [kind for kind, some in by_kind.items() if some]
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=4, unique=True)):
        name, row, column = draw(st.sampled_from(by_kind[kind]))
        beyond = draw(st.integers(0, 5)) == 0
        value = draw(st.sampled_from((BAD if beyond else GOOD)[kind]))
        ordered = kind is Kind.TIME and column.name in [key.column for key in V1.tables[name].order]
        # Times that records are ordered by are of one form in a run: all of them are changed together.
        for each in tables[name] if ordered else [row]:
            if each.get(column.name) is not None:
                each[column.name] = value
        if beyond:
            case.bad.add((name, column.name))
    return case


def merged(each: list[Case]) -> Tables:
    """The runs in one database, each under a run_id and with ids of its own."""
    tables: Tables = {}
    for number, case in enumerate(each):
        for name, rows in case.tables.items():
            for row in rows:
                own = {column: f"{number}-{value}" for column, value in row.items() if column.endswith("_id") and value}
                own |= {"run_id": f"run-{number}"} if "run_id" in row else {}
                tables.setdefault(name, []).append(row | own)
    return tables


def require(error: str | None, package: Path | None, run_id: str, bad: set[tuple[str, str]]) -> None:
    """A run is refused for what is bad in it, by table, id and column; or its package verifies."""
    if error is not None:
        named = re.match(r"Corrupt audit data: table (\w+), (\w+ .+), column (\w+): found ", error, re.DOTALL)
        assert named, error[:2000]
        assert (named[1], named[3]) in bad, error[:2000]
        return
    assert not bad
    report = verify_package(package, key=KEY.encode(), run_id=run_id, processes=1)
    assert report.status is Status.VERIFIED, report.to_text()


def require_each(each: list[Case]) -> None:
    """The same of many runs in one database, by what the steps of an export are made of."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder / "landscape.db", merged(each))
        for number, case in enumerate(each):
            run_id, error, package = f"run-{number}", None, None
            try:
                package = published(folder / "landscape.db", run_id, folder / run_id)
            except CorruptTable as corrupt:
                error = str(corrupt)
            require(error, package, run_id, case.bad)


def published(database: Path, run_id: str, folder: Path) -> Path:
    """The package of a run, with records and CSV files."""
    key = SigningKey(KEY, "the key of the tests")
    signed, files = make_files(database, run_id, folder, key, "jsonl", "csv")
    run, *others = jsonl(files["records.jsonl"].facts.path)
    counts = Counter(record["record_type"] for record in (run, *others[:-1]))
    export = Export(
        contract="v1",
        run_id=run_id,
        status=run["status"],
        started_at=run["started_at"],
        completed_at=run["completed_at"],
        record_counts=counts,
        final_hash=signed.final_hash,
        merkle_root=signed.merkle_root,
        tables={table.name: counts[table.record_type] for table in V1.tables.values()},
        key=key,
        manifest_key=None,
    )
    return publish(export, list(files.values()), folder, folder / ".staging").path


@settings(max_examples=15, phases=UNSHRUNK)
@given(case=cases())
def test_a_run_at_the_limits_is_refused_by_name_or_verifies(case):
    """Random runs with values at and beyond the limits of every kind of column."""
    require_each([case])


def test_every_value_at_a_limit():
    """Each value of the lists above once, in a run of its own: none is missed by chance."""
    each = []
    for kind, name, column in (
        (Kind.TIME, "runs", "started_at"),
        (Kind.TIME, "nodes", "registered_at"),
        (Kind.JSON, "nodes", "config_json"),
        (Kind.JSON_OBJECTS, "nodes", "schema_fields_json"),
        (Kind.INTEGER, "nodes", "sequence_in_pipeline"),
        (Kind.FLOAT, "secret_resolutions", "timestamp"),
        (Kind.TEXT, "nodes", "plugin_name"),
    ):
        # The good ones together where they have room in one run, and each bad one in a run of its own.
        good = [[value] for value in GOOD[kind]] if kind is Kind.TIME else [GOOD[kind]]
        each += [Case(plain(len(values), **{name: {column: values}}), set()) for values in good]
        each += [Case(plain(1, **{name: {column: [value]}}), {(name, column)}) for value in BAD[kind]]
    require_each(each)


TIME = "2026-01-01 00:00:00"


def plain(rows: int, **changed: dict[str, list[Any]]) -> Tables:
    """A run with so many nodes and looked-up secrets, and in some column one value for each of them."""
    tables: Tables = {
        "runs": [
            {"run_id": "r", "status": "completed", "started_at": TIME, "completed_at": TIME, "canonical_version": "v",
             "config_hash": "c", "settings_json": "{}"}
        ],
        "nodes": [
            {"node_id": f"n{i}", "run_id": "r", "plugin_name": "p", "node_type": "source", "plugin_version": "1",
             "config_hash": "c", "determinism": "seeded", "config_json": "1", "registered_at": TIME}
            for i in range(rows)
        ],
        "secret_resolutions": [
            {"resolution_id": f"s{i}", "run_id": "r", "timestamp": 1.0, "env_var_name": "X", "source": "keyvault",
             "fingerprint": "0" * 64}
            for i in range(rows)
        ],
    }  # fmt: skip
    for name, columns in changed.items():
        for column, values in columns.items():
            for row, value in zip(tables[name], values, strict=True):
                row[column] = value
    return tables


RECORD_BYTES = 64 * 2**20
RUN_ID_BYTES = 2**16


def test_the_longest_record():
    """At the limit in canonical form, escapes counted, it is exported and verifies; with one byte more it is not."""
    fields = {column.field: None for column in V1.tables["nodes"].fields}
    fields |= {name: value for name, value in plain(1)["nodes"][0].items() if name in fields}
    record = {**fields, "config": 1, "record_type": "node", "run_id": "run-0", "node_id": "0-n0", "plugin_name": ""}
    room = RECORD_BYTES - len(rfc8785.dumps(record | {"signature": "0" * 64}))
    names = ["\x01" * 1000 + "é" * 1000 + "x" * (room - 6000 - 2000 + more) for more in (0, 1)]
    each = [Case(plain(1, nodes={"plugin_name": [name]}), set()) for name in names]
    each[1].bad.add(("nodes", "plugin_name"))
    require_each(each)


def test_the_longest_run_id(tmp_path):
    """At the limit in canonical form, escapes counted, it is exported and verifies; with one byte more it is not."""
    run_ids = ["\x01" * 1000 + "x" * (RUN_ID_BYTES - len('""') - 6000 + more) for more in (0, 1)]
    tables = merged([Case(plain(1), set()) for _ in run_ids])
    for rows in tables.values():
        for row in rows:
            row["run_id"] = run_ids[int(row["run_id"].removeprefix("run-"))]
    fill(tmp_path / "landscape.db", tables)
    chosen = [f"--run-id={run_id}" for run_id in run_ids]
    at, beyond = Exporter(tmp_path).outcomes(tmp_path / "landscape.db", *chosen, "--format", "jsonl")
    require(at.get("error"), at["package"], run_ids[0], set())
    require(beyond.get("error"), beyond["package"], run_ids[1], {("runs", "run_id")})
