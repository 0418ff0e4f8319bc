"""Behaviour of dependencies that this project relies on, each pinned by a test of its own.

Belongs here: what would break an export silently, or make a workaround superfluous, if a dependency changed it.
Nothing of `landscape_assets` is used, so that a failure here points at the dependency.
"""

import errno
import hashlib
import hmac
import math
import os
import signal
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import adbc_driver_manager
import adbc_driver_sqlite.dbapi as adbc
import dagster as dg
import polars as pl
import polars_hash
import pyarrow as pa
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st


def query(uri: str, *statements: str) -> pa.Table:
    """The result of the last statement."""
    with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            table = cursor.fetch_arrow_table()
    return table


@pytest.fixture
def late(tmp_path: Path) -> str:
    """A table with nulls in its first 2,000 rows."""
    path = tmp_path / "late.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (word TEXT, number REAL)")
    connection.executemany("INSERT INTO t VALUES (?, ?)", [(None, None)] * 2_000 + [("late", 0.5)])
    connection.commit()
    connection.close()
    return f"file:{path}?mode=ro"


def test_adbc_guesses_types_from_the_first_rows(late: str) -> None:
    """ADBC takes a column of nulls for integers, and fails at text that comes late: types must be pinned."""
    with pytest.raises((adbc_driver_manager.Error, pa.ArrowException, OSError)):
        query(late, "SELECT word, number FROM t")
    assert query(late, "SELECT word FROM t WHERE 0").schema.field(0).type == pa.int64()


def test_a_first_row_of_literals_pins_the_types(late: str) -> None:
    """A UNION ALL with a row of literals in front gives each column the literal's type, and that row comes first."""
    found = query(late, "SELECT '' AS word, 0.0 AS number UNION ALL SELECT word, number FROM t")
    assert found.schema.types == [pa.string(), pa.float64()]
    assert found.num_rows == 2_002
    assert found.slice(0, 1).to_pylist() == [{"word": "", "number": 0.0}]
    assert found.slice(2_001).to_pylist() == [{"word": "late", "number": 0.5}]
    empty = query(late, "SELECT '' AS word, 0.0 AS number UNION ALL SELECT word, number FROM t WHERE 0")
    assert (empty.schema.types, empty.num_rows) == ([pa.string(), pa.float64()], 1)


def test_text_among_pinned_integers_shows(tmp_path: Path) -> None:
    """A text among the first rows makes the whole column text, whatever is pinned; one that comes late is an error.
    Neither becomes
    a null or a zero."""
    path = tmp_path / "mixed.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (n)")
    connection.execute("INSERT INTO t VALUES ('many')")
    connection.commit()
    pinned = "SELECT 0 AS n UNION ALL SELECT n FROM t"
    assert query(f"file:{path}", pinned).schema.types == [pa.string()]
    connection.execute("DELETE FROM t")
    connection.executemany("INSERT INTO t VALUES (?)", [(1,)] * 2_000 + [("many",)])
    connection.commit()
    connection.close()
    with pytest.raises((adbc_driver_manager.Error, pa.ArrowException, OSError)):
        query(f"file:{path}", pinned)


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """A database in WAL mode with a log, left by a process that was killed."""
    path = tmp_path / "logged.db"
    code = (
        "import sqlite3, sys, time\nc = sqlite3.connect(sys.argv[1])\nc.execute('PRAGMA journal_mode = WAL')\n"
        "c.execute('CREATE TABLE t (n)')\nc.execute('PRAGMA wal_checkpoint(TRUNCATE)')\n"
        "c.execute('INSERT INTO t VALUES (7)')\n"
        "c.commit()\nprint('written', flush=True)\ntime.sleep(60)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"written\n"
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    return path


def files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.parent.iterdir() if file.name.startswith(path.name)}


def test_readonly_shm_reads_a_log_and_changes_nothing(logged: Path) -> None:
    """`readonly_shm=1`: what is committed in the log is read, and file, log and index keep their bytes."""
    before = files(logged)
    assert set(before) == {"logged.db", "logged.db-wal", "logged.db-shm"}
    assert query(f"file:{quote(str(logged))}?mode=ro&readonly_shm=1", "SELECT n FROM t").to_pylist() == [{"n": 7}]
    assert files(logged) == before


def test_without_locks_and_exclusively_no_index_is_made(logged: Path) -> None:
    """`vfs=unix-none` in exclusive mode: a log without its index is read, and no index is left behind."""
    Path(f"{logged}-shm").unlink()
    before = files(logged)
    uri = f"file:{quote(str(logged))}?mode=ro&vfs=unix-none"
    assert query(uri, "PRAGMA locking_mode=EXCLUSIVE", "SELECT n FROM t").to_pylist() == [{"n": 7}]
    assert files(logged) == before


def test_an_immutable_file_gets_no_log(logged: Path) -> None:
    """`immutable=1`: the file alone is read, whatever its mode, and nothing appears beside it even for the moment."""
    sqlite3.connect(logged).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    assert set(files(logged)) == {"logged.db"}
    before = files(logged)
    uri = f"file:{quote(str(logged))}?mode=ro&immutable=1"
    with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT n FROM t")
        assert cursor.fetch_arrow_table().to_pylist() == [{"n": 7}]
        assert files(logged) == before


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=20))
def test_polars_sorts_text_by_its_bytes(words: list[str]) -> None:
    """As UTF-8 bytes: the contract's order of ids."""
    assert pl.Series(words, dtype=pl.String).sort().to_list() == sorted(words, key=str.encode)


def doubles(patterns: list[int]) -> list[float]:
    values = [struct.unpack("<d", struct.pack("<Q", pattern))[0] for pattern in patterns]
    return [value for value in values if math.isfinite(value)]


patterns = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50).map(doubles)


@given(patterns)
def test_polars_prints_the_shortest_digits(values: list[float]) -> None:
    """Cast to text, a double has the digits of Python's repr, only in another notation."""

    def digits(text: str) -> str:
        return text.split("e", maxsplit=1)[0].replace(".", "").replace("-", "").strip("0")

    texts = pl.Series(values, dtype=pl.Float64).cast(pl.String).to_list()
    assert [float(text) for text in texts] == values
    assert [digits(text) for text in texts] == [digits(repr(value)) for value in values]


@given(patterns)
def test_polars_reads_doubles_in_json_exactly(values: list[float]) -> None:
    """json_decode gives the double that the digits denote, whole numbers without a point included."""
    texts = [repr(value) for value in values] + [str(int(value)) for value in values if abs(value) < 1e21]
    objects = pl.Series([f'{{"a":{text}}}' for text in texts], dtype=pl.String)
    found = objects.str.json_decode(pl.Struct({"a": pl.Float64}))
    assert found.struct.field("a").to_list() == [float(text) for text in texts]


CHARACTERS = [
    chr(i) for i in [*range(0x100), 0x2028, 0x2029, 0xD7FF, 0xE000, 0xFEFF, 0xFFFF, 0x10000, 0x1F600, 0x10FFFF]
]


def test_polars_escapes_text_in_json_as_rfc_8785_wants() -> None:
    """Short escapes, lower-case hex for other control characters, and everything else as it is."""
    values = [text for character in CHARACTERS for text in (character, f"a{character}b", character * 2)]
    made = pl.DataFrame({"text": values}).select(pl.struct("text").struct.json_encode()).to_series().to_list()
    assert [text.encode() for text in made] == [rfc8785.dumps({"text": value}) for value in values]


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=140), st.text(st.characters(exclude_categories=["Cs"]))
)
def test_polars_hash_makes_hmacs(key: str, text: str) -> None:
    """HMAC-SHA256 under the key's UTF-8 bytes, for keys of any length."""
    made = pl.DataFrame({"text": [text]}).select(polars_hash.col("text").chash.hmac_sha256(key=key)).item()
    assert made == hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_polars_hash_makes_sha256(text: str) -> None:
    """SHA-256 of the text's UTF-8 bytes."""
    made = pl.DataFrame({"text": [text]}).select(polars_hash.col("text").chash.sha2_256()).item()
    assert made == hashlib.sha256(text.encode()).hexdigest()


def test_a_folder_is_never_renamed_onto_one_that_holds_something(tmp_path: Path) -> None:
    """rename(2) fails: nothing that has been published can be replaced by accident."""
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    with pytest.raises(OSError, match=r"not empty|exists") as refusal:
        os.rename(tmp_path / "new", tmp_path / "old")
    assert refusal.value.errno in (errno.ENOTEMPTY, errno.EEXIST)
    assert (tmp_path / "old" / "file").read_text() == "old"


PARTITIONS = dg.DynamicPartitionsDefinition(name="things")


@pytest.mark.parametrize("key", ["", "../evil", "a...b", "a\nb", "[x]*", "%2F", "-rf", "é" * 300])
def test_dagster_takes_any_text_as_a_dynamic_partition_key(key: str) -> None:
    """Dynamic keys are not checked; with the tag dagster/partition a run has that partition, the empty one included."""
    seen = []

    @dg.asset(partitions_def=PARTITIONS)
    def thing(context: dg.AssetExecutionContext) -> None:
        seen.append(context.partition_key)

    job = dg.define_asset_job("make", executor_def=dg.in_process_executor)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("things", [key])
        defs = dg.Definitions([thing], jobs=[job])
        result = defs.resolve_job_def("make").execute_in_process(instance=instance, tags={"dagster/partition": key})
        assert result.success
        # The empty key is held, and yet left out of what is materialized.
        assert instance.get_materialized_partitions(thing.key) == ({key} if key else set())
    assert seen == [key]


def test_the_steps_of_a_run_share_a_resource() -> None:
    """In process, every step gets the very same resource, which is taken down once, at the end."""
    seen, ended = [], []

    class Shared(dg.ConfigurableResource):
        def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
            ended.append(id(self))

    @dg.asset
    def first(shared: Shared) -> None:
        seen.append(id(shared))

    @dg.asset(deps=[first])
    def second(shared: Shared) -> None:
        seen.append(id(shared))

    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([first, second], resources={"shared": Shared()}, instance=instance).success
    assert seen == [seen[0]] * 2
    assert ended == [seen[0]]


@pytest.mark.parametrize("again", [True, False])
def test_a_failure_decides_about_retries(again: bool) -> None:
    """Under a retry policy, Failure(allow_retries=False) fails at once, and one that allows them is tried again."""
    tries = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2, delay=0))
    def thing() -> None:
        tries.append(1)
        raise dg.Failure("no", allow_retries=again)

    with dg.DagsterInstance.ephemeral() as instance:
        assert not dg.materialize([thing], instance=instance, raise_on_error=False).success
    assert len(tries) == (3 if again else 1)


def test_a_data_version_stands_for_the_content() -> None:
    """What is materialized again with the same data version is recorded with it, and downstream records which one it
    read."""

    @dg.asset
    def up() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion("of the content"))

    @dg.asset(deps=[up])
    def down() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([up, down], instance=instance)
        before = instance.get_latest_data_version_record(down.key)
        dg.materialize([up], instance=instance)
        after = instance.get_latest_data_version_record(up.key)
    assert after.asset_materialization.tags["dagster/data_version"] == "of the content"
    assert before.asset_materialization.tags["dagster/input_data_version/up"] == "of the content"
