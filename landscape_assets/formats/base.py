"""What all formats have in common.

Belongs here: the protocol of a format, and what passes through it. Does not belong here: the formats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from ..contract import Contract, Table
from ..records.encode import SIGNATURE
from ..records.manifest_v2 import ManifestOptions
from ..records.ordered import FieldsWanted, Records, places_by_type
from ..records.sign import SigningKey
from ..storage.files import FileFacts


@dataclass(frozen=True, slots=True)
class TypeRows:
    """The records of one type in a part, in record order.

    Args:
        table: their table.
        fields: the fields that are wanted.
        signatures: the signature of each, or its SHA-256.
    """

    table: Table
    fields: pa.RecordBatch
    signatures: pa.LargeStringArray


@dataclass(frozen=True)
class Part:
    """Signed records of one run: the rows from `start` to `stop` of a batch.

    Args:
        batch: the records.
        hashes: the signature of each record of the batch, or its SHA-256 when unsigned.
        start, stop: the rows.
        number: the number of the run.
        run_id: the run.
        lines: the lines of records.jsonl (`records.encode.lines`).
        lengths: the bytes of each line.
        contract: the contract of the records.
    """

    batch: Records
    hashes: pa.LargeStringArray
    start: int
    stop: int
    number: int
    run_id: str
    lines: memoryview
    lengths: np.ndarray
    contract: Contract

    @property
    def signatures(self) -> pa.LargeStringArray:
        """The signature of each record, or its SHA-256."""
        return self.hashes.slice(self.start, self.stop - self.start)

    @property
    def types(self) -> np.ndarray:
        """The code of each record's type."""
        types: np.ndarray = self.batch.texts.column("record_type").to_numpy()[self.start : self.stop]
        return types

    @cached_property
    def by_type(self) -> list[TypeRows]:
        """The records of each type that occurs and of which fields are wanted, for formats that are written from
        these."""
        tables = list(self.contract.record_types.values())
        before = self.batch.texts.column("record_type").to_numpy()[: self.start]
        return [
            TypeRows(
                tables[code],
                self.batch.fields[code].slice(np.count_nonzero(before == code), len(places)),
                self.signatures.take(pa.array(places)),
            )
            for code, places in enumerate(places_by_type(self.types))
            if len(places) and code in self.batch.fields
        ]


@dataclass(frozen=True, slots=True)
class RunEnd:
    """What is known of a run when all its records have been written.

    Args:
        run_id: the run.
        record_counts: record type → records.
        final_hash: what the records chain to.
        key: the key of their signatures, if there is one.
        options: what a manifest record depends on.
        public_key_id: the id of the key that will sign the manifest, if there is one.
        exported_at: the time of the export, for the files that name it.
        files: the files of the formats that are finished.
    """

    run_id: str
    record_counts: Mapping[str, int]
    final_hash: str
    key: SigningKey | None
    options: ManifestOptions
    public_key_id: str | None
    exported_at: str
    files: Sequence[StagedFile] = ()

    @property
    def record_count(self) -> int:
        """Records of all types."""
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
        figures, digest: of the report: key figures by name, and a summary in Markdown.
    """

    path: str
    media_type: str
    facts: FileFacts
    content: str
    exported_at: str | None = None
    figures: Mapping[str, float] | None = None
    digest: str | None = None


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
        options: what a manifest record depends on.
    """

    wanted: ClassVar[FieldsWanted]
    """What it is written from besides the canonical form of the records."""

    def __init__(self, contract: Contract, *, is_signed: bool, options: ManifestOptions) -> None: ...

    def prepare(self, part: Part) -> Any:
        """What is written of some records; called on several threads."""

    def open(self, run_id: str, folder: Path) -> Writer:
        """Begins the files of a run."""


class View:
    """A format with one file for each record type. Arguments as for `Format`."""

    def __init__(self, contract: Contract, *, is_signed: bool, options: ManifestOptions) -> None:
        self._contract, self._is_signed = contract, is_signed

    def header(self, table: Table) -> list[str]:
        """The columns of one record type."""
        fields = [column.field for column in table.fields if column.field is not None]
        return ["record_type", "run_id", *fields, *([SIGNATURE] if self._is_signed else [])]


Rows_contra = TypeVar("Rows_contra", contravariant=True)


class ViewFile(Protocol[Rows_contra]):
    """A file of one record type while it is written."""

    def write(self, rows: Rows_contra) -> None:
        """Adds rows."""

    def finish(self) -> FileFacts:
        """Ends the file."""

    def abandon(self) -> None:
        """Removes the file."""


Rows = TypeVar("Rows")


class ViewWriter(Generic[Rows]):
    """Writes the files of one run, one for each record type that occurs.

    Args:
        contract: the contract of the records.
        folder: made for the files; its name is the extension of theirs.
        media_type: of the files.
        begin: begins the file of a record type, given its path, the table, and the first rows.
    """

    def __init__(
        self, contract: Contract, folder: Path, media_type: str, begin: Callable[[Path, Table, Rows], ViewFile[Rows]]
    ) -> None:
        self._contract, self._folder, self._media_type, self._begin = contract, folder, media_type, begin
        self._files: dict[str, ViewFile[Rows]] = {}
        folder.mkdir()

    def write(self, prepared: list[tuple[str, Rows]]) -> None:
        """Writes rows of some record types."""
        for name, rows in prepared:
            if name not in self._files:
                path = self._folder / f"{name}.{self._folder.name}"
                self._files[name] = self._begin(path, self._contract.record_types[name], rows)
            self._files[name].write(rows)

    def finish(self, end: RunEnd) -> list[StagedFile]:
        """Ends the files."""
        made = []
        for name, file in self._files.items():
            facts = file.finish()
            assert facts.sha256 is not None  # it is a file for the package
            path = f"{self._folder.name}/{name}.{self._folder.name}"
            made.append(StagedFile(path, self._media_type, facts, facts.sha256))
        return made

    def abandon(self) -> None:
        """Removes the files."""
        for file in self._files.values():
            file.abandon()
