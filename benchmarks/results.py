"""What was measured, and arithmetic on it: medians over rounds, ratios within a round, growth.

Belongs here: the result of one measurement, and what can be asked of many of them. Does not belong here: which cases
there are (`one_run.py`, `many_runs.py`, `backfill.py`), and how figures are shown (`report.py`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import linear_regression, median


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is measured, round after round.

    Args:
        contender: what is measured.
        rows: rows of the source of each run; None where no run is read.
        runs: how many runs are exported.
        among: how many runs the database holds.
        first: the number of the first run that is exported.
    """

    contender: str
    rows: int | None = None
    runs: int = 1
    among: int = 1
    first: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """What one measurement of a case gave.

    Args:
        records: data records that were exported (the floor: rows that were read); 0 where there are none.
        seconds: wall time; of the whole process unless the contender says otherwise.
        peak_mb: the peak resident size of the process in MB; None where it is not one process.
        processor_seconds: processor time of the process; None likewise.
        statements: statements sent to the audit database; None where they were not counted.
        details: further figures by name.
    """

    records: int
    seconds: float
    peak_mb: float | None = None
    processor_seconds: float | None = None
    statements: int | None = None
    details: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement of one case: `taken` in round `round`. Results of one round are compared with one another."""

    case: Case
    round: int
    taken: Taken


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that there may be a target for.

    Args:
        name: what it says.
        value: the figure.
        unit: of the value and the target.
        limit: the target: the largest value that is good enough; None where there is none.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the target is met: `ok` or `missed`; empty where there is no target."""
        if self.limit is None:
            return ""
        return "ok" if self.value <= self.limit else "missed"


Point = tuple[float, float | None, float | None]
"""What a picture shows of a case: its size, median seconds and median peak MB (None where that was not measured)."""


class Results:
    """All results of one part of the benchmark.

    Args:
        results: in the order in which they were taken.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        self.all = tuple(results)
        self._rounds: defaultdict[Case, dict[int, Taken]] = defaultdict(dict)
        for result in results:
            self._rounds[result.case][result.round] = result.taken

    @property
    def cases(self) -> list[Case]:
        """The cases, in the order in which they were first measured."""
        return list(self._rounds)

    def of(self, contender: str) -> list[Case]:
        """The cases of a contender, the small ones first."""
        found = [case for case in self._rounds if case.contender == contender]
        return sorted(found, key=lambda case: (case.among, case.runs, case.rows or 0))

    def taken(self, case: Case) -> list[Taken]:
        """What was taken of a case, round by round; empty where it was not measured."""
        return [taken for _, taken in sorted(self._rounds.get(case, {}).items())]

    def median(self, case: Case, cost: str = "seconds") -> float | None:
        """The median of a cost (a field of Taken); None where it was not measured."""
        return _median([getattr(taken, cost) for taken in self.taken(case)])

    def seconds(self, case: Case) -> float:
        """The median seconds of a case that was measured."""
        return median(taken.seconds for taken in self.taken(case))

    def detail(self, case: Case, name: str) -> float | None:
        """The median of one of the further figures; None where it was not measured."""
        return _median([taken.details.get(name) for taken in self.taken(case)])

    def ratio(self, case: Case, to: Case, cost: str = "seconds") -> float | None:
        """How many times the cost of another case this one costs; see `compare`."""
        return self.compare(case, to, lambda one, other: getattr(one, cost) / getattr(other, cost))

    def difference(self, case: Case, to: Case) -> float | None:
        """How many seconds more than another case this one takes; see `compare`."""
        return self.compare(case, to, lambda one, other: one.seconds - other.seconds)

    def compare(self, case: Case, to: Case, how: Callable[[Taken, Taken], float]) -> float | None:
        """Compare two cases within each round, and give the median; None where they share no round.

        What slows the machine for a whole round falls out that way.
        """
        one, other = self._rounds.get(case, {}), self._rounds.get(to, {})
        return _median([how(one[number], other[number]) for number in sorted(one.keys() & other.keys())])

    def growth(
        self, cases: Sequence[Case], of: Callable[[Case], float], cost: str = "seconds", beyond: Case | None = None
    ) -> float | None:
        """The exponent by which a cost grows over cases: fitted within each round, then the median.

        Args:
            cases: what to fit through.
            of: what it grows with, for example the number of runs.
            cost: a field of Taken.
            beyond: a case whose cost is subtracted first, for example the start of the program.

        Returns:
            The exponent; None where no round has two of the cases, or where a cost is not positive.
        """
        exponents = []
        for number in sorted({number for case in cases for number in self._rounds.get(case, {})}):
            base = 0.0
            if beyond is not None:
                if number not in self._rounds.get(beyond, {}):
                    continue
                base = getattr(self._rounds[beyond][number], cost)
            points = [
                (of(case), getattr(self._rounds[case][number], cost) - base)
                for case in cases
                if number in self._rounds.get(case, {})
            ]
            if len({x for x, _ in points}) > 1 and all(y > 0 for _, y in points):
                exponents.append(exponent(points))
        return _median(exponents)


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """The exponent b of the least-squares fit y = a·x^b through points (x, y), all positive, at two or more x."""
    return linear_regression([math.log(x) for x, _ in points], [math.log(y) for _, y in points]).slope


def figure(name: str, value: float | None, unit: str, limit: float | None = None) -> list[Figure]:
    """A figure in a list; an empty list where its value was not measured."""
    return [] if value is None else [Figure(name, value, unit, limit)]


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
