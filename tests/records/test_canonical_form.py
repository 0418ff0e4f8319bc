"""The canonical form of columns (RFC 8785): for every kind of column, what the package `rfc8785` says of each value.

Belongs here: single columns and values. Does not belong here: whole records (`test_records.py`).
"""

import datetime
import json
import struct

import polars as pl
import pyarrow as pa
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import floats, hard_text, json_text, json_values

from landscape_assets.contract import Column, Kind, Table
from landscape_assets.contract.canonical import InvalidJson, canonical_json, parse_json
from landscape_assets.contract.model import OrderKey
from landscape_assets.database import RUN
from landscape_assets.database.schemas import ARROW_TYPES
from landscape_assets.records.encode import column_texts, lines
from landscape_assets.records.encode import encode as encode_with_texts


def table(kind: Kind, field: str = "value") -> Table:
    column = Column("stored", kind, "A value.", field=field)
    return Table("things", "thing", ("stored",), (column,), (OrderKey("stored"),))


def rows(kind: Kind, values: list) -> pa.RecordBatch:
    return of_one_run(pa.RecordBatch.from_arrays([pa.array(values, ARROW_TYPES[kind])], ["stored"]))


def of_one_run(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Rows that all belong to the first run."""
    return batch.append_column(RUN, pa.array([0] * batch.num_rows, pa.uint32()))


def encode(batch: pa.RecordBatch, of: Table, run_ids: list[str]) -> pl.DataFrame:
    return encode_with_texts(batch, column_texts(batch, of), of, run_ids)


def encoded(kind: Kind, values: list, field: str = "value", run_id: str = "r") -> list[str]:
    return encode(rows(kind, values), table(kind, field), [run_id])["canonical"].to_list()


def canonical(value, field: str = "value", run_id: str = "r") -> str:
    return rfc8785.dumps({"record_type": "thing", "run_id": run_id, field: value}).decode()


def holds(kind: Kind, values: list, meant: list) -> None:
    """The column's records are those of its values, alone, together, and with nulls among them."""
    assert encoded(kind, values) == [canonical(value) for value in meant]
    assert encoded(kind, [None, *values, None]) == [canonical(value) for value in (None, *meant, None)]
    assert encoded(kind, [None]) == [canonical(None)]


@given(st.lists(hard_text, min_size=1, max_size=5))
def test_text(values):
    """Any text: escapes, control characters, non-ASCII."""
    holds(Kind.TEXT, values, values)


def test_every_character_that_may_be_escaped():
    """Every character below U+00A0, the line separators, the ends of the planes: each by itself and inside a text."""
    characters = [
        chr(i) for i in [*range(0xA0), 0x2028, 0x2029, 0xD7FF, 0xE000, 0xFFFD, 0xFFFE, 0xFFFF, 0x10000, 0x10FFFF]
    ]
    values = [text for character in characters for text in (character, f"a{character}b")]
    holds(Kind.TEXT, values, values)


@given(st.lists(st.integers(-(2**53) + 1, 2**53 - 1), min_size=1, max_size=5))
def test_integers(values):
    """Integers up to 2^53-1 either way."""
    holds(Kind.INTEGER, values, values)


@given(st.lists(floats, min_size=1, max_size=8))
def test_floats(values):
    """Finite doubles as ECMAScript prints them."""
    holds(Kind.FLOAT, values, values)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_floats_of_any_bits(bits):
    """Doubles drawn by their bits, so that every exponent occurs alike."""
    values = [struct.unpack("<d", struct.pack("<Q", pattern))[0] for pattern in bits]
    values = [value for value in values if value - value == 0] or [0.0]
    holds(Kind.FLOAT, values, values)


def test_floats_at_every_power_of_ten():
    """Where the notation changes, and its neighbours."""
    values = [
        sign * digit * 10.0**power
        for power in range(-30, 30)
        for digit in (1, 1.5, 9.999999999999998)
        for sign in (1, -1)
    ]
    values += [5e-324, 1.7976931348623157e308, 2.0**53, 2.0**53 + 2, 1e23, 9.5e-7, 333333333.33333329]
    holds(Kind.FLOAT, values, values)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-0.0, "0"),
        (1.0, "1"),
        (1e16, "10000000000000000"),
        (1e21, "1e+21"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (5.0, "5"),
    ],
)
def test_the_contract_s_known_points(value, text):
    """The numbers that the record contract gives."""
    assert encoded(Kind.FLOAT, [value]) == [f'{{"record_type":"thing","run_id":"r","value":{text}}}']


@given(st.lists(st.datetimes(), min_size=1, max_size=5))
def test_times(values):
    """Times as Python's isoformat gives them: without the fraction when it is zero."""
    values = [*values, values[0].replace(microsecond=0), datetime.datetime(2026, 1, 2, 3, 4, 5, 100)]
    holds(Kind.TIME, values, [value.isoformat() for value in values])


def test_times_of_a_database_that_keeps_instants():
    """Instants carry the offset of UTC."""
    at = [
        datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, datetime.UTC),
        datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        None,
    ]
    instants = pa.RecordBatch.from_arrays([pa.array(at, pa.timestamp("us", "UTC"))], ["stored"])
    assert encode(of_one_run(instants), table(Kind.TIME), ["r"])["canonical"].to_list() == [
        canonical("2026-01-02T03:04:05.678901+00:00"),
        canonical("2026-01-02T00:00:00+00:00"),
        canonical(None),
    ]


def test_booleans():
    """true and false."""
    holds(Kind.BOOLEAN, [True, False], [True, False])


@given(st.lists(json_text(json_values), min_size=1, max_size=3))
def test_nested_values(stored):
    """Stored JSON becomes the canonical form of its value: keys sorted by UTF-16, numbers as ECMAScript's."""
    holds(Kind.JSON, stored, [json.loads(text) for text in stored])


COLUMNS = [Kind.TEXT, Kind.TIME, Kind.INTEGER, Kind.BOOLEAN, Kind.TEXT, Kind.FLOAT, Kind.ENUM]

WIDTHS = st.sampled_from([st.text("0123456789abcdef", min_size=4, max_size=4), hard_text, st.none() | hard_text])


@st.composite
def batches(draw) -> tuple[list[str], list[list]]:
    """The keys of a record, and the values of each column: of one width, of several, some null, or all."""
    keys = draw(st.lists(st.sampled_from("bcdefgyz"), min_size=len(COLUMNS), max_size=len(COLUMNS), unique=True))
    count = draw(st.integers(1, 4))
    columns = []
    for kind in COLUMNS:
        one = {
            Kind.TEXT: draw(WIDTHS),
            Kind.ENUM: draw(st.sampled_from([st.just("completed"), st.sampled_from(["completed", "failed", None])])),
            Kind.TIME: draw(st.sampled_from([st.datetimes(), st.none() | st.datetimes()])),
            Kind.INTEGER: draw(st.sampled_from([st.integers(0, 9), st.none() | st.integers(-(2**53) + 1, 2**53 - 1)])),
            Kind.BOOLEAN: draw(st.sampled_from([st.just(True), st.none() | st.booleans()])),
            Kind.FLOAT: draw(st.sampled_from([st.just(0.5), st.none() | floats])),
        }[kind]
        columns.append(draw(st.lists(one, min_size=count, max_size=count)))
    return keys, columns


@given(st.lists(batches(), min_size=2, max_size=3))
def test_columns_of_every_width_beside_one_another(several):
    """Whatever columns stand beside one another: and what was encoded before stays as it is when more is encoded."""
    made, wanted = [], []
    for keys, columns in several:
        names = [f"column {i}" for i in range(len(COLUMNS))]
        stored = pa.RecordBatch.from_arrays(
            [pa.array(values, ARROW_TYPES[kind]) for kind, values in zip(COLUMNS, columns, strict=True)], names
        )
        fields = [Column(name, kind, "", field=key) for name, kind, key in zip(names, COLUMNS, keys, strict=True)]
        of = Table("things", "thing", (names[0],), tuple(fields), (OrderKey(names[0]),))
        made.append(encode(of_one_run(stored), of, ["r"]))
        for row in zip(*columns, strict=True):
            values = [value.isoformat() if isinstance(value, datetime.datetime) else value for value in row]
            wanted.append(
                rfc8785.dumps({"record_type": "thing", "run_id": "r", **dict(zip(keys, values, strict=True))})
            )
    assert [text.encode() for each in made for text in each["canonical"]] == wanted
    heads = [head for each in made for head in each["head"]]
    assert [text[:head].count(b'"run_id":"r"') for text, head in zip(wanted, heads, strict=True)] == [1] * len(wanted)


@given(hard_text)
def test_run_ids(run_id):
    """The run_id is escaped as any text, whether the rows are all of one run or not."""
    assert encoded(Kind.INTEGER, [1], run_id=run_id) == [canonical(1, run_id=run_id)]
    values = pa.RecordBatch.from_arrays([pa.array([1, 2, 3]), pa.array([1, 2, 1], pa.uint32())], ["stored", RUN])
    made = encode(values, table(Kind.INTEGER), ["not there", run_id, "other"])
    assert made["canonical"].to_list() == [
        canonical(1, run_id=run_id), canonical(2, run_id="other"), canonical(3, run_id=run_id)
    ]  # fmt: skip
    heads = [text.encode()[:head].decode() for text, head in made.rows()]
    assert heads == [
        f'{{"record_type":"thing","run_id":{rfc8785.dumps(name).decode()}' for name in (run_id, "other", run_id)
    ]


@pytest.mark.parametrize("field", ["a", "signaturd", "signaturf", "zz"])
@given(values=st.lists(hard_text, min_size=1, max_size=4))
def test_the_signature_is_put_in_its_place(field, values):
    """The line of a signed record is the canonical form of the record with its signature, wherever that key sorts."""
    of = table(Kind.TEXT, field)
    made = encode(rows(Kind.TEXT, values), of, ["é"])
    records = [made[name].to_arrow(compat_level=pl.CompatLevel.oldest()) for name in ("canonical", "head")]
    signatures = [f"{i:064x}" for i in range(len(values))]
    signed = bytes(lines(*records, pa.array(signatures, pa.large_string()))).decode()
    wanted = [
        rfc8785.dumps({"record_type": "thing", "run_id": "é", field: value, "signature": signature}).decode() + "\n"
        for value, signature in zip(values, signatures, strict=True)
    ]
    assert signed == "".join(wanted)
    some = [record.slice(1) for record in records]
    assert bytes(lines(*some, pa.array(signatures[1:], pa.large_string()))).decode() == "".join(wanted[1:])
    unsigned = bytes(lines(*records, None)).decode()
    assert unsigned == "".join(canonical(value, field, "é") + "\n" for value in values)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nul",
        "NaN",
        "[Infinity]",
        "-Infinity",
        '{"a":1,"a":1}',
        '"\\ud800"',
        "9007199254740992",
        "[" * 100_000,
        "1e999",
    ],
    ids=lambda text: text[:12] or "empty",
)
def test_json_without_a_canonical_form_is_refused(text):
    """What is no I-JSON is refused when it is parsed, or when its form is asked for."""
    with pytest.raises(InvalidJson):
        canonical_json(parse_json(text))
