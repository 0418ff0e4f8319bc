"""What all checks of an export log note: findings, checks, and the report that they make up.

Belongs here: noting, and reading a file of the log. Does not belong here: any check (`log.py`, `log_tree.py`,
`log_packages.py`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from . import codes
from .codes import Code, Status
from .report import Check, Findings, Report

NOT_PROVEN = (
    "A log shows that nothing was taken away since it was logged, not that everything was exported.",
    "A log that was cut can be told only by a checkpoint that was kept elsewhere.",
)
"""What no verdict on a log means."""

_MOST = 100_000_000
"""Bytes that are read of a file of the log at most: a bundle of the longest entries has a sixth of it."""


class LogReport(Report):
    """The result of verifying a log; `packages` has the reports of its packages that do not verify."""

    packages: Sequence[Report] = ()

    def to_text(self) -> str:
        """As for a package; CONSISTENT has another reason here."""
        text = super().to_text()
        if self.status is Status.CONSISTENT:
            head, _, rest = text.partition("\n")
            said = "CONSISTENT, but not shown to be whole: see the notices"
            text = head.rpartition(": ")[0] + ": " + said + "\n" + rest
        return "\n".join([text, *(one.to_text() for one in self.packages)])

    def as_dict(self) -> dict[str, object]:
        """As for a package, with the reports of packages that do not verify."""
        return {
            **super().as_dict(),
            "packages": [one.as_dict() for one in self.packages],
        }


class LogJudgement:
    """What is found while a log is verified.

    Args:
        path: the export folder, or the proof.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.findings = Findings()
        self.report = LogReport(path, Status.VERIFIED, not_proven=NOT_PROVEN)

    def add(self, code: Code, file: str, number: int | None, message: str) -> None:
        """Note a finding; `number` is an entry's place, from 0, and is shown as its number from 1."""
        self.findings.add(code, file, None if number is None else number + 1, message)

    def note(self, name: str, *checked: Code, detail: str = "") -> None:
        """Note what was checked."""
        self.report.checks.append(Check(name, "failed" if self.findings.any_of(*checked) else "passed", detail))

    def conclude(self, *, is_anchored: bool) -> LogReport:
        """The report, with its verdict."""
        of_packages = (one.status for one in self.report.packages if one.status is not Status.CONSISTENT)
        self.report.conclude(self.findings, Status.VERIFIED if is_anchored else Status.CONSISTENT, *of_packages)
        return self.report

    def bytes_of(self, path: str, shown: str) -> bytes | None:
        """A file, or None when it cannot be had, which is noted unless it is merely not there."""
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            with open(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    self.add(codes.UNREADABLE, shown, None, "This is not a regular file.")
                    return None
                data = file.read(_MOST + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.add(codes.UNREADABLE, shown, None, f"The file cannot be read: {error.strerror or error}.")
            return None
        if len(data) > _MOST:
            self.add(codes.LOG_FILE, shown, None, f"The file has more than {_MOST} bytes; it was not read.")
            return None
        return data
