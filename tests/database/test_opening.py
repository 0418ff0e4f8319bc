"""What a database URL may name, and what is said of one that names nothing usable.

Belongs here: opening. Does not belong here: contracts (`../contract/`), read-only access (`test_read_only.py`).
"""

import shutil

import pytest
from support.pipeline import url
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN, RUNNING_RUN

from landscape_assets.database import AuditDatabase
from landscape_assets.errors import DatabaseError


def refusal(database_url: str) -> DatabaseError:
    with pytest.raises(DatabaseError) as caught:
        AuditDatabase(database_url)
    assert not caught.value.transient
    return caught.value


def test_a_missing_file_is_named(tmp_path):
    """A file that is not there is not made."""
    assert f"There is no file {tmp_path / 'none.db'}" in str(refusal(url(tmp_path / "none.db")))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_database(tmp_path):
    """A folder is refused as that."""
    assert "is not a file" in str(refusal(url(tmp_path)))


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "is empty"), (b"run_id,status\n", "is not a SQLite database"), (b"SQL", "is not a SQLite database")],
)
def test_a_file_that_is_no_database_is_refused(tmp_path, content, says):
    """An empty file, or one of text, is said to be that."""
    path = tmp_path / "landscape.db"
    path.write_bytes(content)
    assert says in str(refusal(url(path)))
    assert path.read_bytes() == content


def test_a_damaged_file_is_refused(sample):
    """A file that begins as a database and goes on as noise is an error that names it."""
    data = bytearray(sample.read_bytes())
    data[100:8192] = b"\xa5" * 8092
    sample.write_bytes(data)
    assert str(sample) in str(refusal(url(sample)))


@pytest.mark.parametrize(
    "text", ["", "  ", "nonsense", "sqlite://", "sqlite:///:memory:", "oracle://scott:tiger@host/x"]
)
def test_a_url_that_names_no_database_is_refused(text):
    """Whatever is no URL of a database that can be read is refused with what to write instead, and no password is
    repeated."""
    message = str(refusal(text))
    assert "sqlite:///" in message or "LANDSCAPE_DATABASE_URL" in message
    assert "tiger" not in message


@pytest.mark.parametrize("name", ["with space.db", "prozent%20.db", "frage?.db", "raute#.db", "日本.db", "a'b\"c.db"])
def test_any_file_name_can_be_opened(sample, name):
    """The file's name is data: characters that mean something in a URI are taken as they are."""
    path = sample.with_name(name)
    shutil.copy(sample, path)
    quoted = str(path).replace("%", "%25").replace("?", "%3F")
    for text in {f"sqlite:///{path}", f"sqlite:///{quoted}"}:
        try:
            audit = AuditDatabase(text)
        except DatabaseError:
            continue
        with audit:
            assert set(audit.runs) == {COMPLETED_RUN, FAILED_RUN, RUNNING_RUN}
        break
    else:
        pytest.fail("no spelling of the URL opens the file")


def test_a_relative_url_is_relative_to_the_working_folder(sample, monkeypatch):
    """sqlite:///FILE with a relative file, as SQLAlchemy takes it."""
    monkeypatch.chdir(sample.parent)
    with AuditDatabase("sqlite:///landscape.db") as audit:
        assert audit.shown == str(sample)


def test_runs_come_oldest_first(sample):
    """Every run is listed with its status and times as stored, finished or not."""
    with AuditDatabase(url(sample)) as audit:
        assert [(run.run_id, run.status, run.is_finished(audit.contract)) for run in audit.runs.values()] == [
            (COMPLETED_RUN, "completed", True),
            (FAILED_RUN, "failed", True),
            (RUNNING_RUN, "running", False),
        ]
