"""Hostile input does not keep the verifier busy: what it takes grows with the input, and not with its square.

Belongs here: packages made to cost time or memory. None is timed: with work that grows faster than the input, each of
those that are said to have hung would take hours, or more memory than there is, and the limit of the test ends it.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from landscape_assets.verify import UsageError, records_file, verify_package

from . import build
from .build import KEY
from .small import small_run

pytestmark = pytest.mark.timeout(300)

MANY = 1_900_000
"""Of two bytes each, so many just go into a manifest that is read."""

TEXTS = {
    # These hung: each later quotation mark was taken for the start of a string, which was looked for to the end.
    "a string that is not closed": b"[" * 9 + b'"' + b'\\"' * MANY,
    "deep, and a string that is not closed": b'{"a":' + b"[" * 300 + b'"' + b'\\"' * MANY,
    "brackets in a string that is not closed": b'{"a":"' + b"[" * 300 + b'\\"' * MANY,
    "brackets after a string that is not closed": b'["' + b'\\"' * MANY + b"[" * 300,
    "many strings, the last not closed": b'["' + b"[" * 300 + b'"' + b',"\\""' * (MANY // 3) + b',"' + b'\\"' * 9999,
    "an escape that is not finished": b'["' + b"[" * 300 + b'\\"' * MANY + b"\\",
    # These did not, and shall not.
    "backslashes": b'["' + b"[" * 300 + b"\\" * MANY,
    "quotation marks": b"[" * 9 + b'"' * MANY,
    "brackets": b"[" * MANY,
    "pairs of brackets": b"[]" * MANY,
    "a list of lists": b"[" + b"[]," * (MANY // 3),
    "spaces": b" " * MANY + b"[",
    "digits": b"[" + b"9" * MANY + b"]",
    "digits of a fraction": b"[0." + b"1" * MANY + b",]",
    "zeros": b"[0." + b"0" * MANY + b"1e" + b"9" * 9 + b",]",
    "an exponent": b"[1e" + b"9" * MANY + b"]",
    "a negative exponent": b"[1e-" + b"9" * MANY + b",]",
    "a key many times": b"{" + b'"a":1,' * (MANY // 3) + b'"a":1}',
    "many keys": b"{" + b",".join(b'"%d":1' % number for number in range(MANY // 6)),
    "surrogates": b'["' + rb"\ud83d" * (MANY // 3) + b'"]',
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_manifest(package: Path, name: str, codes):
    (package / "manifest.json").write_bytes(TEXTS[name])
    assert codes(package) <= {"E103", "E104"}


@pytest.mark.parametrize("name", TEXTS)
def test_a_line(tmp_path: Path, name: str, codes):
    """As a line between others, and as the value of a field of a record."""
    text = TEXTS[name]

    def edit(lines: list[bytes]) -> list[bytes]:
        touched = lines[6].replace(b'"label":"@continue"', b'"label":' + text)
        assert touched != lines[6]
        return [*lines[:6], text, touched, *lines[7:]]

    folder = build.build(tmp_path, small_run(), formats=("jsonl",), edit_lines=edit)
    found = codes(folder)
    assert found & {"E302", "E303"}
    assert found & {"E342"}


@pytest.mark.parametrize("digits", [b"0." + b"1" * MANY, b"1" * 300 + b"." + b"1" * MANY, b"0" * MANY, b"1-" * MANY])
def test_a_number_that_only_looks_like_one_of_a_record(tmp_path: Path, digits: bytes, codes):
    def edit(lines: list[bytes]) -> list[bytes]:
        touched = [line.replace(b'"latency_ms":900.125', b'"latency_ms":' + digits) for line in lines]
        assert touched != lines
        return touched

    assert codes(build.build(tmp_path, small_run(), formats=("jsonl",), edit_lines=edit)) & {"E302", "E304"}


def test_many_lines_that_are_nothing(tmp_path: Path):
    def edit(lines: list[bytes]) -> list[bytes]:
        return [*lines[:-1], *[b"", b"{}", b"["] * 30_000, lines[-1]]

    report = verify_package(build.build(tmp_path, small_run(), formats=("jsonl",), edit_lines=edit), key=KEY)
    assert report.status == 40
    assert report.omitted == {"E302": 60_000 - 1000, "E311": 30_000 - 1000}


def test_a_long_line_is_looked_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """And not once more from its start for each part of it that is read."""
    records = small_run()
    records[0]["settings"] = "x" * 6_000_000
    folder = build.build(tmp_path, records, formats=("jsonl",))
    monkeypatch.setattr(records_file, "CHUNK_SIZE", 8)
    report = verify_package(folder, key=KEY, processes=1)
    assert (report.status, report.findings) == (0, [])


def test_many_starts_of_a_public_key(package: Path):
    for pem in (b"-----BEGIN PUBLIC KEY-----\n" * 400_000, b"-----BEGIN PUBLIC KEY-----" + b"\n" * 9_000_000):
        with pytest.raises(UsageError):
            verify_package(package, public_key=pem)


def test_a_long_run_id_of_the_manifest_alone(tmp_path: Path):
    """In 400 MB of address space: what is made ready for each type of record, and each row, must not hold it."""

    def edit(manifest: dict) -> None:
        manifest["run_id"] = "x" * 3_900_000

    records = small_run()
    records += [{**records[-1], "artifact_id": f"artifact-{number:04}"} for number in range(2000)]
    folder = build.build(tmp_path, records, edit_manifest=edit)
    program = (
        "import sys; from landscape_assets.verify import verify_package\n"
        "report = verify_package(sys.argv[1], key=b'conformance-key', processes=1)\n"
        "print(sorted({one.code for one in report.findings}))"
    )
    limit = 400 * 2**20
    done = subprocess.run(
        [sys.executable, "-c", program, folder],
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("['E122', 'E318']\n", "")


@pytest.mark.parametrize("length", [1990, 2000, 5000, 100_000])
def test_a_long_run_id_that_is_the_runs(tmp_path: Path, length: int):
    folder = build.build(
        tmp_path,
        small_run("x" * length),
        name="x" * 120 + "%~" + build.hashlib.sha256(b"x" * length).hexdigest(),
    )
    report = verify_package(folder, key=KEY)
    assert (report.status, report.findings) == (0, [])
    (folder / "csv" / "row.csv").write_bytes((folder / "csv" / "row.csv").read_bytes().replace(b"x,", b"y,", 1))
    assert verify_package(folder, key=KEY).status == 40


def test_rows_of_another_run(tmp_path: Path, codes):
    """A CSV file shows what the records say, a wrong run_id too; that is said of the records, not of the file."""
    records = small_run()
    records[6]["run_id"] = "run-other"
    assert codes(build.build(tmp_path, records)) == {"E318"}
