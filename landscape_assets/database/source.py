"""What each kind of database provides.

Belongs here: the protocol that `sqlite.py` and `postgresql.py` keep, and the values that pass through it. Does not
belong here: what holds for every kind of database (`database.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl
import pyarrow as pa
import sqlalchemy as sa

from ..contract import Contract, Table

RUN_COLUMNS = ("run_id", "status", "started_at", "completed_at")
"""What is read of every run, whether it is exported or not."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """A value of the table runs that is not text: as it can be printed, and the rule that it breaks."""

    printed: str
    rule: str


RunValue = str | Damaged | None


class ScanFailed(Exception):
    """A scan met a row that cannot be read. It may be of another run: the rows of the runs are to be read by index."""


class Source(Protocol):
    """One connection in one read transaction: all that it reads is of one state."""

    name: str
    shown: str
    """The database as messages name it, without credentials."""
    utc: bool
    """Whether its times are instants."""

    def columns(self) -> dict[str, set[str]]: ...

    def epoch(self) -> int | None: ...

    def runs(self, contract: Contract) -> list[dict[str, RunValue]]: ...

    def counts(self, statements: Mapping[str, sa.Select], run_ids: Sequence[str]) -> dict[str, int]: ...

    def rows_by_run(self, contract: Contract) -> dict[str, int]: ...

    def prefers_scan(self, contract: Contract, run_ids: Sequence[str]) -> bool: ...

    def read(self, contract: Contract, table: Table, run_ids: Sequence[str] | None) -> Iterator[pa.RecordBatch]: ...

    def typed(self, table: Table, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pl.DataFrame]: ...

    def file_damage(self) -> Iterator[str]: ...

    def texts(self, select: sa.Select, run_ids: Sequence[str] | None = None) -> Iterator[tuple[str | None, ...]]: ...

    def same_snapshot(self) -> Source | None: ...

    def close(self) -> None: ...
