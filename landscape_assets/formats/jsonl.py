"""records.jsonl: every record in order, in canonical form, one a line (docs/package.md).

Belongs here: that file. Does not belong here: the views by type (`csv.py`, `parquet.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ..contract import Contract
from ..records.sign import manifest_record, now
from ..storage.files import NewFile
from .base import Part, RunEnd, StagedFile


class Jsonl:
    """The format. Arguments as for `base.Format`."""

    needs_fields: ClassVar[bool] = False

    def __init__(self, contract: Contract, *, is_signed: bool) -> None:
        """Nothing to keep: the lines come with the records."""

    def prepare(self, part: Part) -> memoryview:
        """The lines."""
        return part.lines

    def open(self, run_id: str, folder: Path) -> _JsonlWriter:
        return _JsonlWriter(folder)


class _JsonlWriter:
    def __init__(self, folder: Path) -> None:
        self._file = NewFile(folder / "records.jsonl", for_package=True)

    def write(self, prepared: memoryview) -> None:
        self._file.write(prepared)

    def finish(self, end: RunEnd) -> list[StagedFile]:
        """The last line of a signed file is the contract's manifest record (contract, section 1)."""
        content, exported_at = self._file.facts(end.record_count).sha256, None
        if end.key is not None:
            exported_at = now()
            last = manifest_record(end.run_id, end.record_count, end.final_hash, exported_at, end.key)
            self._file.write(last + b"\n")
        self._file.close()
        facts = self._file.facts(end.record_count)
        return [StagedFile("records.jsonl", "application/jsonl", facts, content, exported_at)]

    def abandon(self) -> None:
        self._file.abandon()
