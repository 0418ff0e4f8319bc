"""The output formats: from signed records to the files of packages.

Belongs here: one module for each format (`jsonl.py`, `csv.py`, `parquet.py`, `html.py`; docs/package.md), what all
formats have in common (`base.py`), and writing the files of run after run. A new format is one more module and one more
entry in `_FORMATS`. Does not belong here: how files become a package (`package/publish.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..budget import Budget
from ..contract import Contract
from ..database import RUN
from ..merkle import GrowingRoot, Hashes, hashes_of_lines
from ..parallel import Deferred, results
from ..records.encode import line_lengths, lines
from ..records.manifest_v2 import ManifestOptions
from ..records.ordered import FieldsWanted
from ..records.sign import SignedBatch, SigningKey, now
from ..storage.arrow_file import text_of
from .base import Format, Part, RunEnd, StagedFile, Writer
from .csv import Csv
from .html import Html
from .jsonl import Jsonl
from .parquet import Parquet

__all__ = ["FORMATS", "RunFiles", "StagedFile", "fields_wanted", "write_files"]

# The report lists the files of the other formats, and comes last.
_FORMATS: dict[str, type[Format]] = {"jsonl": Jsonl, "csv": Csv, "parquet": Parquet, "html": Html}

FORMATS = tuple(_FORMATS)
"""The name of every output format."""


def fields_wanted(formats: Collection[str]) -> FieldsWanted:
    """What some formats are written from besides the canonical form of the records."""
    wanted = [_FORMATS[name].wanted for name in formats]
    texts = {name: text for each in wanted for name, text in each.texts.items()}
    typed = [each.only for each in wanted if each.typed]
    only: dict[str, set[str]] = {}
    for each in typed:
        for record_type, fields in (each or {}).items():
            only.setdefault(record_type, set()).update(fields)
    return FieldsWanted(bool(typed), texts, None if None in typed else only)


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one run, written.

    Args:
        number: the number of the run.
        files: format → its files.
        record_counts: record type → records.
        final_hash: the hex SHA-256 that the signatures (or hashes) of the records chain to (contract, section 3).
        merkle_root: the hex root of the tree over the lines of all records (docs/package.md, `merkle`).
    """

    number: int
    files: dict[str, list[StagedFile]]
    record_counts: dict[str, int]
    final_hash: str
    merkle_root: str


def write_files(
    batches: Iterable[Deferred[SignedBatch]],
    contract: Contract,
    run_ids: Sequence[str],
    key: SigningKey | None,
    formats: Collection[str],
    folder: Callable[[int], Path],
    budget: Budget,
    options: ManifestOptions,
    public_key_id: str | None = None,
    watch: Callable[[SignedBatch], None] | None = None,
    on_written: Callable[[int], None] = lambda records: None,
) -> Iterator[RunFiles]:
    """Writes the files of some runs, one run after the other.

    Args:
        batches: the signed records of the runs in order, with the `fields_wanted`.
        contract: their contract.
        run_ids: the runs by number.
        key: the key of the signatures; None for an unsigned export.
        formats: some of FORMATS.
        folder: number of a run → the empty folder for its files.
        budget: how many threads the stage may take.
        options: what manifest records depend on.
        public_key_id: the id of the key that will sign the manifests, if there is one.
        watch: called with each batch, in order, before a run that ends in it is yielded.
        on_written: called with how many more records are written, now and then.

    Yields:
        Each run when its files are written.

    Raises:
        OSError: no room, or no right, to write. The files of the run at hand are removed.
    """
    chosen = {
        name: _FORMATS[name](contract, is_signed=key is not None, options=options)
        for name in FORMATS
        if name in formats
    }

    def prepared(make: Deferred[SignedBatch]) -> tuple[SignedBatch | None, list[_Prepared]]:
        batch = make()
        parts = [_prepare(part, chosen) for part in _parts(batch, contract, run_ids, is_signed=key is not None)]
        return None if watch is None else batch, parts  # kept no longer than it is needed

    writing: _Writing | None = None
    try:
        with results((partial(prepared, batch) for batch in batches), budget.threads) as found:
            for batch, parts in found:
                if watch is not None and batch is not None:
                    watch(batch)
                for part in parts:
                    if writing is not None and writing.number != part.number:
                        yield writing.finish()
                        writing = None
                    if writing is None:
                        writing = _Writing(part, contract, key, options, public_key_id, chosen, folder(part.number))
                    writing.add(part)
                    on_written(int(part.counts.sum()))
        if writing is not None:
            yield writing.finish()
            writing = None
    finally:
        if writing is not None:
            writing.abandon()


def _parts(batch: SignedBatch, contract: Contract, run_ids: Sequence[str], *, is_signed: bool) -> Iterator[Part]:
    """A batch, run by run."""
    texts = batch.records.texts
    runs = texts.column(RUN).to_numpy()
    starts = np.flatnonzero(np.diff(runs.astype(np.int64), prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(runs)], strict=True):
        number, begin, count = int(runs[start]), int(start), int(stop - start)
        canonical, head = (texts.column(name).slice(begin, count) for name in ("canonical", "head"))
        text = lines(canonical, head, batch.signatures.slice(begin, count) if is_signed else None)
        lengths = line_lengths(canonical, is_signed=is_signed)
        yield Part(batch.records, batch.signatures, begin, int(stop), number, run_ids[number], text, lengths, contract)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is written of some records of one run.

    Args:
        number, run_id: the run.
        counts: how many records there are of each type, by its code.
        chained: the signatures, or hashes, one behind the other.
        leaves: the hash of each line as a leaf of a Merkle tree.
        by_format: what each format writes.
    """

    number: int
    run_id: str
    counts: np.ndarray
    chained: memoryview
    leaves: Hashes
    by_format: dict[str, Any]


def _prepare(part: Part, formats: dict[str, Format]) -> _Prepared:
    return _Prepared(
        part.number,
        part.run_id,
        np.bincount(part.types, minlength=len(part.contract.record_types)),
        text_of(part.signatures),
        hashes_of_lines(part.lines, part.lengths),
        {name: each.prepare(part) for name, each in formats.items()},
    )


class _Writing:
    """The files of one run while they are written."""

    def __init__(
        self,
        first: _Prepared,
        contract: Contract,
        key: SigningKey | None,
        options: ManifestOptions,
        public_key_id: str | None,
        formats: dict[str, Format],
        folder: Path,
    ) -> None:
        self.number, self._run_id = first.number, first.run_id
        self._types, self._key, self._options = list(contract.record_types), key, options
        self._public_key_id = public_key_id
        self._counts = np.zeros(len(self._types), np.int64)
        self._chain, self._root = hashlib.sha256(), GrowingRoot()
        self._writers: dict[str, Writer] = {}
        try:
            for name, each in formats.items():
                self._writers[name] = each.open(first.run_id, folder)
        except BaseException:
            self.abandon()
            raise

    def add(self, part: _Prepared) -> None:
        self._counts += part.counts
        self._chain.update(part.chained)
        self._root.add(part.leaves)
        for name, writer in self._writers.items():
            writer.write(part.by_format[name])

    def finish(self) -> RunFiles:
        counts = {name: int(count) for name, count in zip(self._types, self._counts, strict=True) if count}
        end = RunEnd(
            self._run_id, counts, self._chain.hexdigest(), self._key, self._options, self._public_key_id, now()
        )
        files: dict[str, list[StagedFile]] = {}
        for name, writer in self._writers.items():
            files[name] = writer.finish(end)
            end = replace(end, files=(*end.files, *files[name]))
        return RunFiles(self.number, files, counts, end.final_hash, self._root.root().hex())

    def abandon(self) -> None:
        for writer in self._writers.values():
            writer.abandon()
