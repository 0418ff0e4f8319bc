"""A SQLite database that is reached under other names than its own: what is committed in its log is read, or the name
is refused.

Belongs here: links to files and folders, hard links, mounts. Does not belong here: what is read of a log
(`test_read_only.py`).
"""

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.exporter import Exporter
from support.pipeline import jsonl, url
from support.sample_v1 import COMPLETED_RUN

from landscape_assets.database import AuditDatabase
from landscape_assets.errors import DatabaseError

LATE = "committed-in-the-log"


@pytest.fixture
def live(sample: Path, tmp_path: Path) -> Iterator[Path]:
    """The sample in WAL mode, open, with a commit that is in the log alone."""
    (tmp_path / "real").mkdir()
    path = sample.rename(tmp_path / "real" / "landscape.db")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("UPDATE runs SET canonical_version = ?", (LATE,))
    connection.commit()
    yield path
    connection.close()


def link(path: Path, target: Path | str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)
    return path


NAMES: dict[str, Callable[[Path, Path], Path]] = {
    "itself": lambda folder, live: live,
    "a link to the file": lambda folder, live: link(folder / "a.db", live),
    "a link with another name elsewhere": lambda folder, live: link(folder / "other" / "b.sqlite", live),
    "a relative link": lambda folder, live: link(folder / "other" / "c.db", "../real/landscape.db"),
    "a chain of links": lambda folder, live: link(
        folder / "d.db", link(folder / "other" / "e.db", link(folder / "f.db", live))
    ),
    "a link to the folder": lambda folder, live: link(folder / "linked", live.parent) / live.name,
    "a link in a linked folder": lambda folder, live: (
        link(folder / "linked", live.parent) / link(live.parent / "g.db", "landscape.db").name
    ),
    "a way through its parent": lambda folder, live: folder / "real" / ".." / "real" / live.name,
}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_committed_in_the_log_is_exported_under_every_name(
    live: Path, tmp_path: Path, exporter: Exporter, name: str
) -> None:
    """The log lies beside the file, and not beside a link."""
    path = NAMES[name](tmp_path, live)
    assert exporter.outcome(path, COMPLETED_RUN, "--format=jsonl")["status"] == "exported"
    records = jsonl(exporter.output / COMPLETED_RUN / "records.jsonl")
    assert records[0]["canonical_version"] == LATE


@pytest.mark.parametrize("name", ["real/second.db", "second.db"])
def test_a_file_with_two_names_is_refused(live: Path, tmp_path: Path, name: str) -> None:
    """A hard link: the log lies beside one of the names, and nothing tells beside which."""
    os.link(live, tmp_path / name)
    for path in (live, tmp_path / name):
        with pytest.raises(DatabaseError, match=r"has 2 names \(hard links\)"):
            AuditDatabase(url(path))


def test_a_file_that_is_mounted_by_itself_is_refused(live: Path, tmp_path: Path) -> None:
    """The log is not there; where the folder is mounted, it is."""
    mounted, folder = tmp_path / "mounted.db", tmp_path / "mounted"
    mounted.touch()
    folder.mkdir()
    done = []
    try:
        for source, target in ((live, mounted), (live.parent, folder)):
            if subprocess.run(["mount", "--bind", source, target], capture_output=True, check=False).returncode:
                pytest.skip("mounts cannot be made here")
            done.append(target)
        with pytest.raises(DatabaseError, match="is mounted by itself"):
            AuditDatabase(url(mounted))
        with AuditDatabase(url(folder / live.name)) as audit:
            assert COMPLETED_RUN in audit.runs
    finally:
        for target in done:
            subprocess.run(["umount", target], check=True)


def test_a_hot_rollback_journal_is_named(sample: Path, tmp_path: Path) -> None:
    """A transaction that a crash cut off: its journal must be rolled back, which a reader may not do."""
    connection = sqlite3.connect(sample, isolation_level=None)
    connection.execute("PRAGMA journal_mode = delete")
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE calls SET request_hash = request_hash || 'x'")
    crashed = tmp_path / "crashed.db"
    for suffix in ("", "-journal"):
        Path(f"{crashed}{suffix}").write_bytes(Path(f"{sample}{suffix}").read_bytes())
    connection.rollback()
    connection.close()
    with pytest.raises(DatabaseError, match=r"crashed\.db-journal is a hot rollback journal") as refusal:
        AuditDatabase(url(crashed))
    assert not refusal.value.transient
