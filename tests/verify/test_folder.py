"""The folder of a package: what git cannot keep in the corpus, names, and the limits that bound time and memory.

Belongs here: everything about the file system.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from landscape_assets.verify import folder as room
from landscape_assets.verify import limits, records_file, verify_package

from . import build
from .build import KEY, OTHER_KEY
from .make_corpus import PRIVATE_KEY
from .small import small_run


def test_symbolic_links(package: Path, tmp_path: Path, codes):
    outside = tmp_path / "outside"
    outside.write_bytes((package / "VERIFY.md").read_bytes())
    (package / "VERIFY.md").unlink()
    (package / "VERIFY.md").symlink_to(outside)
    assert codes(package) == {"E204"}


def test_a_folder_that_is_a_symbolic_link(package: Path, tmp_path: Path, codes):
    (package / "csv").rename(tmp_path / "elsewhere")
    (package / "csv").symlink_to(tmp_path / "elsewhere")
    assert codes(package) == {"E204", "E201"}


def test_a_manifest_that_is_a_symbolic_link(package: Path, tmp_path: Path, codes):
    (package / "manifest.json").rename(tmp_path / "m")
    (package / "manifest.json").symlink_to(tmp_path / "m")
    assert codes(package) == {"E204"}


@pytest.mark.parametrize("name", ["records.jsonl", "csv/row.csv", "manifest.json", "extra"])
@pytest.mark.timeout(10)
def test_fifo(package: Path, name: str, codes):
    (package / name).unlink(missing_ok=True)
    os.mkfifo(package / name)
    assert codes(package) == ({"E202"} if name == "extra" else {"E204"})


def test_socket(package: Path, codes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(package)
    (package / "VERIFY.md").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("VERIFY.md")
        assert codes(package) == {"E204"}


@pytest.mark.parametrize("name", ["records.jsonl", "csv/row.csv", "manifest.json"])
def test_hard_link(package: Path, name: str, tmp_path: Path, codes):
    os.link(package / name, tmp_path / "another-name")
    assert codes(package) == {"E205"}
    assert len(verify_package(package).findings) == 1


def test_hard_link_to_another_file_of_the_package(package: Path, codes):
    (package / "csv/row.csv").unlink()
    os.link(package / "csv/edge.csv", package / "csv/row.csv")
    assert {"E205", "E207", "E401"} <= codes(package)


@pytest.mark.parametrize("name", ["empty", "parquet", "csv/empty", ".git", "csv/edge.csv.d"])
def test_empty_folder(package: Path, name: str, codes):
    (package / name).mkdir()
    assert codes(package) == {"E203"}


def test_a_folder_in_place_of_a_file(package: Path, codes):
    (package / "VERIFY.md").unlink()
    (package / "VERIFY.md").mkdir()
    assert codes(package) == {"E204"}


@pytest.mark.parametrize("name", ["RECORDS.JSONL", "Manifest.json", "csv/Row.csv", "CSV", "csv/row.cs\uff56"])
def test_twins(package: Path, name: str, codes):
    if name == "CSV":
        (package / name).mkdir()
    else:
        (package / name).write_bytes(b"")
    assert codes(package) == {"E206"}


def test_a_name_that_is_not_utf8(package: Path, codes):
    (Path(os.fsdecode(os.fsencode(package) + b"/\xff\xfe"))).write_bytes(b"")
    assert codes(package) == {"E202"}
    report = verify_package(package, key=KEY)
    json.dumps(report.as_dict()).encode()
    report.to_text().encode()


def test_unreadable(tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch):
    assert verify_package(tmp_path / "nothing").status == 2
    assert verify_package(package / "manifest.json").status == 2
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("VERIFY.md"):
            raise OSError(5, "Input/output error")
        return real(descriptor, size)

    monkeypatch.setattr(os, "read", read)
    report = verify_package(package, key=KEY)
    assert (report.status, [(one.code, one.file) for one in report.findings]) == (2, [("E001", "VERIFY.md")])


def give_up_reading_everything() -> None:
    """What root may do beyond others, a program that is started after this may not: CAP_DAC_OVERRIDE and
    CAP_DAC_READ_SEARCH are taken from what it can be given."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


@pytest.fixture
def locked(tmp_path: Path) -> Callable[[Path, int], dict]:
    """Takes the rights to a file or folder of a package away, and gives the JSON report of the command, run by someone
    for whom rights count."""
    pem = Path(__file__).parent / "corpus" / "public.pem"

    def verify(path: Path, mode: int) -> dict:
        (tmp_path / "key").write_bytes(KEY)
        package = next(folder for folder in path.parents if (folder / "manifest.json").exists())
        before = path.stat().st_mode
        path.chmod(mode)
        command = [sys.executable, "-m", "landscape_assets.verify", package, "--key-file", tmp_path / "key"]
        try:
            done = subprocess.run(
                [*command, "--public-key", pem, "--json"],
                cwd=Path(__file__).parents[2],
                preexec_fn=give_up_reading_everything,
                check=False,
                capture_output=True,
                timeout=120,
            )
        finally:
            path.chmod(before)
        assert done.stderr == b""
        (report,) = json.loads(done.stdout)["packages"]
        assert done.returncode == report["status"]
        return report

    return verify


RECORDS = {("E322", "records.jsonl")}
EDGES = {("E208", "csv/edge.csv")}
BOTH = {*RECORDS, *EDGES, ("E401", "csv/edge.csv")}


@pytest.mark.parametrize(
    ("name", "mode", "told"),
    [
        ("csv", 0, {("E001", "csv"), *RECORDS}),
        ("csv", 0o400, {*(("E001", f"csv/{name}.csv") for name in build.FIELDS), *RECORDS}),
        ("csv/row.csv", 0, {("E001", "csv/row.csv"), *BOTH}),
        ("records.jsonl", 0, {("E001", "records.jsonl"), *EDGES}),
        ("manifest.json.sig", 0, {("E001", "manifest.json.sig"), *BOTH}),
        ("VERIFY.md", 0, {("E001", "VERIFY.md"), *BOTH}),
    ],
)
def test_what_cannot_be_read_is_told_where_it_is_and_the_rest_is_checked(
    tmp_path: Path, locked: Callable[[Path, int], dict], name: str, mode: int, told: set[tuple[str, str]]
):
    records = small_run()
    records[3] = build.sign(records[3], OTHER_KEY)
    package = build.build(
        tmp_path,
        records,
        private_key=PRIVATE_KEY,
        after=lambda files: files.update(
            {"csv/edge.csv": files["csv/edge.csv"].replace(b"move", b"copy"), "extra": b""}
        ),
    )
    report = locked(package / name, mode)
    assert {(one["code"], one["file"]) for one in report["findings"]} == told | {("E202", "extra")}
    assert report["status"] == 2
    outcomes = {check["name"]: check["outcome"] for check in report["checks"]}
    assert outcomes["files: exactly those listed, with their sizes and SHA-256"] == "failed"
    for check, outcome in outcomes.items():
        if name == "records.jsonl" and "record" in check:
            assert outcome == "not done", check
        if name == "manifest.json.sig" and check.startswith("Ed25519"):
            assert outcome == "failed"
        if name == "csv" and check.startswith("CSV"):
            assert outcome == "not done"


def test_a_package_folder_that_cannot_be_listed(package: Path, locked: Callable[[Path, int], dict]):
    """What is in it cannot be told, and so no file is called missing, or checked."""
    report = locked(package / "csv" / "..", 0o100)
    assert {(one["code"], one["file"]) for one in report["findings"]} == {("E001", "."), ("E133", "manifest.json.sig")}


@pytest.mark.parametrize("name", ["VERIFY.md", "records.jsonl", "csv/row.csv"])
def test_a_file_that_is_replaced_meanwhile(package: Path, name: str, monkeypatch: pytest.MonkeyPatch, codes):
    real = os.open
    file = package / name

    def replace_then_open(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        if path == file.name and dir_fd is not None:
            content = file.read_bytes()
            file.rename(package.parent / "kept")
            file.write_bytes(content)
        return real(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", replace_then_open)
    assert "E209" in codes(package)


def test_a_fifo_that_takes_a_files_place_does_not_make_it_wait(package: Path, monkeypatch: pytest.MonkeyPatch, codes):
    real = os.open

    def replace_then_open(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        if path == "VERIFY.md":
            os.unlink(package / path)
            os.mkfifo(package / path)
        return real(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", replace_then_open)
    assert "E209" in codes(package)


def test_a_manifest_that_is_too_large(package: Path, codes):
    with open(package / "manifest.json", "ab") as file:
        file.truncate(10 * 2**30)  # sparse: 10 GiB that take no room, unless someone reads them
    assert codes(package) == {"E101"}
    assert limits.MANIFEST_BYTES == 4 * 2**20


def test_a_line_that_is_too_long(tmp_path: Path, codes, monkeypatch: pytest.MonkeyPatch):
    def edit(records: list[dict]) -> None:
        records[0]["settings"] = "x" * 5000

    records = small_run()
    edit(records)
    folder = build.build(tmp_path, records)
    monkeypatch.setattr(records_file, "CHUNK_SIZE", 100)
    assert verify_package(folder, key=KEY).status == 0
    monkeypatch.setattr(records_file, "RECORD_BYTES", 4000)
    assert "E305" in codes(folder)


def test_a_lying_size_does_not_make_memory_grow(tmp_path: Path):
    """A sparse file of 3 GB where the manifest lists a few bytes, and the other way round, in 400 MB of address
    space."""
    folder = build.build(tmp_path, small_run())
    for name in ("records.jsonl", "csv/row.csv", "VERIFY.md"):
        with open(folder / name, "ab") as file:
            file.truncate(3 * 2**30)
    program = (
        "import sys; from landscape_assets.verify import verify_package\n"
        "sys.exit(verify_package(sys.argv[1], key=b'conformance-key', processes=1).status)"
    )
    limit = 400 * 2**20
    done = subprocess.run(
        [sys.executable, "-c", program, folder],
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        timeout=20,
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (40, b"")


@pytest.mark.parametrize(
    ("run_id", "name"),
    [
        ("run-1", "run-1"),
        ("A.b_c~d-9", "A.b_c~d-9"),
        ("", "%"),
        (".", "%2E"),
        ("..", "%2E."),
        ("a/b", "a%2Fb"),
        ("%", "%25"),
        ("ü\0", "%C3%BC%00"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 120 + "%~" + build.hashlib.sha256(b"x" * 201).hexdigest()),
        ("x" * 119 + "/" * 99, "x" * 119 + "%~" + build.hashlib.sha256(b"x" * 119 + b"/" * 99).hexdigest()),
        ("x" * 117 + "/" * 99, "x" * 117 + "%2F%~" + build.hashlib.sha256(b"x" * 117 + b"/" * 99).hexdigest()),
    ],
)
def test_folder_names(run_id: str, name: str):
    assert room.folder_name(run_id) == name
    assert len(name) <= 200


def test_what_is_staged_is_not_an_export(tmp_path: Path, codes):
    folder = build.build(tmp_path / ".staging", small_run(), name="attempt-1")
    assert codes(folder) == {"E003"}


def test_a_symbolic_link_to_a_package_is_followed_to_its_name(package: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(package)
    assert verify_package(tmp_path / "link", key=KEY).status == 0


@pytest.mark.parametrize("through", [True, False], ids=["through the open folder", "by name"])
def test_both_ways_of_reading_a_folder(package: Path, codes, monkeypatch: pytest.MonkeyPatch, through: bool):
    """Where the system cannot open files through an open folder, they are opened by name, with the same result."""
    monkeypatch.setattr(room, "_THROUGH", through)
    assert verify_package(package, key=KEY).status == 0
    assert codes(package / "nothing") == {"E001"}
    assert codes(package / "VERIFY.md") == {"E001"}
    (package / "csv/row.csv").rename(package / "csv/extra.csv")
    (package / "VERIFY.md").unlink()
    (package / "VERIFY.md").symlink_to("records.jsonl")
    assert codes(package) == {"E201", "E202", "E204"}
