"""The command `status`: whether every finished run has its package, at one look.

Belongs here: its document, its lines and its exit status. Does not belong here: the verification of a package
(`../verify/`).
"""

import json
from pathlib import Path
from typing import Any

from support.exporter import Exporter
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN


def status(exporter: Exporter, sample: Path) -> tuple[int, dict[str, Any]]:
    result = exporter.run("status", "--database", f"sqlite:///{sample}", "--output", exporter.output, "--json")
    return result.exit_code, json.loads(result.stdout)


def test_what_is_missing_what_is_newest_and_what_is_bad(exporter: Exporter, sample: Path) -> None:
    """The verdict is the exit status: good only when every finished run has a package, and none is bad."""
    code, found = status(exporter, sample)
    assert (code, found["good"], found["packages"], found["missing"]) == (1, False, 0, 2)
    assert found["oldest_missing"] == COMPLETED_RUN
    assert exporter.export(sample, "--run-id", COMPLETED_RUN).exit_code == 0
    code, found = status(exporter, sample)
    assert (code, found["oldest_missing"], found["newest_package"]) == (1, FAILED_RUN, COMPLETED_RUN)
    assert exporter.export(sample, "--all").exit_code == 0
    code, found = status(exporter, sample)
    assert (code, found["good"], found["packages"], found["missing"], found["bad"]) == (0, True, 2, 0, {})
    assert found["newest_package"] == FAILED_RUN

    (exporter.output / COMPLETED_RUN / "csv" / "token.csv").unlink()
    (exporter.output / FAILED_RUN / "manifest.json").write_text("{}")
    code, found = status(exporter, sample)
    assert (code, set(found["bad"])) == (1, {COMPLETED_RUN, FAILED_RUN})
    assert "csv/token.csv" in found["bad"][COMPLETED_RUN]
    assert "manifest" in found["bad"][FAILED_RUN]


def test_a_database_that_cannot_be_read_is_not_a_good_one(exporter: Exporter, sample: Path) -> None:
    """One sentence, and its own exit status."""
    sample.unlink()
    result = exporter.run("status", "--database", f"sqlite:///{sample}", "--output", exporter.output, "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
