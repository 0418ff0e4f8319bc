"""Every package of the corpus leads to the findings that it is named after, and every code has a package.

Belongs here: the corpus. Packages that git cannot keep, or that need more than a folder, are made in `test_folder.py`
and `../evidence/test_timestamps.py`, and named in `MADE_BY_TESTS`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from landscape_assets.verify import CODES, Status, records_file, verify_package

from .build import KEY

CORPUS = Path(__file__).parent / "corpus"
NAMES = sorted(folder.name for folder in CORPUS.iterdir() if folder.is_dir())
MADE_BY_TESTS = {"E001", "E101", "E137", "E204", "E205", "E206", "E209", "E305"}
NOT_OF_PACKAGES = ("E5", "E6")
"""How the codes of disclosures and of the log begin; `tests/evidence/` has a case of each."""


def verify(name: str):
    """The expectation of a fixture, and the report."""
    folder = CORPUS / name
    expected = json.loads((folder / "expect.json").read_text())
    (package,) = [entry for entry in folder.iterdir() if entry.is_dir()]
    if package.name == ".staging":
        (package,) = package.iterdir()
    report = verify_package(
        package,
        key=KEY if expected.get("key", True) else None,
        public_key=(CORPUS / "public.pem").read_bytes() if expected.get("public_key") else None,
        run_id=expected.get("run_id"),
    )
    return expected, report


@pytest.mark.parametrize("name", NAMES)
def test_fixture(name: str):
    expected, report = verify(name)
    assert sorted({finding.code for finding in report.findings}) == expected["codes"], report.to_text()
    code = name.partition("_")[0]
    if code == "ok":
        assert report.status == expected.get("status", 0)
    else:
        assert report.status == CODES[code].status
    for finding in report.findings:
        assert finding.message.endswith("."), finding
        assert finding.file


@pytest.mark.parametrize("size", [1, 700, 3000])
def test_the_findings_do_not_depend_on_how_the_file_is_divided(size: int, monkeypatch: pytest.MonkeyPatch):
    for name in NAMES:
        _, whole = verify(name)
        with monkeypatch.context() as patch:
            patch.setattr(records_file, "CHUNK_SIZE", size)
            _, divided = verify(name)
        assert divided == whole


def test_every_code_has_a_package():
    of_packages = {code for code in CODES if not code.startswith(NOT_OF_PACKAGES)}
    assert {name.partition("_")[0] for name in NAMES} - {"ok"} | MADE_BY_TESTS == of_packages


def test_codes_are_distinct_and_bad():
    assert len({code.name for code in CODES.values()}) == len(CODES)
    assert all(code.status not in (Status.VERIFIED, Status.CONSISTENT) for code in CODES.values())
