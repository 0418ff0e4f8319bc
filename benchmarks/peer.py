"""What ELSPETH's own exporter took for runs of the same shape and size: constants, measured once, not here.

Belongs here: the figures and where they are from. Does not belong here: what is measured anew.

Source: the exporter of ELSPETH 0.4.1, one process, signed, records as JSON lines, the runs one after the other, from
start to exit; SQLite databases with runs of the shape that `generate.py` makes; 2 cores of a virtual machine, Python
3.11, otherwise idle, November 2026. Seconds are that machine's: compare figures that were measured on one like it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .results import Case

SOURCE = "Peer: ELSPETH 0.4.1's own exporter, measured once on 2 cores of a virtual machine (benchmarks/peer.py)."


@dataclass(frozen=True, slots=True)
class Peer:
    """What the peer took: seconds, and its peak memory in MB where that was noted."""

    seconds: float
    peak_mb: float | None = None


_TAKEN: dict[tuple[int | None, int, int], Peer] = {
    # (rows of each run, runs exported, runs in the database)
    (100_000, 1, 1): Peer(149.2, 1_942),
    (20_000, 1, 1): Peer(27.5, 488),
    (1_000, 1, 100): Peer(5.2),
    (1_000, 100, 100): Peer(460),
    (10, 200, 200): Peer(9.9),
}


def peer_of(case: Case) -> Peer | None:
    """What the peer took for the same runs in a database of as many; None where that was not measured."""
    return _TAKEN.get((case.rows, case.runs, case.among))
