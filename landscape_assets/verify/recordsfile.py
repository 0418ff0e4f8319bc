"""records.jsonl as a whole, and the CSV files that follow from it.

Belongs here: reading in aligned stretches, the pool of processes, and what only the whole file can tell (chain, counts,
ids, references, the order across stretches). Does not belong here: judging a record (`lines.py`).

The bytes that the workers judge are the very bytes that were hashed: this process reads the file once and hands them
over. A stretch begins with a top-level record wherever there is one to begin with, so that workers need nothing from
each other; where there is none (an operation with very many calls), the next stretch waits for the end of the one
before.
"""

from __future__ import annotations

import hashlib
import os
import runpy
from array import array
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from functools import lru_cache
from multiprocessing import current_process, get_context

from . import codes, csvrule
from .folder import Folder, Measure, Source, Unreadable, opened
from .limits import RECORD_BYTES
from .lines import FILE, RUN_FACTS, Checker, Job, Sibling, Stretch, out_of_order, sibling_message
from .manifest import Listed, Manifest
from .merkle import HASH_BYTES, RootHash
from .records import CONTRACTS
from .report import Findings

STRETCH = 2 * 1024 * 1024
"""Bytes that a worker is given at once, about."""
ALONE = 4 * STRETCH
"""Up to this size of file a second process costs more time than it saves."""
_BUCKETS = 8

_ALONE_NAME = "landscape_verify"
"""What this package is called where it was not imported from the module path, but started by itself (`__main__.py`)."""


@lru_cache(maxsize=1)
def _checker(job: Job) -> Checker:
    return Checker(job)


def _check(job: Job, data: bytes, context: tuple | None) -> Stretch:
    return _checker(job).check(data, context)


def available_processes() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Pool:
    """Checks stretches, in other processes when there is enough to do, and gives the results in order.

    Args:
        checker: for this process; the others make their own for the same job.
        processes: how many; 1 means this one.
    """

    def __init__(self, checker: Checker, processes: int) -> None:
        self.width = 2 * processes
        self.job = checker.job
        self.executor: ProcessPoolExecutor | None = None
        self.checker: Checker | None = None
        # A daemonic process may have no children; it does the work itself. New processes are spawned, not forked: the
        # caller may have threads.
        if processes > 1 and not current_process().daemon:
            start = (runpy.run_path, (os.path.dirname(__file__), None, _ALONE_NAME + ".worker"))
            alone = __package__ == _ALONE_NAME
            self.executor = ProcessPoolExecutor(processes, get_context("spawn"), *(start if alone else ()))
        else:
            self.checker = checker

    def results(self, stretches: Iterator[tuple[bytes, bool]]) -> Iterator[Stretch]:
        """The results of stretches, in order. Each comes with whether it begins with a top-level record."""
        last: Stretch | None = None
        if self.checker:
            for data, aligned in stretches:
                last = self.checker.check(data, None if aligned or last is None else last.context)
                yield last
            return
        pending: deque[Future[Stretch]] = deque()
        for data, aligned in stretches:
            while pending and (len(pending) >= self.width or not aligned):
                last = pending.popleft().result()
                yield last
            context = None if aligned or last is None else last.context
            pending.append(self.executor.submit(_check, self.job, data, context))
        while pending:
            yield pending.popleft().result()

    def close(self) -> None:
        """End the processes."""
        if self.executor:
            self.executor.shutdown(cancel_futures=True)


class _CsvFile:
    """A CSV file that is compared, block by block, with what the records give.

    Args:
        source: the open file.
        listed: its entry in the manifest.
    """

    def __init__(self, source: Source, listed: Listed) -> None:
        self.measure = Measure(listed)
        self.blocks = source.blocks(listed.size)
        self.held = b""
        self.lines = 0
        self.differs: int | None = None
        self.unreadable = False

    def expect(self, wanted: bytes) -> None:
        """Take `wanted` for the next bytes of the file, and note the line of the first that is another."""
        held = [self.held]
        size = len(self.held)
        while size < len(wanted) and (block := self.block()):
            held.append(block)
            size += len(block)
        found = b"".join(held)
        if self.differs is None and not found.startswith(wanted):
            self.differs = self.lines + wanted.count(b"\n", 0, _alike(found, wanted)) + 1
        self.lines += wanted.count(b"\n")
        self.held = found[len(wanted) :]

    def block(self) -> bytes:
        """The next bytes of the file; none at the listed size, and none any more when it cannot be read."""
        try:
            return self.measure.update(next(self.blocks, b""))
        except Unreadable:
            self.unreadable = True
            return b""

    def finish(self, findings: Findings) -> None:
        """Read the rest, and note what is wrong."""
        while block := self.block():
            self.held = self.held or block
        if self.unreadable:
            return
        if self.differs is None and self.held:
            self.differs = self.lines + 1
        self.measure.judge(findings)
        if self.differs is not None:
            findings.add(
                codes.CSV,
                self.measure.listed.path,
                self.differs,
                "From this line on, the file is not what records.jsonl gives.",
            )


def _alike(one: bytes, two: bytes) -> int:
    """How many bytes both begin with alike."""
    low, high = 0, min(len(one), len(two))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == two[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class RecordsFile:
    """The check of records.jsonl of one package.

    Args:
        package: the folder.
        manifest: of the package.
        key: the HMAC key, when the caller gave one.
        seen: path → lstat, of the files that may be opened.
        findings: where to note what is wrong.
        processes: how many to use; None for as many as there are processors.
    """

    def __init__(
        self,
        package: Folder,
        manifest: Manifest,
        key: bytes | None,
        seen: dict[str, os.stat_result],
        findings: Findings,
        processes: int | None,
    ) -> None:
        self.package, self.manifest, self.seen, self.findings = package, manifest, seen, findings
        self.contract = CONTRACTS[manifest.contract]
        self.csv_files = [listed for listed in manifest.files if listed.path.startswith("csv/") and listed.path in seen]
        csv_types = tuple(one.record_type for one in self.csv_files)
        self.checker = Checker(
            Job(manifest.contract, manifest.run_id, manifest.signed, key, csv_types, manifest.merkle_root is not None)
        )
        self.processes = processes
        self.lines = 0
        self.data_records = 0
        self.counts: dict[str, int] = {}
        self.chain, self.root = hashlib.sha256(), RootHash()
        self.ids: dict[str, list[bytes]] = {
            target: [] for one in self.contract.types.values() for _, target in one.references
        }
        self.hashes: dict[str, array] = {name: array("q") for name in self.contract.types}
        self.references: dict[str, dict[bytes, int]] = {}
        self.last: Sibling | None = None
        self.runs: list[tuple[int, dict]] = []
        self.manifests: list[tuple[int, dict]] = []
        self.compared: set[str] = set()
        self.unreadable: set[str] = set()

    def check(self) -> None:
        """Read the file and the CSV files, and note what is wrong with them.

        A CSV file that cannot be read does not keep the records from being checked. `compared` has the paths of those
        that were read to the end, `unreadable` of those that could not be, which has been noted.

        Raises:
            Unreadable: records.jsonl could not be read to the end; the finding has been noted.
        """
        listed = self.manifest.file(FILE)
        measure = Measure(listed)
        seen = self.seen[FILE]
        processes = self.processes or (1 if seen.st_size <= ALONE else available_processes())
        with ExitStack() as stack:
            csv: dict[str, _CsvFile] = {}
            for one in self.csv_files:
                try:
                    source = stack.enter_context(opened(self.package, one.path, self.seen[one.path], self.findings))
                except Unreadable:
                    self.unreadable.add(one.path)
                    continue
                csv[one.record_type] = _CsvFile(source, one)
                csv[one.record_type].expect(csvrule.header(self.contract.types[one.record_type], self.manifest.signed))
            source = stack.enter_context(opened(self.package, FILE, seen, self.findings))
            pool = _Pool(self.checker, processes)
            stack.callback(pool.close)
            try:
                for stretch in pool.results(self.stretches(source.blocks(listed.size, STRETCH), measure)):
                    self.take(stretch)
                    for name, rows in stretch.csv.items():
                        if name in csv:
                            csv[name].expect(rows)
            except BrokenProcessPool as error:
                self.findings.add(
                    codes.UNREADABLE, FILE, None, "A process that checked the records died; is memory short?"
                )
                raise Unreadable from error
            measure.judge(self.findings)
            for file in csv.values():
                file.finish(self.findings)
                (self.unreadable if file.unreadable else self.compared).add(file.measure.listed.path)
            self.conclude()
            self.repeated_ids(source)

    def stretches(self, source: Iterator[bytes], measure: Measure) -> Iterator[tuple[bytes, bool]]:
        """Divide the file at line ends, before top-level records where possible.

        Yields:
            whole lines (at the end of the file perhaps a part of one), and whether they begin with a top-level record.
        """
        starts = tuple(b"\n" + start for start in self.checker.starts())
        held: list[bytes] = []
        size = 0
        aligned = True
        cut = 0
        for block in source:
            block = measure.update(block)
            held.append(block)
            size += len(block)
            if size < STRETCH or (cut < 0 and b"\n" not in block and size <= RECORD_BYTES):
                continue  # what is held has no line end if there was nowhere to cut
            data = b"".join(held)
            cut = max(data.rfind(start) for start in starts)
            next_aligned = cut >= 0
            if cut < 0:
                cut = data.rfind(b"\n")
            if cut < 0 and size > RECORD_BYTES:
                self.findings.add(
                    codes.LINE_TOO_LONG,
                    FILE,
                    None,
                    f"A line has more than {RECORD_BYTES} bytes; the rest was not checked.",
                )
                for rest in source:
                    measure.update(rest)
                return
            if cut < 0:
                held = [data]
                continue
            yield data[: cut + 1], aligned
            aligned = next_aligned
            held = [data[cut + 1 :]]
            size = len(held[0])
        if size:
            yield b"".join(held), aligned

    def take(self, stretch: Stretch) -> None:
        """Add the result of the next stretch."""
        self.findings.merge(stretch.findings, self.lines)
        self.chain.update(stretch.chain)
        leaves = stretch.leaves
        self.root.add(leaves[at : at + HASH_BYTES] for at in range(0, len(leaves), HASH_BYTES))
        for name, count in stretch.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        self.data_records += stretch.lines - len(stretch.manifests)
        for name, ids in stretch.ids.items():
            self.hashes[name].extend(map(hash, ids.split(b"\n")))
            if name in self.ids:
                self.ids[name].append(ids)
        for target, names in stretch.references.items():
            known = self.references.setdefault(target, {})
            for name, line in names.items():
                known.setdefault(name, line + self.lines)
        if stretch.first and self.last:
            fault = out_of_order(self.last, stretch.first)
            line = stretch.first[3] + self.lines
            place = self.checker.places[stretch.first[0]]
            if fault is codes.RECORD_ORDER:
                before = self.checker.places[self.last[0]].type
                message = f"A {place.type} comes after a {before}; the order is the other way round."
                self.findings.add(fault, FILE, line, message)
            elif fault:
                self.findings.add(fault, FILE, line, sibling_message(self.contract.types[place.type]))
        self.last = stretch.last or self.last
        self.runs += [(line + self.lines, record) for line, record in stretch.runs]
        self.manifests += [(line + self.lines, record) for line, record in stretch.manifests]
        self.lines += stretch.lines

    def conclude(self) -> None:
        """What only the whole file tells: chain, counts, references, the run and the manifest record."""
        manifest, add = self.manifest, self.findings.add
        final_hash = self.chain.hexdigest()
        if final_hash != manifest.final_hash:
            add(
                codes.FINAL_HASH,
                FILE,
                None,
                "final_hash of manifest.json is not the chain over the records of this file.",
            )
        if manifest.merkle_root is not None and self.root.value().hex() != manifest.merkle_root:
            add(
                codes.MERKLE_ROOT,
                FILE,
                None,
                "merkle.root of manifest.json is not the root of the tree over the records of this file.",
            )
        if self.data_records != manifest.record_count:
            add(
                codes.RECORD_COUNT,
                FILE,
                None,
                f"There are {self.data_records} data records; manifest.json says {manifest.record_count}.",
            )
        for name in self.contract.types:
            found, said = self.counts.get(name, 0), manifest.record_counts.get(name, 0)
            if found != said:
                add(codes.RECORD_COUNT, FILE, None, f"There are {found} {name} records; manifest.json says {said}.")
        self.resolve()
        self.run_record()
        self.manifest_record(final_hash)

    def resolve(self) -> None:
        for target, names in self.references.items():
            unknown = set(names)
            for ids in self.ids[target]:
                unknown.difference_update(ids.split(b"\n"))
            for name in sorted(unknown, key=names.__getitem__):
                text = name.decode("utf-8", "replace")
                message = f"This record (the first that does) refers to the {target} {text:.80}, which is not there."
                self.findings.add(codes.REFERENCE, FILE, names[name], message)

    def run_record(self) -> None:
        manifest, add = self.manifest, self.findings.add
        if not self.runs or self.runs[0][0] != 1:
            add(codes.RUN_RECORD, FILE, 1, "The first record is not the run's.")
        for line, _ in self.runs[1:]:
            add(codes.RUN_RECORD, FILE, line, "A second run record.")
        for line, record in self.runs[:1]:
            for name in RUN_FACTS:
                if record.get(name) != getattr(manifest, name):
                    add(codes.RUN_RECORD, FILE, line, f"{name} of the run is not what manifest.json says.")

    def manifest_record(self, final_hash: str) -> None:
        manifest, add = self.manifest, self.findings.add
        if manifest.signed and not self.manifests:
            add(codes.NO_MANIFEST_RECORD, FILE, None, "There is no manifest record at the end; records may be cut off.")
        for line, record in self.manifests:
            if not manifest.signed:
                add(codes.MANIFEST_RECORD_PLACE, FILE, line, "A manifest record in an export that is not signed.")
                continue
            if line != self.lines:
                add(codes.MANIFEST_RECORD_PLACE, FILE, line, "The manifest record is not the last line.")
            facts = {
                "record_count": (self.data_records, "the number of data records"),
                "final_hash": (final_hash, "the chain over the records"),
                "exported_at": (manifest.exported_at, "exported_at of manifest.json"),
            }
            for name, (value, meaning) in facts.items():
                if record.get(name) != value:
                    add(codes.MANIFEST_RECORD, FILE, line, f"{name} of the manifest record is not {meaning}.")

    def repeated_ids(self, source: Source) -> None:
        """Name the records whose id another record of the type has already.

        A 64-bit keyed hash of every id is kept, not the id. Where hashes are equal the file is read once more, and the
        ids themselves decide.
        """
        suspects = {name: found for name, hashes in self.hashes.items() if (found := _repeated(hashes))}
        if not suspects or self.findings.any_of(codes.LINE_TOO_LONG):
            return
        first: dict[tuple[str, bytes], int] = {}
        line_number = 0
        listed = self.manifest.file(FILE)
        for data, _ in self.stretches(source.blocks(listed.size), Measure(listed)):
            for line in data.split(b"\n"):
                line_number += 1
                named = self.checker.identify(line) if line else None
                if not named or hash(named[1]) not in suspects.get(named[0], ()):
                    continue
                before = first.setdefault(named, line_number)
                if before != line_number:
                    text = named[1].decode("utf-8", "replace")
                    message = f"The {named[0]} {text:.80} has stood in line {before} already."
                    self.findings.add(codes.REPEATED_ID, FILE, line_number, message)
            line_number -= data.endswith(b"\n")


def _repeated(hashes: array) -> set[int]:
    """The values that occur more than once; in buckets, so that the sets stay small."""
    found: set[int] = set()
    for bucket in range(_BUCKETS):
        seen: set[int] = set()
        some = [value for value in hashes if value % _BUCKETS == bucket]
        if len(set(some)) < len(some):
            found.update(value for value in some if value in seen or seen.add(value))
    return found
