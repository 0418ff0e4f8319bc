"""Arrow files between the steps: what was written comes back, and damage is noticed.

Belongs here: the files by themselves. Does not belong here: what the assets keep in them (`../dagster_defs/`).
"""

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape_assets.errors import StorageError
from landscape_assets.storage.arrow_file import ArrowReader, ArrowWriter

SCHEMA = pa.schema(
    [
        pa.field("text", pa.string()),
        pa.field("large", pa.large_string()),
        pa.field("flag", pa.bool_()),
        pa.field("number", pa.int64()),
        pa.field("double", pa.float64()),
        pa.field("time", pa.timestamp("us")),
    ]
)

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.none() | st.text(),
            "large": st.none() | st.text(),
            "flag": st.none() | st.booleans(),
            "number": st.none() | st.integers(-(2**53), 2**53),
            "double": st.none() | st.floats(allow_nan=False),
            "time": st.none() | st.datetimes(),
        }
    ),
    max_size=20,
)


def written(path: Path, batches: list[pa.RecordBatch], metadata: dict[str, str]) -> Path:
    with ArrowWriter(path, SCHEMA, metadata) as writer:
        for batch in batches:
            writer.write(batch)
    assert writer.facts().rows == sum(batch.num_rows for batch in batches)
    return path


@given(
    st.lists(ROWS, max_size=4),
    st.integers(0, 9),
    st.integers(0, 20),
    st.permutations(SCHEMA.names),
    st.integers(0, len(SCHEMA.names)),
)
def test_batches_come_back_whole_and_column_by_column(tables, start, length, names, count):
    """Slices and empty batches too, in any choice and order of columns; with the metadata, and with as many rows as
    there were."""
    with tempfile.TemporaryDirectory() as folder:
        batches = [pa.RecordBatch.from_pylist(rows, SCHEMA).slice(start, length) for rows in tables]
        wanted = [batch for batch in batches if batch.num_rows]
        reader = ArrowReader(written(Path(folder) / "file.arrow", batches, {"key": "value"}))
        assert reader.metadata == {"key": "value"}
        assert reader.schema == SCHEMA
        assert [reader.batch_rows(i) for i in range(reader.batches)] == [batch.num_rows for batch in wanted]
        assert [reader.batch(i) for i in range(reader.batches)] == wanted
        some = names[:count]
        frame = reader.frame(some)
        assert (frame.height, frame.columns) == (reader.rows, some)
        whole = pa.Table.from_batches(wanted, SCHEMA)
        for name in some:
            assert frame[name].to_list() == whole.column(name).to_pylist()
        reader.close()


@pytest.mark.parametrize("count", [1, 7, 8, 64, 65, 130])
def test_the_first_rows_of_a_batch_are_a_batch(tmp_path, count):
    """Of a long batch, whatever comes behind them."""
    row = {"text": "x", "large": "y", "flag": True, "number": 1, "double": 1.5, "time": None}
    rows = [row if i % 3 else dict.fromkeys(row) for i in range(1_000)]
    first = pa.RecordBatch.from_pylist(rows, SCHEMA).slice(0, count)
    with ArrowReader(written(tmp_path / "file.arrow", [first], {})) as reader:
        assert reader.batch(0) == first


@pytest.fixture
def file(tmp_path) -> Path:
    """A file with two batches of a thousand rows."""
    row = {"text": "x" * 90, "large": "y" * 90, "flag": True, "number": 1, "double": 1.5, "time": None}
    batch = pa.RecordBatch.from_pylist([row] * 1_000, SCHEMA)
    return written(tmp_path / "file.arrow", [batch, batch], {})


def test_a_changed_byte_is_noticed_by_whoever_reads_its_column(file):
    """And by nobody else: each column has its own checksum."""
    data = file.read_bytes()
    file.write_bytes(data.replace(b"xxxx", b"xxzx", 1))
    reader = ArrowReader(file)
    with pytest.raises(StorageError, match=r"file\.arrow.*the column text in batch 0.*Materialize"):
        reader.batch(0)
    with pytest.raises(StorageError):
        reader.batch(0, ["number", "text"])
    assert reader.batch(0, ["large", "number"]).num_rows == 1_000
    assert reader.batch(1).num_rows == 1_000
    reader.close()


def test_every_truncated_file_is_refused(file):
    """A file that was cut off has no end, and is none."""
    data = file.read_bytes()
    for size in (*range(40), len(data) // 2, len(data) - 1):
        file.write_bytes(data[:size])
        with pytest.raises(StorageError, match=r"file\.arrow is not as it was written"):
            ArrowReader(file)
