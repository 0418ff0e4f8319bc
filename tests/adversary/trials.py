"""What all kinds of trials share: counts, failures, and how a refusal has to be worded.

Belongs here: `Tally`, and checks of messages. Does not belong here: what is tried.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Failure:
    """Something that did not hold.

    Args:
        kind: of the trial.
        seed: of the attempt; with it the attempt can be repeated.
        what: the class of the failure, the same text for all of the class.
        detail: what was tried and seen.
    """

    kind: str
    seed: int
    what: str
    detail: str


@dataclass
class Tally:
    """Counts of one attempt, or of many.

    Args:
        kind: of the trials.
        seed: of the attempt.
    """

    kind: str
    seed: int = 0
    held: int = 0
    failures: list[Failure] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def tried(self) -> int:
        return self.held + len(self.failures)

    def judge(self, detail: str, problem: tuple[str, str] | None) -> None:
        """Counts one trial.

        Args:
            detail: what was tried.
            problem: None when all held; else the class of the failure, and what was seen.
        """
        if problem is None:
            self.held += 1
            return
        what, seen = problem
        self.failures.append(Failure(self.kind, self.seed, what, " ".join(f"{detail}: {seen}".split())[:600]))

    def note(self, what: str) -> None:
        """Counts something that is neither good nor bad, but says what the trials reached."""
        self.notes[what] += 1

    def add(self, other: Tally) -> None:
        """Adds the counts of an attempt."""
        self.held += other.held
        self.failures += other.failures
        self.notes += other.notes


Attempt = Callable[[int, Path, Tally], None]
"""One attempt: its seed, an empty folder, and where its trials are counted."""


def sentence_problem(message: str) -> tuple[str, str] | None:
    """What is wrong with a refusal: it has to be plain sentences on one line, without names of Python's errors."""
    if "Traceback" in message or re.search(r"\b[A-Z]\w+(Error|Exception)\b", message) or "not foreseen" in message:
        return "an error that was not foreseen", message
    if not message.strip() or "\n" in message.strip() or not message.rstrip().endswith((".", "!", "?")):
        return "a refusal that is not a sentence", message
    if len(message) > 1500:
        return "a refusal of great length", message
    return None


def busy_problem(message: str) -> tuple[str, str] | None:
    """What is wrong with a refusal of a database that is being written to, as the command line has to word it."""
    if problem := sentence_problem(message):
        return problem
    lower = message.lower()
    if "corrupt" in lower:
        return "a busy database is said to be corrupt", message
    if "materializ" in lower:
        return "a busy database's message speaks of materializing", message
    if "check the file" in lower:
        return "a busy database's message says to check the file", message
    if "try again" not in lower or not re.search(r"lock|busy|chang|writ|another process", lower):
        return "a busy database's message does not say that it is busy and to try again", message
    return None


def at_exit(function: Callable[..., Any], *arguments: Any) -> None:
    """Calls a function when this process ends; `atexit` does not in the processes of `multiprocessing`."""
    Finalize(None, function, arguments, exitpriority=1)
