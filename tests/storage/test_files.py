"""The files of a package (docs/package.md): records.jsonl, csv/ and parquet/, each read back and compared with the
records.

Belongs here: what is in the files. Does not belong here: how they become a package (`../cli/test_export.py`).
"""

import hashlib
import hmac
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rfc8785
import sqlalchemy as sa
from hypothesis import given, settings
from support.databases import fill, rename_run
from support.pipeline import jsonl, make_files
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN
from support.strategies import RUN_ID, UNSHRUNK, runs

from benchmarks import reference
from benchmarks.fields import FIELDS, PARSED, TIMES
from landscape_assets.records.sign import SigningKey

CONFORMANCE = Path(__file__).parents[1] / "data" / "conformance"
KEY = SigningKey("conformance-key")

NUMBERS = (int, float)


def records_of(database: Path, run_id: str, key: bytes | None) -> list[dict]:
    """The data records that the reference gives."""
    engine = sa.create_engine(f"sqlite:///{database}")
    with engine.connect() as connection:
        found = [r for r in reference.export_run(connection, run_id, key) if r["record_type"] != "manifest"]
    engine.dispose()
    return found


def by_type(records: list[dict]) -> dict[str, list[dict]]:
    found = defaultdict(list)
    for record in records:
        found[record["record_type"]].append(record)
    return found


def header_of(record_type: str, *, signed: bool) -> list[str]:
    return ["record_type", "run_id", *FIELDS[record_type], *(["signature"] if signed else [])]


def cells(text: str) -> Iterator[list[tuple[str, bool]]]:
    """RFC 4180, strictly: the rows of a file, each cell with whether it was quoted."""
    row: list[tuple[str, bool]] = []
    at = 0
    while at < len(text):
        if text[at] == '"':
            value = ""
            while True:
                end = text.index('"', at + 1)
                value += text[at + 1 : end]
                at = end + 1
                if text[at] != '"':
                    break
                value += '"'
            row.append((value, True))
        else:
            end = min(i for i in (text.find(",", at), text.find("\r\n", at)) if i >= 0)
            value, at = text[at:end], end
            assert '"' not in value and "\n" not in value and "\r" not in value, "a cell that had to be quoted"
            row.append((value, False))
        if text[at] == ",":
            at += 1
            continue
        assert text[at : at + 2] == "\r\n", "each line ends with CR LF"
        at += 2
        yield row
        row = []


def cell_of(field: str, value: object) -> tuple[str, bool]:
    """The rule of docs/package.md, said a second time."""
    if value is None:
        return "", False
    if isinstance(value, bool):
        return ("true" if value else "false"), False
    if isinstance(value, NUMBERS) and field not in PARSED:
        return rfc8785.dumps(value).decode(), False
    text = rfc8785.dumps(value).decode() if field in PARSED else value
    if text[:1] and text[0] in "=+-@'\t\r\n\0":
        text = "'" + text
    return text, text == "" or any(character in text for character in '",\r\n')


def require_files(database: Path, run_id: str, folder: Path, key: SigningKey | None) -> None:
    """The formats of records hold the reference's records, and the report is beside them."""
    signed, files = make_files(database, run_id, folder, key)
    wanted = records_of(database, run_id, key.secret.encode() if key else None)
    types = by_type(wanted)
    assert set(files) == {
        "records.jsonl",
        "report.html",
        *(f"{f}/{name}.{f}" for f in ("csv", "parquet") for name in types),
    }
    for file in files.values():
        data = file.facts.path.read_bytes()
        assert (file.facts.size, file.facts.sha256) == (len(data), hashlib.sha256(data).hexdigest())

    lines = files["records.jsonl"].facts.path.read_bytes().splitlines(keepends=True)
    if key is not None:
        last = json.loads(lines.pop())
        assert last["record_type"] == "manifest"
        assert last["exported_at"] == files["records.jsonl"].exported_at
        signature = last.pop("signature")
        assert signature == hmac.new(key.secret.encode(), rfc8785.dumps(last), hashlib.sha256).hexdigest()
    assert lines == [rfc8785.dumps(record) + b"\n" for record in wanted]
    assert files["records.jsonl"].facts.rows == len(wanted)
    assert signed.final_hash == reference.final_hash(wanted)

    for name, records in types.items():
        header = header_of(name, signed=key is not None)
        require_csv(files[f"csv/{name}.csv"].facts.path.read_bytes(), header, records)
        require_parquet(files[f"parquet/{name}.parquet"].facts.path, header, records, run_id)
        assert files[f"csv/{name}.csv"].facts.rows == files[f"parquet/{name}.parquet"].facts.rows == len(records)


def require_csv(data: bytes, header: list[str], records: list[dict]) -> None:
    text = data.decode()
    first, _, rest = text.partition("\r\n")
    assert first == ",".join(header)
    rows = list(cells(rest))
    assert rows == [[cell_of(name, record[name]) for name in header] for record in records]
    for row, record in zip(rows, records, strict=True):
        for name, (cell, quoted) in zip(header, row, strict=True):
            meant = (
                rfc8785.dumps(record[name]).decode() if name in PARSED and record[name] is not None else record[name]
            )
            assert read_back(name, cell, quoted, record[name]) == meant


def read_back(field: str, cell: str, quoted: bool, like: object) -> object:
    """What a cell stands for, by the type of the column alone; nested values stay JSON text."""
    if cell == "" and not quoted:
        return None
    if field not in PARSED and isinstance(like, (bool, *NUMBERS)):
        return {"true": True, "false": False}[cell] if isinstance(like, bool) else type(like)(cell)
    return cell.removeprefix("'")


def require_parquet(path: Path, header: list[str], records: list[dict], run_id: str) -> None:
    table = pq.read_table(path)
    assert table.column_names == header
    metadata = pq.ParquetFile(path).metadata.metadata
    assert metadata[b"landscape.run_id"].decode() == run_id
    assert metadata[b"landscape.contract"] == b"v1"
    assert metadata[b"landscape.record_type"].decode() == records[0]["record_type"]
    integers = {
        "call_index",
        "row_index",
        "step_in_pipeline",
        "ordinal",
        "step_index",
        "attempt",
        "size_bytes",
        "sequence_in_pipeline",
    }
    doubles = {"timestamp", "resolution_latency_ms", "duration_ms", "latency_ms"}
    for name in header:
        kind = table.schema.field(name).type
        if name in TIMES:
            assert kind == pa.timestamp("us")
        elif name in integers:
            assert kind == pa.int64()
        elif name in doubles:
            assert kind == pa.float64()
        elif name == "is_terminal":
            assert kind == pa.bool_()
        else:
            assert pa.types.is_string(kind) or pa.types.is_large_string(kind)
    for row, record in zip(table.to_pylist(), records, strict=True):
        for name, found in row.items():
            value = found.isoformat() if found is not None and name in TIMES else found
            meant = record[name]
            if name in PARSED and meant is not None:
                meant = rfc8785.dumps(meant).decode()
            assert value == meant


@pytest.mark.parametrize("key", [KEY, None], ids=["signed", "unsigned"])
@pytest.mark.parametrize("run_id", json.loads((CONFORMANCE / "expected.json").read_text())["s12"])
def test_hard_records_come_back_from_every_format(s12, tmp_path, run_id, key):
    """records.jsonl is the records' bytes; CSV and Parquet give every value back; counts, sizes and hashes are as
    noted."""
    require_files(s12, run_id, tmp_path / "made", key)


def test_the_sample_s_records_come_back_from_every_format(sample, tmp_path):
    """Every record type has its files."""
    require_files(sample, COMPLETED_RUN, tmp_path / "made", KEY)


def test_a_run_id_with_quotes_and_commas_comes_back_from_every_format(sample, tmp_path):
    """The run_id is text like any other, in every file."""
    present = FAILED_RUN
    for i, run_id in enumerate(('a",\r\nb', "=1+1", "-rf", "é/\U0001f525", "")):
        rename_run(sample, present, run_id)
        present = run_id
        require_files(sample, run_id, tmp_path / str(i), KEY)


@settings(max_examples=15, phases=UNSHRUNK)
@given(runs())
def test_any_valid_run_comes_back_from_every_format(tables):
    """Whatever values a run has, they can be read back from every format."""
    with tempfile.TemporaryDirectory() as name:
        fill(Path(name) / "landscape.db", tables)
        require_files(Path(name) / "landscape.db", RUN_ID, Path(name) / "made", KEY)


@pytest.mark.parametrize("run_id", json.loads((CONFORMANCE / "expected.json").read_text())["s12"])
def test_records_and_signatures_are_those_of_elspeth_s_own_export(s12, tmp_path, run_id):
    """The stored export of the same run: record for record, signature for signature, and the final hash."""
    signed, files = make_files(s12, run_id, tmp_path / "made", KEY, "jsonl")
    *wanted, manifest = jsonl(CONFORMANCE / f"s12.{run_id}.signed.jsonl")
    *records, _ = jsonl(files["records.jsonl"].facts.path)
    assert records == wanted
    assert signed.final_hash == manifest["final_hash"]
    assert signed.final_hash == json.loads((CONFORMANCE / "expected.json").read_text())["s12"][run_id]["final_hash"]


OTHERS = Path(__file__).resolve().parents[3] / "shared" / "conformance"


@pytest.mark.skipif(not OTHERS.is_dir(), reason="../shared/conformance is not there")
@pytest.mark.parametrize("contract", ["v0", "v1"])
def test_every_conformance_run_is_exported_as_elspeth_did(tmp_path, contract):
    """The databases that ELSPETH wrote, where they are there: the same records and signatures, and the database
    unchanged."""
    expected = json.loads((OTHERS / contract / "expected.json").read_text())
    assert expected
    for name, exports in expected.items():
        database = OTHERS / contract / f"{name}.db"
        before = hashlib.sha256(database.read_bytes()).digest()
        for run_id, want in exports.items():
            signed, files = make_files(database, run_id, tmp_path / name / run_id, KEY, "jsonl")
            *wanted, _ = jsonl(database.with_name(f"{name}.{run_id}.signed.jsonl"))
            *records, _ = jsonl(files["records.jsonl"].facts.path)
            assert records == wanted, f"{name} {run_id}"
            assert (signed.final_hash, len(wanted)) == (want["final_hash"], want["record_count"])
        assert hashlib.sha256(database.read_bytes()).digest() == before
        assert list(database.parent.glob(f"{name}.db-*")) == []


def test_each_signature_is_the_hmac_of_the_record_without_it(sample, tmp_path):
    """By hand: the module hmac over the canonical form, with nothing of the export's own."""
    _, files = make_files(sample, COMPLETED_RUN, tmp_path / "made", KEY, "jsonl")
    for record in jsonl(files["records.jsonl"].facts.path):
        signature = record.pop("signature")
        assert signature == hmac.new(b"conformance-key", rfc8785.dumps(record), hashlib.sha256).hexdigest()
