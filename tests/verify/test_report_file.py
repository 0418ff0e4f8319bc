"""report.html is a file of the package like every other: listed, measured, and no evidence by itself.

Belongs here: what the verifier says of it. Does not belong here: what is on the page (`../report/`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from landscape_assets.verify import Status, verify_package

from . import build
from .build import KEY
from .small import small_run

PAGE = b"<!doctype html>\n<title>A report</title>\n"


def package(folder: Path, **more: Any) -> Path:
    """A package with a report, of format version 2 unless something else is asked for."""

    def edited(manifest: dict[str, Any]) -> None:
        manifest["format_version"] = more.pop("format_version", 2)
        for entry in manifest["files"]:
            if entry["path"] == "report.html":
                entry.update(more.pop("entry", {}))

    def with_report(files: dict[str, bytes]) -> None:
        files["report.html"] = PAGE

    return build.build(
        folder,
        small_run("run-small"),
        edit_files=with_report,
        edit_manifest=edited,
        after=more.get("after"),
        version=2,
    )


def test_it_is_compared_with_the_manifest_and_not_judged(tmp_path: Path) -> None:
    """The package is verified, and the text says that the report's content was not looked at."""
    report = verify_package(package(tmp_path), key=KEY)
    assert (report.status, report.findings) == (Status.VERIFIED, [])
    (check,) = [check for check in report.checks if "report.html" in check.name]
    assert (check.outcome, "derived view" in check.detail) == ("not done", True)


@pytest.mark.parametrize(
    "changed",
    [
        lambda page: page.replace(b"A report", b"Another!"),
        lambda page: page + b" ",
        lambda page: page[:-1],
        lambda page: b"",
    ],
)
def test_a_change_of_it_is_found(tmp_path: Path, changed: Callable[[bytes], bytes]) -> None:
    """Of any byte."""

    def after(files: dict[str, bytes]) -> None:
        files["report.html"] = changed(PAGE)

    report = verify_package(package(tmp_path, after=after), key=KEY)
    assert report.status is Status.INVALID
    assert {finding.file for finding in report.findings} == {"report.html"}


def test_one_that_is_missing_or_not_listed_is_found(tmp_path: Path) -> None:
    """The folder has exactly what the manifest lists."""
    missing = package(tmp_path / "missing", after=lambda files: files.pop("report.html"))
    more = build.build(
        tmp_path / "more", small_run("run-small"), after=lambda files: files.update({"report.html": PAGE})
    )
    for folder in (missing, more):
        report = verify_package(folder, key=KEY)
        assert report.status is Status.INVALID
        assert {finding.file for finding in report.findings} == {"report.html"}


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"format_version": 1}, "E109"),
        ({"entry": {"media_type": "text/plain"}}, "E110"),
        ({"entry": {"records": 31}}, "E110"),
        ({"entry": {"path": "report.htm"}}, "E111"),
        ({"entry": {"path": "html/report.html"}}, "E111"),
    ],
)
def test_its_entry_is_of_format_version_2(tmp_path: Path, more: dict[str, Any], code: str) -> None:
    """Version 1 has no report; it holds no records, has its media type, and its one place."""
    report = verify_package(package(tmp_path, **more), key=KEY)
    assert code in {finding.code for finding in report.findings}


def test_a_report_alone_is_nothing_to_verify(tmp_path: Path) -> None:
    """There must be records beside it."""

    def alone(files: dict[str, bytes]) -> None:
        for path in [path for path in files if path != "VERIFY.md"]:
            del files[path]
        files["report.html"] = PAGE

    folder = build.build(tmp_path, small_run("run-small"), edit_files=alone, version=2)
    messages = [finding.message for finding in verify_package(folder, key=KEY).findings]
    assert any("nothing to verify" in message for message in messages)
