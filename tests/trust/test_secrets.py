"""No key, in whatever form, in anything that a signed export leaves behind or says.

Belongs here: the search, after exports that succeed and that fail. Does not belong here: how keys are read and
refused otherwise (`../export/test_signatures.py`).
"""

import base64
import contextlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from cryptography.hazmat.primitives import serialization
from support.sample_v1 import COMPLETED_RUN

from landscape_assets.dagster_defs.partitions import PARTITION_TAG, register

KEY = "Kq7-nobody-must-ever-read-this-key"


def forms(secret: bytes) -> set[bytes]:
    """How a secret may turn up: as it is, in hexadecimal, and in Base64, where it may begin at any of three places."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode(), repr(secret)[2:-1].encode()}
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(bytes(shift) + secret)
            found.add(text[4 if shift else 0 : len(text) // 4 * 4 - 4])
    return found


def secrets_of(private: Path) -> set[bytes]:
    """The forms of both keys of these tests."""
    key = serialization.load_pem_private_key(private.read_bytes(), None)
    seed = key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    return forms(KEY.encode()) | forms(seed) | {private.read_bytes().splitlines()[1]}


def pieces(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder, and every value of every SQLite database there, unpacked where it is packed."""
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        yield str(path), os.fsencode(path) + b"\n" + path.read_bytes()
        if not path.read_bytes().startswith(b"SQLite format 3\0"):
            continue
        with sqlite3.connect(path) as connection:
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                for row in connection.execute(f'SELECT * FROM "{table}"'):
                    for value in row:
                        data = value if isinstance(value, bytes) else str(value).encode()
                        yield f"{path} {table}", data
                        with contextlib.suppress(zlib.error):
                            yield f"{path} {table} unpacked", zlib.decompress(data)
        connection.close()


def arguments_of(process: int) -> list[bytes]:
    """The arguments of a process and of all that it started."""
    found = []
    try:
        found.append(Path(f"/proc/{process}/cmdline").read_bytes())
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += arguments_of(int(child))
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has ended
    return found


def small_disk() -> None:
    """No file may become larger than 16 KiB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, 2**14))


@pytest.fixture
def place(tmp_path):
    """The folder of everything that an export may write; keys are elsewhere."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def export(
    sample: Path, place: Path, settings: dict[str, str], disk_is_small: bool = False
) -> tuple[int, list[tuple[str, bytes]]]:
    """An export in a process of its own, by the command, or by the Dagster job where DAGSTER_HOME is among the
    settings: its exit status,
    and everything that there is to see of it."""
    database = Path(shutil.copy(sample, place / "landscape.db"))
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("LANDSCAPE_", "DAGSTER_"))}
    folders = {"LANDSCAPE_DATABASE_URL": f"sqlite:///{database}", "LANDSCAPE_EXPORT_DIR": str(place / "exports")}
    command = ["-m", "landscape_assets.cli", "export", "--run-id", COMPLETED_RUN]
    if "DAGSTER_HOME" in settings:
        tags = json.dumps({PARTITION_TAG: COMPLETED_RUN})
        command = [
            "-m",
            "dagster",
            "job",
            "execute",
            "-m",
            "landscape_assets.definitions",
            "-j",
            "export_run",
            "--tags",
            tags,
        ]
    with (place / "stdout").open("wb") as stdout, (place / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, *command],
            env=mine | {"TMPDIR": str(place)} | folders | settings,
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            preexec_fn=small_disk if disk_is_small else None,  # noqa: PLW1509  # this process has one thread
        )
    arguments: set[bytes] = set()
    while process.poll() is None:
        arguments |= set(arguments_of(process.pid))
        time.sleep(0.01)
    assert arguments
    return process.returncode, [*pieces(place), *(("arguments", one) for one in arguments)]


def assert_absent(needles: set[bytes], seen: list[tuple[str, bytes]]) -> None:
    """No needle in any piece; and the search itself finds what is there."""
    assert any(COMPLETED_RUN.encode() in data for _, data in seen)
    found = {where for where, data in seen for needle in needles if needle in data}
    assert not found


@pytest.mark.parametrize(("case", "from_file"), [("good", False), ("corrupt", True), ("disk full", False)])
def test_no_key_is_left_behind(sample, place, key_pair, tmp_path, case, from_file):
    """After an export signed with both kinds of key that succeeds, meets corrupt data, or finds the disk full, with
    a Dagster instance that stays: package, storage, event log, compute logs, output and arguments."""
    if case == "corrupt":
        with sqlite3.connect(sample) as connection:
            connection.execute("UPDATE calls SET status = 'maybe'")
        connection.close()
    key_file = tmp_path / "keys" / "signing.key"
    key_file.write_text(KEY + "\n")
    settings = {"LANDSCAPE_SIGNING_PRIVATE_KEY_FILE": str(key_pair[0])}
    settings |= {"LANDSCAPE_SIGNING_KEY_FILE": str(key_file)} if from_file else {"LANDSCAPE_SIGNING_KEY": KEY}
    if case != "disk full":  # there the instance itself would have no room
        (place / "home").mkdir()
        (place / "home" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        settings["DAGSTER_HOME"] = str(place / "home")
        with dg.DagsterInstance.from_config(str(place / "home")) as instance:
            register(instance, [COMPLETED_RUN])
    status, seen = export(sample, place, settings, disk_is_small=case == "disk full")
    assert status == (0 if case == "good" else 1), (place / "stderr").read_text()
    assert_absent(secrets_of(key_pair[0]), seen)
    if case != "disk full":
        assert any("event_log" in where and b"STEP_START" in data for where, data in seen)


@pytest.mark.parametrize("case", ["not UTF-8", "another kind", "no PEM"])
def test_no_key_is_in_what_is_said_of_a_wrong_key_file(sample, place, key_pair, tmp_path, case):
    """A key file that cannot be used is refused without a word of what is in it."""
    wrong = tmp_path / "keys" / "wrong"
    settings = {"LANDSCAPE_SIGNING_KEY": KEY}
    if case == "not UTF-8":
        wrong.write_bytes(KEY.encode() + b"\xff")
        settings = {"LANDSCAPE_SIGNING_KEY_FILE": str(wrong)}
    else:
        pem = key_pair[0].read_bytes()
        wrong.write_bytes(pem[:-40] if case == "no PEM" else pem.replace(b"MC4CAQAwBQYDK2Vw", b"MC4CAQAwBQYDK2Vv"))
        settings["LANDSCAPE_SIGNING_PRIVATE_KEY_FILE"] = str(wrong)
    status, seen = export(sample, place, settings)
    assert status == 2
    assert "Error: " in (place / "stderr").read_text()
    assert_absent(secrets_of(key_pair[0]), seen)


def test_the_search_finds_a_key(place, key_pair):
    """In plain text, in hexadecimal, in Base64 at any place, and packed in a database."""
    needles = secrets_of(key_pair[0])
    hidden = [KEY.encode(), b"x" + KEY.encode().hex().encode()]
    hidden += [base64.b64encode(b"y" * shift + KEY.encode() + b"z") for shift in range(3)]
    for data in hidden:
        assert any(needle in data for needle in needles)
    with sqlite3.connect(place / "a.db") as connection:
        connection.execute("CREATE TABLE t (v BLOB)")
        connection.execute("INSERT INTO t VALUES (?)", [zlib.compress(KEY.encode())])
    connection.close()
    assert any(needle in data for where, data in pieces(place) for needle in needles if "unpacked" in where)


@pytest.mark.parametrize("key", ["", "  ", "\n"])
def test_a_blank_key_is_refused(sample, exporter, key, tmp_path):
    """Blank in the environment or in a file: status 2, and nothing is written."""
    file = tmp_path / "blank.key"
    file.write_text(key)
    for settings in (
        {"LANDSCAPE_SIGNING_KEY": key},
        {"LANDSCAPE_SIGNING_KEY": None, "LANDSCAPE_SIGNING_KEY_FILE": str(file)},
    ):
        result = exporter.export(sample, "--all", **settings)
        assert result.exit_code == 2
        assert "signing key" in result.stderr
    assert not exporter.output.exists()


def test_a_short_key_is_warned_about(sample, exporter):
    """A key of 15 bytes signs with a warning that does not show it; one of 16 bytes, though fewer characters,
    without.
    """
    short = exporter.export(
        sample, f"--run-id={COMPLETED_RUN}", "--format=jsonl", LANDSCAPE_SIGNING_KEY="fifteen bytes !"
    )
    assert short.exit_code == 0
    assert "shorter than 16 bytes" in short.stderr
    assert "fifteen bytes" not in short.output
    enough = exporter.export(
        sample, f"--run-id={COMPLETED_RUN}", "--format=jsonl", "--supersede", LANDSCAPE_SIGNING_KEY="éééééééé"
    )
    assert enough.exit_code == 0
    assert "shorter" not in enough.stderr
