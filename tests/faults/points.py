"""One fault at each call of an export, and what must hold then.

Belongs here: which calls and faults there are, and the checks after each. Does not belong here: how an export runs
(`process.py`).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from landscape_assets.verify import Status, verify_log, verify_package

from .process import KEY, Runner, Scenario
from .shim import Call, Fault

MODES = {
    "write": ("kill", "half", "nospace", "ioerror", "short", "flip", "full"),
    "create": ("kill", "nospace", "ioerror"),
    "open": ("kill", "ioerror"),
    "read": ("ioerror",),
    "mkdir": ("kill", "nospace", "ioerror"),
    "sync": ("kill", "nospace", "ioerror"),
    "rename": ("kill", "nospace", "ioerror"),
    "exchange": ("kill", "nospace", "ioerror"),
    "link": ("kill", "nospace", "ioerror"),
    "truncate": ("kill", "nospace", "ioerror"),
    "unlink": ("kill", "ioerror"),
    "rmdir": ("kill", "ioerror"),
}
"""Call → what is done to it. `full`: half of it is written, and from then on nothing fits on the disk; `read`:
opened to read.
"""

IN_PLACE = "in its place"
"""With these words an export says that it failed only after the package was published."""

NO_ENTRY = "E610"
"""The finding that a package is not in the log."""

_OWNER = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}")


def faults(calls: list[Call]) -> list[Fault]:
    """Every fault at every call of a trace."""
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for call in calls:
        pattern = _OWNER.sub("*", call.path)
        seen[call.name, pattern] += 1
        found.extend(Fault(call.name, pattern, seen[call.name, pattern], mode) for mode in MODES[call.name])
    return found


Tree = dict[str, bytes | None]


def tree(folder: Path) -> Tree:
    """Every path below a folder with its bytes; None for a folder, and for a stored table, which names its load."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() or path.suffix == ".arrow" else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def digest(state: Tree) -> str:
    """Of a tree, but for the names of owners."""
    return hashlib.sha256("\n".join(_line(path, data) for path, data in state.items()).encode()).hexdigest()


@lru_cache(10_000)
def _line(path: str, data: bytes | None) -> str:
    return f"{_OWNER.sub('*', path)}\t{'' if data is None else hashlib.sha256(data).hexdigest()}"


def _without_passing(state: Tree) -> Tree:
    """A tree, but for the content of files that only one process uses, in its storage folder: the next removes them
    unread.
    """
    return {path: b"" if data is not None and "/%storage." in path else data for path, data in state.items()}


def verified(scenario: Scenario, package: Path) -> bool:
    """Whether the verifier says so, with both keys."""
    report = verify_package(
        package, key=KEY.encode(), public_key=scenario.public_key, run_id=scenario.run_id, processes=1
    )
    return report.status is Status.VERIFIED


def log_faults(export_dir: Path, public_key: bytes) -> set[str]:
    """What the verifier finds wrong with the log of a folder and its manifests, as codes."""
    report = verify_log(export_dir, public_key=public_key, packages=False)
    return {finding.code for finding in report.findings}


@dataclass
class Bench:
    """A scenario with what its export gives when nothing fails.

    Args:
        scenario: the scenario, in a folder of this process.
        runner: runs it.
        full: through Dagster's own machinery.
    """

    scenario: Scenario
    runner: Runner
    full: bool = False
    before: Tree | None = None
    after: Tree = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    published: Tree = field(default_factory=dict)
    reruns: dict[str, list[str]] = field(default_factory=dict)

    def prepare(self) -> None:
        """The export without a fault."""
        self.scenario.reset()
        self.before = tree(self.scenario.package) if self.scenario.package.exists() else None
        self.calls, result = self.runner.calls(self.scenario, full=self.full)
        assert result.status == "exported", result
        self.after = tree(self.scenario.watched)
        assert verified(self.scenario, self.scenario.package)
        assert not log_faults(self.scenario.export_dir, self.scenario.public_key)
        self.published = tree(self.scenario.package)

    def problems(self, fault: Fault) -> list[str]:
        """What does not hold when this fails: nothing, as it should be."""
        self.scenario.reset()
        result = self.runner.run(self.scenario, fault, full=self.full)
        found = self.of_package()
        is_there = self.scenario.package.exists() and tree(self.scenario.package) == self.published
        if result.crash:
            found.append(f"an exception got out: {result.crash}")
        elif fault.mode in ("kill", "half") and not result.killed:
            found.append(f"it was not killed: {result}")
        elif not result.killed and not result.hit:
            found.append("the call never came")
        elif fault.mode == "short" and result.status != "exported":
            found.append(f"a short write was not continued: {result.error}")
        elif result.status in ("exported", "unchanged") and not is_there:
            found.append(f"it says {result.status}, and there is no package")
        elif result.status == "failed" and is_there != (IN_PLACE in (result.error or "")):
            found.append(f"whether there is a package ({is_there}) is not what it says: {result.error}")
        if (self.scenario.export_dir / ".log" / "checkpoint").exists():
            found += self.of_log()
        if result.error and KEY in result.error:
            found.append("the error has the key")
        return found + self.of_rerun()

    def of_log(self) -> list[str]:
        """What is wrong with the log: it may lack the package, which was published first, and nothing else."""
        codes = log_faults(self.scenario.export_dir, self.scenario.public_key) - {NO_ENTRY}
        return [f"the log has the findings {', '.join(sorted(codes))}"] if codes else []

    def of_package(self) -> list[str]:
        """What is wrong with the package at its final name, which may be absent where nothing was before."""
        package = self.scenario.package
        if not package.exists():
            return [] if self.before is None else ["the package that was there is gone"]
        now = tree(package)
        if now != self.published and now != self.before:
            return [
                f"the package is another ({'verified' if verified(self.scenario, package) else 'not even verified'})"
            ]
        if self.before is not None and now != self.before and not self.is_kept_aside():
            return ["the superseded package is gone"]
        return []

    def is_kept_aside(self) -> bool:
        """Whether the package that was there before is kept."""
        return any(tree(folder) == self.before for folder in (self.scenario.export_dir / ".superseded").glob("*/*/"))

    def of_rerun(self) -> list[str]:
        """What is wrong after the same export was run again. The same state is not tried twice."""
        state = digest(_without_passing(tree(self.scenario.watched)))
        if state not in self.reruns:
            result = self.runner.run(self.scenario, full=self.full)
            found = []
            if result.status not in ("exported", "unchanged"):
                found.append(f"run again, it did not succeed: {result}")
            elif (now := tree(self.scenario.watched)) != self.after:
                differing = sorted(
                    path for path in {*now, *self.after} if now.get(path, ...) != self.after.get(path, ...)
                )
                found.append(f"run again, it left something else: {differing[:5]}")
            self.reruns[state] = found
        return self.reruns[state]
