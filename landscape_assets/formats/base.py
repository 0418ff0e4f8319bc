"""What all formats have in common.

Belongs here: the protocol of a format, and what passes through it. Does not belong here: the formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa

from ..contract import Contract, Table
from ..records.encode import SIGNATURE
from ..records.ordered import fields_of
from ..records.sign import SigningKey
from ..storage.files import FileFacts


@dataclass(frozen=True, slots=True)
class Part:
    """Signed records of one run: the rows from `start` to `stop` of a batch.

    Args:
        batch: of `records.records_schema`.
        hashes: the signature of each record of the batch, or its SHA-256 when unsigned.
        start, stop: the rows.
        number: the number of the run.
        run_id: the run.
        lines: the lines of records.jsonl (`records.encode.lines`).
    """

    batch: pa.RecordBatch
    hashes: pa.LargeStringArray
    start: int
    stop: int
    number: int
    run_id: str
    lines: memoryview

    @property
    def signatures(self) -> pa.LargeStringArray:
        return self.hashes.slice(self.start, self.stop - self.start)

    @property
    def types(self) -> np.ndarray:
        """The code of each record's type."""
        return self.batch.column("record_type").to_numpy()[self.start : self.stop]

    def by_type(self, contract: Contract) -> Iterator[tuple[Table, list[pa.Array], pa.LargeStringArray]]:
        """For each record type that occurs: its table, an array for each of `Table.fields`, and the signatures; in
        record order."""
        types, tables = self.types, list(contract.record_types.values())
        for code in np.unique(types):
            signatures = self.signatures.filter(pa.array(types == code))
            yield tables[code], fields_of(self.batch, code, self.start, self.stop), signatures


@dataclass(frozen=True, slots=True)
class RunEnd:
    """What is known of a run when all its records have been written."""

    run_id: str
    record_counts: Mapping[str, int]
    final_hash: str
    key: SigningKey | None

    @property
    def record_count(self) -> int:
        return sum(self.record_counts.values())


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file for the package.

    Args:
        path: in the package.
        media_type: of the file.
        facts: what was written.
        content: the SHA-256 of the records in it, which two exports of the same records have in common.
        exported_at: when it says that it was exported, if it does.
    """

    path: str
    media_type: str
    facts: FileFacts
    content: str
    exported_at: str | None = None


class Writer(Protocol):
    """Writes the files of one run in one format."""

    def write(self, prepared: Any) -> None:
        """Writes what `Format.prepare` made, in the order of the records."""

    def finish(self, end: RunEnd) -> list[StagedFile]:
        """Ends the files."""

    def abandon(self) -> None:
        """Removes the files."""


class Format(Protocol):
    """An output format.

    Args:
        contract: the contract of the records.
        is_signed: whether files hold signatures.
    """

    needs_fields: ClassVar[bool]
    """Whether it is written from typed values."""

    def __init__(self, contract: Contract, *, is_signed: bool) -> None: ...

    def prepare(self, part: Part) -> Any:
        """What is written of some records; called on several threads."""

    def open(self, run_id: str, folder: Path) -> Writer:
        """Begins the files of a run."""


def header(table: Table, *, is_signed: bool) -> list[str]:
    """The columns of a view of one record type."""
    return ["record_type", "run_id", *(column.field for column in table.fields), *([SIGNATURE] if is_signed else [])]
