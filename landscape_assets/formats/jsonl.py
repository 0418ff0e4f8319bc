"""records.jsonl: every record in order, in canonical form, one a line (docs/package.md).

Belongs here: that file. Does not belong here: the views by type (`csv.py`, `parquet.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..contract import Contract
from ..records.manifest_v2 import Chunks, ManifestOptions, manifest_v2
from ..records.ordered import FieldsWanted
from ..records.sign import manifest_record
from ..storage.files import NewFile
from .base import Part, RunEnd, StagedFile

_Lines = tuple[memoryview, np.ndarray]
"""Lines one behind the other, and the bytes of each."""


class Jsonl:
    """The format. Arguments as for `base.Format`."""

    wanted: ClassVar[FieldsWanted] = FieldsWanted()

    def __init__(self, contract: Contract, *, is_signed: bool, options: ManifestOptions) -> None:
        self._options = options if contract.manifest == 2 else None

    def prepare(self, part: Part) -> _Lines:
        """The lines."""
        return part.lines, part.lengths

    def open(self, run_id: str, folder: Path) -> _JsonlWriter:
        """Begins the files of a run."""
        return _JsonlWriter(folder, self._options)


class _JsonlWriter:
    def __init__(self, folder: Path, options: ManifestOptions | None) -> None:
        self._file = NewFile(folder / "records.jsonl", for_package=True)
        self._chunks = None if options is None else Chunks(options)
        self._run: dict[str, str] = {}

    def write(self, prepared: _Lines) -> None:
        data, lengths = prepared
        self._file.write(data)
        if self._chunks is not None:
            if not self._run and len(lengths):
                self._run = json.loads(bytes(data[: lengths[0]]))  # the run's own record comes first
            self._chunks.add(data, lengths)

    def finish(self, end: RunEnd) -> list[StagedFile]:
        """The last line of a signed file is the contract's manifest record (contract, section 1); one of version 2 is
        in every file."""
        content, exported_at = self._file.facts(end.record_count).sha256, None
        assert content is not None  # it is a file for the package
        if self._chunks is not None:
            run = {name: self._run[name] for name in ("run_id", "status", "completed_at")}
            last = manifest_v2(self._chunks, **run, final_hash=end.final_hash, key=end.key, options=end.options)
            self._file.write(last.data + b"\n")
        elif end.key is not None:
            exported_at = end.exported_at
            line = manifest_record(end.run_id, end.record_count, end.final_hash, exported_at, end.key)
            self._file.write(line + b"\n")
        self._file.close()
        facts = self._file.facts(end.record_count)
        return [StagedFile("records.jsonl", "application/jsonl", facts, content, exported_at)]

    def abandon(self) -> None:
        self._file.abandon()
