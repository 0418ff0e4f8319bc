"""records.jsonl as a whole.

Belongs here: reading it in chunks, and what only the whole file can tell: chain, counts, ids, references, the order
across chunks, the run and the manifest record. Does not belong here: what one chunk tells (`chunk.py`).

The bytes that are checked are the very bytes that were hashed: this process reads the file once and hands them over. A
chunk begins with a top-level record wherever there is one to begin with, so that chunks can be checked independently;
where there is none (an operation with very many calls), the next chunk waits for the end of the one before.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack

from . import codes, csv_view
from .chunk import RUN_FACTS, Checker, Chunk, Job, Pool, available_processes
from .contract import CONTRACTS
from .folder import Folder, Measure, Source, Unreadable, opened
from .layout import Record
from .limits import RECORD_BYTES
from .manifest import RECORDS, Listed, Manifest
from .manifest_v2 import DEFAULTS, Chunker, configs, derive, is_key_id
from .manifest_v2 import Source as ManifestSource
from .merkle import HASH_BYTES, RootHash
from .report import Findings
from .sequence import Sibling

CHUNK_SIZE = 2 * 1024 * 1024
"""Bytes that a process is given at once, about."""
SINGLE_PROCESS_BELOW = 4 * CHUNK_SIZE
"""Up to this size of file a second process costs more time than it saves."""
_BUCKETS = 8
_TYPE = b'"record_type":"'


class RecordsFile:
    """The check of records.jsonl of one package.

    Args:
        package: the folder.
        listed: the file's entry in the manifest.
        manifest: of the package.
        key: the HMAC key, when the caller gave one.
        seen: path → lstat, of the files that may be opened.
        findings: where to note what is wrong.
        processes: how many to use; None for as many as there are processors.
    """

    def __init__(
        self,
        package: Folder,
        listed: Listed,
        manifest: Manifest,
        key: bytes | None,
        seen: dict[str, os.stat_result],
        findings: Findings,
        processes: int | None,
    ) -> None:
        self.package, self.listed, self.manifest, self.seen = package, listed, manifest, seen
        self.findings = findings
        self.contract = CONTRACTS[manifest.contract]
        self.csv_files = {
            one.record_type: one for one in manifest.files if one.path.startswith("csv/") and one.path in seen
        }
        zoned = manifest.started_at.endswith("+00:00")
        csv = tuple(self.csv_files)
        merkle = manifest.merkle_root is not None
        job = Job(manifest.contract, manifest.run_id, manifest.signed, key, csv, zoned, manifest.redacted, merkle)
        self.checker = Checker(job)
        self.processes = processes
        self.lines = 0
        self.data_records = 0
        self.counts: dict[str, int] = {}
        self.chain, self.root = hashlib.sha256(), RootHash()
        self.ids: dict[str, list[bytes]] = {
            target: [] for one in self.contract.types.values() for _, target in one.references
        }
        self.hashes: dict[str, array[int]] = {name: array("q") for name in self.contract.types}
        self.references: dict[str, dict[bytes, int]] = {}
        self.last: Sibling | None = None
        self.runs: list[tuple[int, Record]] = []
        self.manifests: list[tuple[int, Record]] = []
        self.chunker = Chunker(manifest.export_config or DEFAULTS) if self.contract.always_manifest else None
        self.compared: set[str] = set()
        self.unreadable: set[str] = set()

    def check(self) -> None:
        """Read the file and the CSV files, and note what is wrong with them.

        A CSV file that cannot be read does not keep the records from being checked. `compared` has the paths of those
        that were read to the end, `unreadable` of those that could not be, which has been noted.

        Raises:
            Unreadable: records.jsonl could not be read to the end; the finding has been noted.
        """
        measure = Measure(self.listed)
        seen = self.seen[RECORDS]
        processes = self.processes or (1 if seen.st_size <= SINGLE_PROCESS_BELOW else available_processes())
        with ExitStack() as stack:
            csv: dict[str, csv_view.CsvFile] = {}
            for name, listed in self.csv_files.items():
                try:
                    source = stack.enter_context(
                        opened(self.package, listed.path, self.seen[listed.path], self.findings)
                    )
                except Unreadable:
                    self.unreadable.add(listed.path)
                    continue
                csv[name] = csv_view.CsvFile(source, listed)
                csv[name].expect(csv_view.header(self.contract.types[name], self.manifest.signed))
            source = stack.enter_context(opened(self.package, RECORDS, seen, self.findings))
            pool = Pool(self.checker, processes)
            stack.callback(pool.close)
            try:
                chunks = self._chunks(source.blocks(self.listed.size, CHUNK_SIZE), measure)
                for chunk in pool.results(self._divided(chunks)):
                    self._take(chunk)
                    for name, rows in chunk.csv.items():
                        if name in csv:
                            csv[name].expect(rows)
            except BrokenProcessPool as error:
                message = "A process that checked the records died; is memory short?"
                self.findings.add(codes.UNREADABLE, RECORDS, None, message)
                raise Unreadable from error
            measure.judge(self.findings)
            for file in csv.values():
                file.finish(self.findings)
                (self.unreadable if file.unreadable else self.compared).add(file.measure.listed.path)
            self._conclude()
            self._find_repeated_ids(source)

    def _chunks(self, source: Iterator[bytes], measure: Measure) -> Iterator[tuple[bytes, bool]]:
        """Divide the file at line ends, before top-level records where possible.

        Yields:
            whole lines (at the end of the file perhaps a part of one), and whether they begin with a top-level record.
        """
        held: list[bytes] = []
        size = 0
        is_aligned = True
        cut = 0
        for block in map(measure.update, source):
            held.append(block)
            size += len(block)
            if size < CHUNK_SIZE or (cut < 0 and b"\n" not in block and size <= RECORD_BYTES):
                continue  # what is held has no line end if there was nowhere to cut
            data = b"".join(held)
            cut = _before_top_level(data, self.checker.order.top)
            next_is_aligned = cut >= 0
            if cut < 0:
                cut = data.rfind(b"\n")
            if cut < 0 and size > RECORD_BYTES:
                message = f"A line has more than {RECORD_BYTES} bytes; the rest was not checked."
                self.findings.add(codes.LINE_TOO_LONG, RECORDS, None, message)
                for rest in source:
                    measure.update(rest)
                return
            if cut < 0:
                held = [data]
                continue
            yield data[: cut + 1], is_aligned
            is_aligned = next_is_aligned
            held = [data[cut + 1 :]]
            size = len(held[0])
        if size:
            yield b"".join(held), is_aligned

    def _divided(self, chunks: Iterator[tuple[bytes, bool]]) -> Iterator[tuple[bytes, bool]]:
        """Hand on what is read, and all of it but the last line to the chunker of the manifest record."""
        if self.chunker is None:
            yield from chunks
            return
        last_line = b""
        for data, is_aligned in chunks:
            start = data.rfind(b"\n", 0, len(data) - 1) + 1
            self.chunker.update(last_line)
            self.chunker.update(data[:start])
            last_line = data[start:]
            yield data, is_aligned
        self.chunker.finish()

    def _take(self, chunk: Chunk) -> None:
        """Add the result of the next chunk."""
        self.findings.merge(chunk.findings, self.lines)
        self.chain.update(chunk.links)
        leaves = chunk.leaves
        self.root.add(leaves[at : at + HASH_BYTES] for at in range(0, len(leaves), HASH_BYTES))
        for name, count in chunk.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        self.data_records += chunk.lines - len(chunk.manifests)
        for name, ids in chunk.ids.items():
            self.hashes[name].extend(map(hash, ids.split(b"\n")))
            if name in self.ids:
                self.ids[name].append(ids)
        for target, names in chunk.references.items():
            known = self.references.setdefault(target, {})
            for referred, line in names.items():
                known.setdefault(referred, line + self.lines)
        if chunk.first:
            first, line = chunk.first
            faults = self.checker.order.faults(self.last, first) if self.last else []
            for code, message in faults + self.checker.order.number_faults(self.last, first):
                self.findings.add(code, RECORDS, line + self.lines, message)
        self.last = chunk.last or self.last
        self.runs += [(line + self.lines, record) for line, record in chunk.runs]
        self.manifests += [(line + self.lines, record) for line, record in chunk.manifests]
        self.lines += chunk.lines

    def _conclude(self) -> None:
        """What only the whole file tells: chain, counts, references, the run and the manifest record."""
        manifest, add = self.manifest, self.findings.add
        final_hash = self.chain.hexdigest()
        if final_hash != manifest.final_hash:
            message = "final_hash of manifest.json is not the chain over the records of this file."
            add(codes.FINAL_HASH, RECORDS, None, message)
        if manifest.merkle_root is not None and self.root.value().hex() != manifest.merkle_root:
            message = "merkle.root of manifest.json is not the root of the tree over the records of this file."
            add(codes.MERKLE_ROOT, RECORDS, None, message)
        if self.data_records != manifest.record_count:
            message = f"There are {self.data_records} data records; manifest.json says {manifest.record_count}."
            add(codes.RECORD_COUNT, RECORDS, None, message)
        for name in self.contract.types:
            found, listed = self.counts.get(name, 0), manifest.record_counts.get(name, 0)
            if found != listed:
                message = f"There are {found} {name} records; manifest.json says {listed}."
                add(codes.RECORD_COUNT, RECORDS, None, message)
        self._resolve()
        self._check_run()
        self._check_manifest_record(final_hash)

    def _resolve(self) -> None:
        for target, names in self.references.items():
            unknown = set(names)
            for ids in self.ids[target]:
                unknown.difference_update(ids.split(b"\n"))
            for name in sorted(unknown, key=names.__getitem__):
                text = name.decode("utf-8", "replace")
                message = f"This record (the first that does) refers to the {target} {text:.80}, which is not there."
                self.findings.add(codes.REFERENCE, RECORDS, names[name], message)

    def _check_run(self) -> None:
        manifest, add = self.manifest, self.findings.add
        if not self.runs or self.runs[0][0] != 1:
            add(codes.RUN_RECORD, RECORDS, 1, "The first record is not the run's.")
        for line, _ in self.runs[1:]:
            add(codes.RUN_RECORD, RECORDS, line, "A second run record.")
        for line, record in self.runs[:1]:
            for name in RUN_FACTS:
                if record.get(name) != getattr(manifest, name):
                    add(codes.RUN_RECORD, RECORDS, line, f"{name} of the run is not what manifest.json says.")

    def _check_manifest_record(self, final_hash: str) -> None:
        manifest, add = self.manifest, self.findings.add
        is_wanted = manifest.signed or self.contract.always_manifest
        if is_wanted and not self.manifests:
            message = "There is no manifest record at the end; records may be cut off."
            add(codes.NO_MANIFEST_RECORD, RECORDS, None, message)
        for line, _ in self.manifests:
            if not is_wanted:
                message = "A manifest record in an export that is not signed."
                add(codes.MANIFEST_RECORD_PLACE, RECORDS, line, message)
            elif line != self.lines:
                add(codes.MANIFEST_RECORD_PLACE, RECORDS, line, "The manifest record is not the last line.")
        if not is_wanted or not self.manifests:
            return
        line, record = self.manifests[-1]
        facts: dict[str, tuple[object, str]] = {
            "record_count": (self.data_records, "the number of data records"),
            "final_hash": (final_hash, "the chain over the records"),
        }
        if self.chunker is None:
            facts["exported_at"] = (manifest.exported_at, "exported_at of manifest.json")
        for name, (value, meaning) in facts.items():
            if record.get(name) != value:
                add(codes.MANIFEST_RECORD, RECORDS, line, f"{name} of the manifest record is not {meaning}.")
        if self.chunker is not None:
            for message in self._derived_faults(self.chunker, record, final_hash):
                add(codes.MANIFEST_RECORD_DERIVED, RECORDS, line, message)

    def _derived_faults(self, chunker: Chunker, record: Record, final_hash: str) -> list[str]:
        """What in v071's manifest record is not what its own records give."""
        manifest = self.manifest
        if chunker.problem:
            return [chunker.problem]
        key_id, export_format = record.get("signature_key_id"), record.get("export_format")
        if not isinstance(key_id, str) or not isinstance(export_format, str):
            return []  # noted as the field's fault
        if not is_key_id(key_id, manifest.signed):
            return [f"signature_key_id is {key_id!r:.80}, which is not that of such an export."]
        run_id, status, completed_at = manifest.run_id, manifest.status, manifest.completed_at or ""
        source = ManifestSource(run_id, status, completed_at, final_hash, manifest.signed)
        known = manifest.export_config
        derived = [
            derive(chunker, one, source)
            for one in ([known] if known else configs(export_format, key_id, manifest.signed))
        ]
        # Whether error rows are raw, if manifest.json leaves that open, shows in the key.
        key = "registry_key_hash"
        wanted = next((one for one in derived if one[key] == record.get(key)), derived[0])
        return [
            f"{name} of the manifest record is not what the records and the run give."
            for name, value in sorted(wanted.items())
            if record.get(name) != value and name not in ("record_type", "run_id", "record_count", "final_hash")
        ]

    def _find_repeated_ids(self, source: Source) -> None:
        """Name the records whose id another record of the type has already.

        A 64-bit keyed hash of every id is kept, not the id. Where hashes are equal the file is read once more, and the
        ids themselves decide.
        """
        suspects = {name: found for name, hashes in self.hashes.items() if (found := _repeated(hashes))}
        if not suspects or self.findings.any_of(codes.LINE_TOO_LONG):
            return
        first: dict[tuple[str, bytes], int] = {}
        line_number = 0
        for data, _ in self._chunks(source.blocks(self.listed.size), Measure(self.listed)):
            for line in data.split(b"\n"):
                line_number += 1
                named = self.checker.identify(line) if line else None
                if not named or hash(named[1]) not in suspects.get(named[0], ()):
                    continue
                before = first.setdefault(named, line_number)
                if before != line_number:
                    text = named[1].decode("utf-8", "replace")
                    message = f"The {named[0]} {text:.80} has stood in line {before} already."
                    self.findings.add(codes.REPEATED_ID, RECORDS, line_number, message)
            line_number -= data.endswith(b"\n")


def _before_top_level(data: bytes, types: frozenset[bytes]) -> int:
    """The last line end before a record of one of these types; -1 when there is none.

    In canonical JSON only a key reads like this one, and nested in a record it occurs only in those that hold
    configuration, which are top-level records.
    """
    at = len(data)
    while (at := data.rfind(_TYPE, 0, at)) >= 0:
        start = at + len(_TYPE)
        name, is_whole, _ = data[start : start + 40].partition(b'"')
        if is_whole and name in types:
            return data.rfind(b"\n", 0, at)
    return -1


def _repeated(hashes: array[int]) -> set[int]:
    """The values that occur more than once; in buckets, so that the sets stay small."""
    found: set[int] = set()
    for bucket in range(_BUCKETS):
        seen: set[int] = set()
        some = [value for value in hashes if value % _BUCKETS == bucket]
        if len(set(some)) == len(some):
            continue
        for value in some:
            (found if value in seen else seen).add(value)
    return found
