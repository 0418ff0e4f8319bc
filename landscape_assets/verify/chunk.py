"""The check of a chunk of records.jsonl, in whatever process it is done.

Belongs here: putting the checks of a chunk's lines together. Does not belong here: the checks (`judge.py`,
`fast_path.py`, `sequence.py`), and what concerns the file as a whole (`records_file.py`).
"""

from __future__ import annotations

import os
import runpy
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import current_process, get_context

from . import codes
from .contract import CONTRACTS
from .csv_view import RowWriter
from .fast_path import FastPath
from .judge import Judge, Judgement
from .layout import Record
from .manifest import RECORDS
from .merkle import leaf_hash
from .report import Findings
from .sequence import Context, Order, Sequence, Sibling
from .signatures import HmacKey

_STANDALONE_NAME = "landscape_verify"
"""What this package is called where it was not imported from the module path, but started by itself (`__main__.py`)."""

RUN_FACTS = ("status", "started_at", "completed_at")
"""What a run's record says that manifest.json says too."""


@dataclass(frozen=True, slots=True)
class Job:
    """What every process must know of the package. Can be pickled.

    Args:
        contract: name of the record contract.
        run_id: of the manifest.
        signed: whether records have signatures.
        key: the HMAC key, when the caller gave one.
        csv: the record types whose CSV rows are wanted.
        zoned: whether times have a zone.
        redacted: whether the rows that records of errors are about are left out.
        merkle: whether the hashes of the lines as leaves are wanted.
    """

    contract: str
    run_id: str
    signed: bool
    key: bytes | None = field(repr=False)
    csv: tuple[str, ...] = ()
    zoned: bool = False
    redacted: bool = False
    merkle: bool = False


@dataclass(slots=True)
class Chunk:
    """What the check of a chunk found. Lines are counted from 1 within the chunk.

    Args:
        findings: of single records and of their sequence.
        lines: how many there are.
        counts: record type → data records.
        links: what the chunk adds to the input of `final_hash`.
        leaves: the hashes of the data records as leaves, one behind the other, when they are wanted.
        ids: record type → ids, one a line, as canonical text.
        references: record type → id referred to, and not found in the chunk → first line that does.
        first: the first top-level record, and its line; None when it has been compared with the one before.
        last: the last top-level record.
        context: where the chunk stopped, for a next one that does not begin with a top-level record.
        csv: record type → rows.
        runs, manifests: the run and the manifest records: their lines, and what of them is compared.
    """

    findings: Findings = field(default_factory=Findings)
    lines: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    links: bytes = b""
    leaves: bytes = b""
    ids: dict[str, bytes] = field(default_factory=dict)
    references: dict[str, dict[bytes, int]] = field(default_factory=dict)
    first: tuple[Sibling, int] | None = None
    last: Sibling | None = None
    context: Context | None = None
    csv: dict[str, bytes] = field(default_factory=dict)
    runs: list[tuple[int, Record]] = field(default_factory=list)
    manifests: list[tuple[int, Record]] = field(default_factory=list)

    def count(self, name: str) -> None:
        """Count a record that is not in `ids`."""
        self.counts[name] = self.counts.get(name, 0) + 1


class Checker:
    """Checks chunks of records.jsonl for one package.

    Args:
        job: what is known of the package.
        fast: whether to use the fast path; without it the judge decides on every line.
    """

    def __init__(self, job: Job, fast: bool = True) -> None:
        self.job = job
        contract = CONTRACTS[job.contract].redacted() if job.redacted else CONTRACTS[job.contract]
        key = HmacKey(job.key) if job.key is not None else None
        self.judge = Judge(contract, job.run_id, job.signed, key)
        layouts = self.judge.layouts
        self.fast_path = FastPath(contract, layouts if fast else {}, job.run_id, key)
        self.order = Order(contract, layouts, job.zoned)
        self.rows = {layouts[name].number: RowWriter(layouts[name], job.run_id) for name in job.csv}

    def check(self, data: bytes, context: Context | None = None) -> Chunk:
        """Check a chunk of lines.

        Args:
            data: whole lines; only the last of the file may lack its LF.
            context: of the chunk before, when this one does not begin with a top-level record.

        Returns:
            What was found.
        """
        chunk = Chunk()
        findings = chunk.findings
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        else:
            message = "The last line does not end with LF; it may be cut off."
            findings.add(codes.LINE_UNFINISHED, RECORDS, len(lines), message)
        chunk.lines = len(lines)
        accept = self.fast_path.accept if _is_utf8(data) else _accept_nothing
        sequence = Sequence(self.order, context)
        add, writers = sequence.add, self.rows
        links: list[bytes] = []
        rows: dict[int, list[bytes]] = {number: [] for number in writers}

        for line_number, line in enumerate(lines, 1):
            accepted = accept(line)
            run_id: object = None
            if accepted:
                layout, values, link = accepted
            else:
                judgement = self.judge.judge(line)
                for code, message in judgement.faults:
                    findings.add(code, RECORDS, line_number, message)
                if not self._is_placed(judgement, line_number, chunk, links, sequence):
                    continue
                assert judgement.layout is not None
                assert judgement.values is not None
                layout, values, link = judgement.layout, judgement.values, judgement.link
                run_id = judgement.record["run_id"]
            links.append(link)
            if faults := add(layout, values, line_number):
                for code, message in faults:
                    findings.add(code, RECORDS, line_number, message)
            if writer := writers.get(layout.number):
                row = writer.row(values, run_id if isinstance(run_id, str) else None)
                rows[layout.number].append(row)

        names = list(self.judge.layouts)
        chunk.ids = {name: b"\n".join(ids) for name, ids in zip(names, sequence.ids, strict=True) if ids}
        for name, ids in zip(names, sequence.ids, strict=True):
            if ids:
                chunk.counts[name] = chunk.counts.get(name, 0) + len(ids)
        chunk.references = sequence.unresolved()
        chunk.first, chunk.last, chunk.context = sequence.first, sequence.last, sequence.context
        chunk.csv = {names[number]: b"".join(some) for number, some in rows.items() if some}
        chunk.links = b"".join(links)
        if self.job.merkle:
            others = {number for number, _ in chunk.manifests}
            chunk.leaves = b"".join(leaf_hash(line) for number, line in enumerate(lines, 1) if number not in others)
        return chunk

    def _is_placed(
        self, judgement: Judgement, line_number: int, chunk: Chunk, links: list[bytes], sequence: Sequence
    ) -> bool:
        """Whether a judged line is a record that has a place in the sequence; what it is otherwise, is noted."""
        layout, record = judgement.layout, judgement.record
        if layout is None:
            chunk.count("?")
            return False
        if layout is self.judge.manifest:
            if chunk.manifests:  # only the last is compared; a file may hold very many
                chunk.manifests[-1] = chunk.manifests[-1][0], {}
            chunk.manifests.append((line_number, {name: record.get(name) for name in layout.fields}))
            return False
        if layout.name == "run":
            facts: Record = {} if chunk.runs else {name: record.get(name) for name in RUN_FACTS}
            chunk.runs.append((line_number, facts))
        if judgement.values is None:
            links.append(judgement.link)
            if not sequence.add_faulty(layout, record, line_number):
                chunk.count(layout.name)
            return False
        return True

    def identify(self, line: bytes) -> tuple[str, bytes] | None:
        """Record type and id of a record, as `Chunk.ids` has it; None for what is not a data record."""
        if accepted := self.fast_path.accept(line):
            return accepted[0].name, accepted[0].id_of(accepted[1])
        judgement = self.judge.judge(line)
        layout = judgement.layout
        if layout is None or layout is self.judge.manifest:
            return None
        values = judgement.values
        record_id = layout.id_of_faulty(judgement.record) if values is None else layout.id_of(values)
        return None if record_id is None else (layout.name, record_id)


def _accept_nothing(line: bytes) -> None:
    """What accepts lines of which some are not UTF-8: the judge must look at each."""


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@lru_cache(maxsize=1)
def _checker(job: Job) -> Checker:
    return Checker(job)


def _check(job: Job, data: bytes, context: Context | None) -> Chunk:
    return _checker(job).check(data, context)


def available_processes() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Pool:
    """Checks chunks, in other processes when there is enough to do, and gives the results in order.

    Args:
        checker: for this process; the others make their own for the same job.
        processes: how many; 1 means this one.
    """

    def __init__(self, checker: Checker, processes: int) -> None:
        self.width = 2 * processes
        self.checker = checker
        self.executor: ProcessPoolExecutor | None = None
        # A daemonic process may have no children; it does the work itself. New processes are spawned, not forked: the
        # caller may have threads.
        if processes > 1 and not current_process().daemon:
            context = get_context("spawn")
            if __package__ == _STANDALONE_NAME:
                start = os.path.dirname(__file__), None, _STANDALONE_NAME + ".worker"
                self.executor = ProcessPoolExecutor(processes, context, runpy.run_path, start)
            else:
                self.executor = ProcessPoolExecutor(processes, context)

    def results(self, chunks: Iterator[tuple[bytes, bool]]) -> Iterator[Chunk]:
        """The results of chunks, in order. Each comes with whether it begins with a top-level record."""
        last: Chunk | None = None
        pending: deque[Future[Chunk]] = deque()
        for data, is_aligned in chunks:
            while pending and (len(pending) >= self.width or not is_aligned):
                last = pending.popleft().result()
                yield last
            context = None if is_aligned or last is None else last.context
            if self.executor:
                pending.append(self.executor.submit(_check, self.checker.job, data, context))
            else:
                last = self.checker.check(data, context)
                yield last
        while pending:
            yield pending.popleft().result()

    def close(self) -> None:
        """End the processes."""
        if self.executor:
            self.executor.shutdown(cancel_futures=True)
