"""Records: the fast path and the judge agree, both statements of the contract agree, and CSV rows follow the rule.

Belongs here: what is about records and not about a particular finding.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape_assets import contract
from landscape_assets.verify import contract as verifier_contract
from landscape_assets.verify import csv_view, records_file, verify_package
from landscape_assets.verify.chunk import Checker, Job
from landscape_assets.verify.contract_model import Kind, Place
from landscape_assets.verify.judge import is_time

from . import build, generations
from .build import DATA, KEY
from .small import small_run

CONFORMANCE = Path(__file__).parents[3] / "shared" / "conformance"
EXPORT = "s12.run-856b8d629fd9.signed.jsonl"


def signed_lines() -> list[bytes]:
    """Records of every type, with hard values."""
    some = [*build.load(EXPORT), *small_run("run-856b8d629fd9")]
    return [rfc8785.dumps(build.sign(record, KEY)) for record in some]


LINES = signed_lines()


def checker(*, slow: bool, key: bytes | None = KEY) -> Checker:
    """A checker; a slow one never takes the fast path."""
    return Checker(Job("v1", "run-856b8d629fd9", True, key, tuple(build.FIELDS)), fast=not slow)


FAST, SLOW = checker(slow=False), checker(slow=True)
FAST_KEYLESS, SLOW_KEYLESS = checker(slow=False, key=None), checker(slow=True, key=None)


def test_the_fast_path_is_taken():
    """All but the types with nested values, and rare forms, match an expression."""
    taken = sum(FAST.fast_path.accept(line) is not None for line in LINES)
    assert taken > 0.85 * len(LINES)


def test_both_ways_find_the_same_in_sound_records():
    data = b"".join(line + b"\n" for line in LINES)
    fast, slow = FAST.check(data), SLOW.check(data)
    slow.runs = slow.manifests = fast.runs = fast.manifests = []
    for name in ("counts", "links", "ids", "references", "first", "last", "context", "csv", "lines"):
        assert getattr(fast, name) == getattr(slow, name), name
    assert fast.findings.kept == slow.findings.kept


FRAGMENTS = [
    *b'"" null 0 -0 -1 1.0 1e5 01 1. 00.5 1e21 1e-7 123456.7890123 0.0000001 9007199254740992 true [] {} NaN'.split(),
    *b'"x" "open" "pending" "completed" "failed" {"a":1,"a":1} "a","b":"c"'.split(),
    *rb'"\u0041" "\u001F" "\u001f" "\u0008" "\b" "\/"'.split(),
    *(b'" "', b'"\x7f"', '"\u2028"'.encode(), b'"\xff"', b'"\xed\xa0\x80"'),
    *b'"2026-02-30T00:00:00" "2028-02-29T00:00:00" "2026-01-01T00:00:00.000000" "2026-01-01T24:00:00"'.split(),
    b'"0000-01-01T00:00:00"',
]


@settings(max_examples=400, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(LINES), st.booleans())
def test_both_ways_agree_on_touched_records(chance: random.Random, line: bytes, keyed: bool):
    """Whatever is done to a line, the fast path accepts it only where the judge finds nothing wrong."""
    fast, slow = (FAST, SLOW) if keyed else (FAST_KEYLESS, SLOW_KEYLESS)
    record = json.loads(line)
    match chance.randrange(4):
        case 0:
            touched = bytearray(line)
            touched[chance.randrange(len(touched))] = chance.randrange(256)
            line = bytes(touched)
        case 1:  # another value in place of one
            name = chance.choice([name for name in record if name != "record_type"])
            old = rfc8785.dumps({name: json.loads(line, parse_int=float)[name]})[1:-1]
            line = line.replace(old, old.split(b":", 1)[0] + b":" + chance.choice(FRAGMENTS))
        case 2:
            start, end = sorted(chance.choices(range(len(line)), k=2))
            line = line[:start] + line[end:]
        case 3:
            other = chance.choice(LINES)
            at = chance.randrange(len(line))
            line = line[:at] + other[at:]
    line = line.replace(b"\n", b"")
    one, two = fast.check(line + b"\n"), slow.check(line + b"\n")
    assert one.findings.kept == two.findings.kept
    assert (one.links, one.ids, one.counts, one.csv) == (two.links, two.ids, two.counts, two.csv)


def checkers(contract: str) -> tuple[Checker, Checker, list[bytes]]:
    """Of a newer generation: a checker with the fast path, one without, and signed records."""
    records = [record for record in generations.load(DATA / generations.EXPORTS[contract]) if "record_type" in record]
    jobs = Job(contract, str(records[0]["run_id"]), True, KEY)
    return Checker(jobs), Checker(jobs, fast=False), [rfc8785.dumps(record) for record in records[:-1]]


NEWER = {contract: checkers(contract) for contract in generations.EXPORTS}


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(sorted(NEWER)), st.data())
def test_both_ways_agree_on_the_newer_generations(chance: random.Random, contract: str, data: st.DataObject):
    """A value, null or another one, in place of one, signed anew, so that only rules and values can be wrong."""
    fast, slow, lines = NEWER[contract]
    record = json.loads(data.draw(st.sampled_from(lines)))
    for _ in range(chance.randrange(3)):
        name = chance.choice([name for name in record if name not in ("record_type", "signature")])
        others = [other[name] for other in map(json.loads, chance.choices(lines, k=20)) if name in other]
        record[name] = chance.choice([*others, None, "", "x", 0, 1, True, False, -1, 1e17, 0.5, []])
    line = rfc8785.dumps(generations.sign(record, contract, KEY))
    one, two = fast.check(line + b"\n"), slow.check(line + b"\n")
    assert one.findings.kept == two.findings.kept
    assert (one.links, one.ids, one.counts) == (two.links, two.ids, two.counts)


@pytest.mark.parametrize("text", ["2026-03-01T12:00:00", "2028-02-29T00:00:00.000001", "9999-12-31T23:59:59+00:00"])
def test_times(text: str):
    assert is_time(text)


NO_TIMES = """2026-03-01T12:00:00.5 2026-03-01T12:00:00.000000 2026-3-1T12:00:00 2026-03-01_12:00:00
2026-03-01T12:00:00Z 2026-03-01T12:00:00+01:00 2026-03-01T12:00:60 2026-02-29T00:00:00 0000-01-01T00:00:00 2026-03-01"""


@pytest.mark.parametrize("text", ["", *NO_TIMES.split()])
def test_what_is_no_time(text: str):
    assert not is_time(text)


@given(
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["=1", "+", "-", "@", "'", "\t", "\r", "\n", "\0", "a,b", '"', "\\"])
)
def test_csv_cell_of_text(text: str):
    assert csv_view.cell(rfc8785.dumps(text), False) == build.csv_cell(text, nested=False).encode()


@given(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.lists(st.integers(-5, 5))
)
def test_csv_cell_of_nested_values(value: object):
    assert csv_view.cell(rfc8785.dumps(value), True) == build.csv_cell(value, nested=True).encode()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_csv_cell_of_numbers(value: float):
    assert csv_view.cell(rfc8785.dumps(value), False) == build.csv_cell(value, nested=False).encode()


KINDS = {
    contract.Kind.TEXT: Kind.TEXT,
    contract.Kind.ENUM: Kind.TEXT,
    contract.Kind.INTEGER: Kind.INTEGER,
    contract.Kind.FLOAT: Kind.FLOAT,
    contract.Kind.TIME: Kind.TIME,
    contract.Kind.BOOLEAN: Kind.BOOLEAN,
    contract.Kind.JSON: Kind.JSON,
    contract.Kind.JSON_OBJECTS: Kind.OBJECTS,
}


@pytest.mark.parametrize("name", ["v0", "v1"])
def test_both_statements_of_the_contract_agree(name: str):
    """The verifier states the contract in its own words; this is where a slip of either would show."""
    (theirs,) = [one for one in contract.CONTRACTS if one.name == name]
    ours = verifier_contract.CONTRACTS[name]
    assert set(theirs.record_types) == set(ours.types)
    for record_type, table in theirs.record_types.items():
        mine = ours.types[record_type]
        assert mine.table == table.name
        assert [field.name for field in mine.fields] == ["run_id", *(column.field for column in table.fields)]
        for field, column in zip(mine.fields[1:], table.fields, strict=True):
            nullable_json = column.kind in (contract.Kind.JSON, contract.Kind.JSON_OBJECTS)
            assert field.kind is KINDS[column.kind]
            assert field.values == column.values
            assert field.required == (column.required and not nullable_json)
            assert field.not_empty == column.not_empty
        exported = {column.name for column in table.fields}
        positional = {place.link for place in _walk(ours.order) if place.type == record_type}
        references = {(one.column, theirs.tables[one.table].record_type) for one in table.references}
        assert {one for one in references if one[0] not in positional} == set(mine.references)
        order = [key.column for key in table.order if key.column in exported]
        if record_type not in ("run", "edge", "token", "artifact", "node"):  # ordered by what is not exported
            assert [*mine.order, mine.id[-1]] == order
    assert [(one.type, one.link) for one in _walk(ours.order)] == [
        (theirs.tables[group.table].record_type, group.link) for group in theirs.groups
    ]


def _walk(places: tuple[Place, ...]) -> list[Place]:
    return [one for place in places for one in (place, *_walk(place.children))]


def test_the_export_of_the_original(tmp_path: Path):
    """Records that ELSPETH itself exported and signed."""
    lines = [json.loads(line) for line in (DATA / EXPORT).read_text("utf-8").split("\n") if line]
    folder = build.build(tmp_path, lines[:-1], formats=("jsonl", "csv", "parquet"))
    report = verify_package(folder, key=KEY)
    assert (report.status, report.findings, report.record_count) == (0, [], 208)


@pytest.mark.skipif(not CONFORMANCE.exists(), reason="the conformance exports are not beside the repository")
def test_all_exports_of_the_original(tmp_path: Path):
    """Those of v0 and v1; `test_generations.py` has the newer generations."""
    paths = sorted(path for contract in ("v0", "v1") for path in CONFORMANCE.glob(f"{contract}/*.signed.jsonl"))
    assert paths
    for path in paths:
        lines = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
        folder = build.build(tmp_path / path.name, lines[:-1], contract=path.parent.name)
        report = verify_package(folder, key=KEY)
        assert (report.status, report.findings) == (0, []), path.name


def test_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The same report, whether one process reads the records or several do."""
    sound = build.build(tmp_path / "sound", build.load(EXPORT))
    faulty = build.load(EXPORT)
    for index in (40, 90, 120, 199):
        faulty[index]["note"] = "?"
    faulty.insert(150, faulty[150])
    broken = build.build(tmp_path / "broken", faulty, formats=("jsonl",))
    monkeypatch.setattr(records_file, "CHUNK_SIZE", 4000)
    for folder, status in ((sound, 0), (broken, 40)):
        alone = verify_package(folder, key=KEY, processes=1)
        assert verify_package(folder, key=KEY, processes=2) == alone
        assert alone.status == status
    assert {"E313", "E334"} <= {finding.code for finding in alone.findings}


def test_findings_are_bounded(tmp_path: Path):
    some = small_run()
    for number in range(1500):
        some.append({**some[-1], "artifact_id": f"artifact-{number:04}x", "size_bytes": -1})
    report = verify_package(build.build(tmp_path, some, formats=("jsonl",)), key=KEY)
    assert report.omitted == {"E316": 500}
    assert len(report.findings) == 1000
    assert "500 more" in report.to_text()


def test_repeated_ids_across_stretches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    some = small_run()
    some[-1]["artifact_id"] = "artifact-x"
    some += [{**some[-1], "artifact_id": f"artifact-{number}"} for number in range(50)]
    some.append(dict(some[-30]))
    folder = build.build(tmp_path, some, formats=("jsonl",))
    monkeypatch.setattr(records_file, "CHUNK_SIZE", 900)
    (finding,) = verify_package(folder, key=KEY).findings
    assert (finding.code, finding.record) == ("E334", len(some))
    assert f"line {len(some) - 30}" in finding.message
