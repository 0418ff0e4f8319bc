"""What a verification found: findings, checks, and the verdict that they add up to.

Belongs here: the result as data, bounded in memory, and its JSON and text forms. Does not belong here: any check.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

from .codes import CODES, RECORD_SIGNATURE, SIGNATURE, Code, Status
from .limits import FINDINGS_OF_A_CODE

_MAX_LISTED = 3
"""So many records with a wrong signature are listed one by one, for a reader, where that of the manifest is wrong too.
"""

NOT_PROVEN = (
    "A signature shows who exported the records, not that what they say is true.",
    "Completeness is relative to the audit database at the time of the export.",
    "That a whole package was withheld cannot be seen from another package.",
)
"""What no verdict means; part of every report."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One violated rule.

    Args:
        code: id from `codes.CODES`.
        file: path within the package, with `/`; `.` for the folder itself.
        record: line of records.jsonl (or of the file named), from 1; None when it is about the whole file.
        message: one sentence for the reader.
    """

    code: str
    file: str
    record: int | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.record is None else f"{self.file}:{self.record}"
        return f"{CODES[self.code]}: {place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was, or could not be, checked.

    Args:
        name: what was checked.
        outcome: `passed`, `failed` or `not done`.
        detail: how much was checked, or why not.
    """

    name: str
    outcome: str
    detail: str = ""


class Findings:
    """A bounded list of findings; `FINDINGS_OF_A_CODE` for each code, and a count of the rest."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.counts: Counter[str] = Counter()

    def add(self, code: Code, file: str, record: int | None, message: str) -> None:
        """Note a finding, or only count it when there are many of its code already."""
        self.counts[code.id] += 1
        if self.counts[code.id] <= FINDINGS_OF_A_CODE:
            self.kept.append(Finding(code.id, file, record, message))

    def merge(self, other: Findings, offset: int) -> None:
        """Take over the findings of a later part of a file, whose line numbers start after `offset` lines."""
        room = {code: FINDINGS_OF_A_CODE - self.counts[code] for code in other.counts}
        for one in other.kept:
            if room[one.code] > 0:
                room[one.code] -= 1
                record = None if one.record is None else one.record + offset
                self.kept.append(Finding(one.code, one.file, record, one.message))
        self.counts.update(other.counts)

    def any_of(self, *codes: Code) -> bool:
        """Whether one of these codes was found."""
        return any(self.counts[code.id] for code in codes)


@dataclass(slots=True)
class Report:
    """The result of verifying one package.

    Args:
        path: the package, as the caller named it.
        status: the verdict.
        run_id: as the manifest says; None when it could not be read.
        record_count: data records that were read from records.jsonl; None when none were.
        findings: by file and record; at most `FINDINGS_OF_A_CODE` of a code.
        omitted: code → how many more findings there are than are listed.
        checks: what was checked, and what was not.
        facts: further figures: contract, key ids, files, bytes, manifest_sha256.
        notices: what a reader of the verdict must know beside it: something that is there and was not checked.
        not_proven: what no verdict on such a thing means.
    """

    path: str
    status: Status
    run_id: str | None = None
    record_count: int | None = None
    findings: list[Finding] = field(default_factory=list)
    omitted: dict[str, int] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    not_proven: tuple[str, ...] = NOT_PROVEN

    def conclude(self, findings: Findings, *statuses: Status) -> None:
        """Sets the verdict, and lists the findings.

        Args:
            findings: what was found, each as bad as its code says.
            statuses: verdicts besides, of which there is one at least; the worst of all stands.
        """
        found = {CODES[code].status for code in findings.counts}
        self.status = max(found.union(statuses), key=lambda status: status.severity)
        self.findings = sorted(findings.kept, key=lambda one: (one.file, one.record or 0, one.code))
        for code, count in sorted(findings.counts.items()):
            listed = sum(one.code == code for one in findings.kept)
            if count > listed:
                self.omitted[code] = count - listed

    def as_dict(self) -> dict[str, object]:
        """The report as plain data, for JSON."""
        return {
            "path": self.path,
            "status": int(self.status),
            "verdict": self.status.name.lower(),
            "notices": self.notices,
            "run_id": self.run_id,
            "record_count": self.record_count,
            "findings": [
                {"code": f.code, "name": CODES[f.code].name, "file": f.file, "record": f.record, "message": f.message}
                for f in self.findings
            ],
            "omitted": self.omitted,
            "checks": [{"name": c.name, "outcome": c.outcome, "detail": c.detail} for c in self.checks],
            "facts": self.facts,
            "not_proven": list(self.not_proven),
        }

    def to_text(self) -> str:
        """The report as lines for a terminal. Text from the package is escaped, so it cannot steer the terminal."""
        lines = [f"{_printable(self.path)}: {SENTENCES[self.status]}"]
        lines += [f"  NOTICE: {_printable(notice)}" for notice in self.notices]
        if self.run_id is not None:
            lines.append(f"  run_id {json.dumps(self.run_id)}")
        lines += [
            f"  {check.outcome:8}  {check.name}{': ' + _printable(check.detail) if check.detail else ''}"
            for check in self.checks
        ]
        findings, omitted = [str(finding) for finding in self.findings], dict(self.omitted)
        wrong = [at for at, finding in enumerate(self.findings) if finding.code == RECORD_SIGNATURE.id]
        if len(wrong) > _MAX_LISTED and any(finding.code == SIGNATURE.id for finding in self.findings):
            # Another key, most likely: what there is to say of each record was said of the manifest.
            first, count = self.findings[wrong[0]], len(wrong) + omitted.pop(RECORD_SIGNATURE.id, 0)
            summary = f"The signatures of {count} records, this the first, are not the key's either; --json lists them."
            findings[wrong[0]] = str(Finding(first.code, first.file, first.record, summary))
            for at in reversed(wrong[1:]):
                del findings[at]
        lines += [f"  {_printable(finding)}" for finding in findings]
        lines += [f"  {CODES[code]}: {count} more not listed" for code, count in omitted.items()]
        return "\n".join(lines)


SENTENCES = {
    Status.VERIFIED: "VERIFIED with the key given",
    Status.CONSISTENT: "CONSISTENT, but no key was given, so it is not shown who signed it",
    Status.INCOMPLETE: "INCOMPLETE: this is not an export",
    Status.DIVERGED: "INCOMPLETE OR DIVERGED: of a log, something is missing or extra, or is not what it was",
    Status.INVALID: "INVALID",
    Status.UNUSABLE: "NO VERDICT: something could not be read",
}
"""Each verdict in words."""


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)
