"""The verification of an export log, and of the folder whose packages it speaks of.

Belongs here: that log and folder agree, entry by entry, and that the log goes on from a checkpoint that the auditor
kept; and the proof of one entry (docs/log.md). Does not belong here: trees (`merkle.py`), notes (`note.py`), and
packages (`package.py`).
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from . import codes
from .canonical import JsonFault, canonical, parse
from .codes import Code, Status
from .folder import folder_name
from .limits import MANIFEST_BYTES, MAX_INTEGER
from .manifest import NAME, Manifest, read
from .merkle import is_included, leaf_hash, node_hash, root_of
from .note import Checkpoint, NoteFault, Witness, read_checkpoint, read_proof, require_signature
from .package import verify_package
from .report import Check, Findings, Report
from .signatures import PublicKey

FOLDER, SUPERSEDED = ".log", ".superseded"
CHECKPOINT, CHECKPOINTS = "checkpoint", "checkpoints"
WIDTH, HASH = 256, 32
KINDS = ("publication", "supersession", "existing")

NOT_PROVEN = (
    "A log shows that nothing was taken away since it was logged, not that everything was exported.",
    "A log that was cut can be told only by a checkpoint that was kept elsewhere.",
)
"""What no verdict on a log means."""

_MOST = 100_000_000
"""Bytes that are read of a file of the log at most: a bundle of the longest entries has a sixth of it."""
_HEX = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
_ENTRY_DEPTH = 1
_WITHOUT_EARLIER = (
    "No earlier checkpoint was given (--checkpoint): the newest packages may have been cut off, together with their "
    "entries, and that cannot be seen."
)


class LogReport(Report):
    """The result of verifying a log; `packages` has the reports of its packages that do not verify."""

    packages: Sequence[Report] = ()

    def to_text(self) -> str:
        """As for a package; CONSISTENT has another reason here."""
        text = super().to_text()
        if self.status is Status.CONSISTENT:
            head, _, rest = text.partition("\n")
            said = "CONSISTENT, but not shown to be whole: see the notices"
            text = head.rpartition(": ")[0] + ": " + said + "\n" + rest
        return "\n".join([text, *(one.to_text() for one in self.packages)])

    def as_dict(self) -> dict[str, object]:
        """As for a package, with the reports of packages that do not verify."""
        return {
            **super().as_dict(),
            "packages": [one.as_dict() for one in self.packages],
        }


def verify_log(
    export_dir: str | os.PathLike[str],
    *,
    key: bytes | None = None,
    public_key: bytes | None = None,
    checkpoint: bytes | None = None,
    origin: str | None = None,
    witnesses: Sequence[str] = (),
    packages: bool = True,
) -> LogReport:
    """Verify the log of an export folder, and all its packages.

    Args:
        export_dir: the folder.
        key: the HMAC key of the packages, as UTF-8 bytes.
        public_key: the Ed25519 public key of the log and the packages, PEM.
        checkpoint: an earlier checkpoint of the log, as the auditor kept it.
        origin: what the origin of the log must be.
        witnesses: keys of witnesses whose cosignatures are checked (`note.Witness.of`).
        packages: False to leave the files of packages unread: only manifests are compared then.

    Returns:
        The report; whatever is wrong is in it.

    Raises:
        UsageError: a key cannot be used.
    """
    public = None if public_key is None else PublicKey(public_key)
    known = [Witness.of(text) for text in witnesses]
    verification = _Verification(os.fspath(export_dir), public, known)
    verification.keys = {"key": key, "public_key": public_key}
    verification.run(checkpoint, origin, packages)
    return verification.conclude(is_anchored=public is not None and checkpoint is not None)


def verify_proof(
    path: str | os.PathLike[str],
    *,
    public_key: bytes | None = None,
    run_id: str | None = None,
    origin: str | None = None,
    witnesses: Sequence[str] = (),
) -> LogReport:
    """Verify a .tlog-proof file: that a package was logged.

    Args:
        path: the file.
        public_key, origin, witnesses: as for `verify_log`.
        run_id: when given, the package must be of this run.

    Raises:
        UsageError: a key cannot be used.
    """
    public = None if public_key is None else PublicKey(public_key)
    verification = _Verification(os.fspath(path), public, [Witness.of(text) for text in witnesses])
    data = verification.bytes_of(os.fspath(path), "proof")
    if data is not None:
        verification.proof(data, run_id, origin)
    return verification.conclude(is_anchored=public is not None)


class _Verification:
    def __init__(self, path: str, public: PublicKey | None, witnesses: list[Witness]) -> None:
        self.path, self.public, self.witnesses = path, public, witnesses
        self.log = os.path.join(path, FOLDER)
        self.findings = Findings()
        self.report = LogReport(path, Status.VERIFIED, not_proven=NOT_PROVEN)
        self.keys: dict[str, bytes | None] = {}

    def add(self, code: Code, file: str, number: int | None, message: str) -> None:
        """Note a finding; `number` is an entry's place, from 0, and is shown as its number from 1."""
        self.findings.add(code, file, None if number is None else number + 1, message)

    def note(self, name: str, *checked: Code, detail: str = "") -> None:
        """Note what was checked."""
        self.report.checks.append(Check(name, "failed" if self.findings.any_of(*checked) else "passed", detail))

    def conclude(self, *, is_anchored: bool) -> LogReport:
        """The report, with its verdict."""
        report, findings = self.report, self.findings
        statuses = {codes.CODES[code].status for code in findings.counts}
        statuses |= {one.status for one in report.packages if one.status is not Status.CONSISTENT}
        statuses.add(Status.VERIFIED if is_anchored else Status.CONSISTENT)
        report.status = max(statuses, key=lambda status: status.badness)
        report.findings = sorted(findings.kept, key=lambda one: (one.file, one.record or 0, one.code))
        for code, count in sorted(findings.counts.items()):
            listed = sum(one.code == code for one in findings.kept)
            if count > listed:
                report.omitted[code] = count - listed
        return report

    def bytes_of(self, path: str, shown: str) -> bytes | None:
        """A file, or None when it cannot be had, which is noted unless it is merely not there."""
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            with open(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    self.add(codes.UNREADABLE, shown, None, "This is not a regular file.")
                    return None
                data = file.read(_MOST + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.add(codes.UNREADABLE, shown, None, f"The file cannot be read: {error.strerror or error}.")
            return None
        if len(data) > _MOST:
            self.add(codes.LOG_FILE, shown, None, f"The file has more than {_MOST} bytes; it was not read.")
            return None
        return data

    def run(self, earlier: bytes | None, origin: str | None, packages: bool) -> None:
        """Everything that there is to check of a log."""
        data = self.bytes_of(os.path.join(self.log, CHECKPOINT), CHECKPOINT)
        if data is None:
            if not self.findings.counts:
                self.add(codes.NO_LOG, FOLDER, None, f"There is no {FOLDER}/{CHECKPOINT}: this folder has no log.")
            return
        head = self.checkpoint(data, CHECKPOINT, origin)
        if head is None:
            return
        self.report.facts |= {"origin": head.origin, "size": head.size, "root": head.root.hex()}
        if head.size == 0:
            self.add(codes.NO_LOG, CHECKPOINT, None, "The log has no entry.")
        entries = self.entries(head)
        self.tree(head, entries)
        self.earlier(head, earlier, entries, origin)
        documents = [self.entry(number, entry) for number, entry in enumerate(entries)]
        self.note("entries: form", codes.LOG_ENTRY, codes.ENTRY_TWICE, detail=f"{len(entries)} entries")
        self.folder(documents, packages)

    def checkpoint(self, data: bytes, file: str, origin: str | None) -> Checkpoint | None:
        """A checkpoint, with its signatures checked; None when nothing can be said with it."""
        try:
            checkpoint = read_checkpoint(data)
        except NoteFault as fault:
            self.add(codes.CHECKPOINT, file, None, f"The checkpoint {fault}.")
            return None
        if origin is not None and checkpoint.origin != origin:
            message = f"The checkpoint is of the log {checkpoint.origin!r:.100}, not of {origin!r:.100}."
            self.add(codes.CHECKPOINT_ORIGIN, file, None, message)
        what = f"signature of the {file}"
        if self.public is None:
            self.report.checks.append(Check(what, "not done", "no public key was given"))
        else:
            try:
                require_signature(checkpoint, self.public)
            except NoteFault as fault:
                self.add(codes.CHECKPOINT_SIGNATURE, file, None, f"The checkpoint {fault}.")
            self.note(what, codes.CHECKPOINT_SIGNATURE, codes.CHECKPOINT_ORIGIN)
        self.cosignatures(checkpoint, file)
        return checkpoint

    def cosignatures(self, checkpoint: Checkpoint, file: str) -> None:
        """What witnesses say of a checkpoint."""
        for witness in self.witnesses:
            what = f"cosignature of {witness.name} on the {file}"
            try:
                time = witness.time_of(checkpoint)
            except NoteFault as fault:
                self.add(codes.COSIGNATURE, file, None, f"The checkpoint {fault}.")
                self.report.checks.append(Check(what, "failed"))
                continue
            if time is None:
                self.report.checks.append(Check(what, "not done", "there is none"))
            else:
                self.report.checks.append(Check(what, "passed", _moment(time)))
        names = {witness.name for witness in self.witnesses}
        others = {one.name for one in checkpoint.signatures} - names - {checkpoint.origin}
        for name in sorted(others):
            self.report.notices.append(
                f"The {file} has a signature of {name!r:.100}, which was NOT CHECKED: no key of it was given "
                "(--witness)."
            )

    def entries(self, head: Checkpoint) -> list[bytes | None]:
        """Every entry that the checkpoint speaks of; None where it cannot be had."""
        entries: list[bytes | None] = []
        bundles = [
            _index(path) for path in _files(self.log) if path.startswith("tile/entries/") and _TILE.fullmatch(path)
        ]
        present = max(bundles, default=-1) + 1  # the size may be any number, when nobody signed it
        for index in range(min(-(-head.size // WIDTH), present)):
            width = min(WIDTH, head.size - index * WIDTH)
            path, data = self.tile("entries", index, width)
            some = [] if data is None else _split(data)
            if data is None:
                self.missing(path, index * WIDTH, index * WIDTH + width)
            elif len(some) not in (width, WIDTH):
                self.add(codes.LOG_FILE, path, None, f"The file does not hold {width} entries with their lengths.")
            entries += [*some[:width], *[None] * (width - len(some))]
        if len(entries) < head.size:
            self.missing("tile/entries", len(entries), head.size)
        return entries

    def missing(self, path: str, start: int, end: int) -> None:
        """Note entries that are not there."""
        self.add(codes.LOG_FILE_MISSING, path, None, f"The entries {start + 1} to {end} are missing.")

    def tile(self, kind: str, index: int, width: int) -> tuple[str, bytes | None]:
        """A tile or bundle of so many; a full one serves for a partial one, which may have been removed."""
        whole = f"tile/{kind}/{_number(index)}"
        path = whole if width == WIDTH else f"{whole}.p/{width}"
        data = self.bytes_of(os.path.join(self.log, *path.split("/")), path)
        if data is None and path != whole:
            data = self.bytes_of(os.path.join(self.log, *whole.split("/")), whole)
        return path, data

    def tree(self, head: Checkpoint, entries: list[bytes | None]) -> None:
        """The tree over the entries, against the tiles, and against the checkpoint."""
        hashes: list[bytes | None] = [None if entry is None else leaf_hash(entry) for entry in entries]
        level, nodes = 0, hashes
        while nodes:
            above: list[bytes | None] = []
            for index in range(-(-len(nodes) // WIDTH)):
                some = nodes[index * WIDTH : index * WIDTH + WIDTH]
                path, data = self.tile(str(level), index, len(some))
                if data is None:
                    self.add(codes.LOG_FILE_MISSING, path, None, f"The hashes of level {level} in it are missing.")
                elif len(data) not in (HASH * len(some), HASH * WIDTH):
                    self.add(codes.LOG_FILE, path, None, f"The file does not hold {len(some)} hashes.")
                else:
                    self.compare(path, level, index * WIDTH, some, data)
                if len(some) == WIDTH:
                    whole = [one for one in some if one is not None]
                    above.append(_subtree(whole) if len(whole) == WIDTH else None)
            level, nodes = level + 1, above
        whole = [one for one in hashes if one is not None]
        if len(whole) != head.size:
            self.add(codes.LOG_FILE_MISSING, CHECKPOINT, None, "The root cannot be made, because entries are missing.")
        elif root_of(whole) != head.root:
            self.add(codes.LOG_ROOT, CHECKPOINT, None, "The tree over the entries does not have the checkpoint's root.")
        self.others(head)
        detail = f"{head.size} entries"
        self.note(
            "tree over all entries",
            codes.LOG_FILE_MISSING,
            codes.LOG_FILE,
            codes.LOG_ROOT,
            codes.LOG_FILE_UNKNOWN,
            detail=detail,
        )
        self.hashes = hashes

    def compare(self, path: str, level: int, first: int, wanted: list[bytes | None], data: bytes) -> None:
        """The hashes of a tile with those of the entries; those that differ are named."""
        for at, one in enumerate(wanted):
            if one is None or data[at * HASH : at * HASH + HASH] == one:
                continue
            if level == 0:
                message = "The entry is not the one of which the tile has the hash: it was changed, or moved."
                self.add(codes.LOG_FILE, "entries", first + at, message)
            else:
                self.add(codes.LOG_FILE, path, None, f"Hash {at} of the tile is not that of what is below it.")

    def others(self, head: Checkpoint) -> None:
        """What else is in the log's folder: earlier checkpoints, earlier partial tiles, what a crash left."""
        left = 0
        for path in _files(self.log):
            if path == CHECKPOINT or path.startswith(CHECKPOINTS + "/"):
                continue
            if _TILE.fullmatch(path):
                left += _is_beyond(path, head.size)
            elif os.path.basename(path).startswith(".") and path.endswith(".new"):
                left += 1
            else:
                self.add(codes.LOG_FILE_UNKNOWN, path, None, "This is not a file of the log.")
        if left:
            self.report.notices.append(
                f"{left} files of the log are beyond its checkpoint: left by an append that did not finish. Nothing "
                f"speaks of them, and the next append overwrites them."
            )

    def earlier(self, head: Checkpoint, data: bytes | None, entries: list[bytes | None], origin: str | None) -> None:
        """Whether the log goes on from the checkpoint that the auditor kept."""
        what = "the earlier checkpoint is the beginning of the log"
        if data is None:
            self.report.checks.append(Check(what, "not done", "no earlier checkpoint was given"))
            self.report.notices.append(_WITHOUT_EARLIER)
            return
        kept = self.checkpoint(data, "earlier checkpoint", origin)
        if kept is None:
            return
        if kept.origin != head.origin:
            message = f"The earlier checkpoint is of the log {kept.origin!r:.100}; this one is {head.origin!r:.100}."
            self.add(codes.CHECKPOINT_ORIGIN, "earlier checkpoint", None, message)
        elif kept.size > head.size:
            self.add(
                codes.LOG_CUT,
                CHECKPOINT,
                None,
                f"The log had {kept.size} entries, and has {head.size}: the entries {head.size + 1} to {kept.size} "
                "were cut off.",
            )
        else:
            hashes = [one for one in self.hashes[: kept.size] if one is not None]
            if len(hashes) == kept.size and root_of(hashes) != kept.root:
                self.add(
                    codes.LOG_FORKED,
                    CHECKPOINT,
                    None,
                    f"The first {kept.size} entries are not those of the earlier checkpoint: the log was written anew.",
                )
        self.note(what, codes.LOG_CUT, codes.LOG_FORKED, codes.CHECKPOINT_ORIGIN, detail=f"{kept.size} entries")

    def entry(self, number: int, data: bytes | None) -> dict[str, Any] | None:
        """An entry as data; None when it cannot be relied on."""
        if data is None:
            return None
        try:
            value = parse(data, _ENTRY_DEPTH)
        except JsonFault as fault:
            self.add(codes.LOG_ENTRY, "entries", number, f"The entry {fault}.")
            return None
        if not isinstance(value, dict) or canonical(value) != data or not _is_entry(value):
            self.add(codes.LOG_ENTRY, "entries", number, "The entry is not canonical JSON with the keys of its kind.")
            return None
        return value

    def folder(self, documents: list[dict[str, Any] | None], packages: bool) -> None:
        """Each entry has its package, and each package its entry."""
        places: dict[str, int] = {}
        last: dict[str, int] = {}
        for number, document in enumerate(documents):
            if document is None:
                continue
            sha256 = document["manifest_sha256"]
            if sha256 in places:
                message = f"The package of {_run(document)} was logged as number {places[sha256] + 1} already."
                self.add(codes.ENTRY_TWICE, "entries", number, message)
            places.setdefault(sha256, number)
            last[_folder_of(document)] = number
        found = 0
        accounted: set[str] = set()
        reports = []
        for path, name, is_superseded in self.packages():
            shown = os.path.relpath(path, self.path).replace(os.sep, "/")
            manifest_path = os.path.join(path, NAME)
            data = self.bytes_of(manifest_path, f"{shown}/{NAME}")
            if data is None:
                continue  # it is not a package; an entry of it is noted as missing below
            found += 1
            sha256 = hashlib.sha256(data).hexdigest()
            number = places.get(sha256)
            manifest = read(data, Findings()) if len(data) <= MANIFEST_BYTES else None
            if number is None:
                run = "an unreadable manifest" if manifest is None else f"the run {manifest.run_id!r:.100}"
                self.add(
                    codes.NO_ENTRY,
                    shown,
                    None,
                    f"The package of {run}, with the manifest {sha256}, is not in the log: its manifest was changed, "
                    "or it was never logged.",
                )
            else:
                accounted.add(sha256)
                document = documents[number]
                assert document is not None  # it has a place
                self.same(number, document, manifest, name)
                if not is_superseded and name in last and documents[last[name]] != document:
                    message = f"It is in the place of {_run(document)}, but a later entry is of another package of it."
                    self.add(codes.ENTRY_ORDER, "entries", number, message)
            if packages:
                reports.append(self.verified(path, manifest, number))
        for sha256, number in places.items():
            if sha256 not in accounted:
                document = documents[number]
                assert document is not None  # it has a place
                message = f"The package of {_run(document)}, with the manifest {sha256}, is missing."
                self.add(codes.NO_PACKAGE, "entries", number, message)
        self.note(
            "every entry has its package, every package its entry",
            codes.NO_PACKAGE,
            codes.NO_ENTRY,
            codes.ENTRY_PACKAGE,
            codes.ENTRY_ORDER,
            codes.LOG_ENTRY,
            detail=f"{found} packages",
        )
        self.report.facts["packages"] = found
        if packages:
            self.report.packages = [one for one in reports if one is not None]
            self.note("every package verifies", codes.LOGGED_PACKAGE, detail=f"{found} packages")
        else:
            self.report.checks.append(Check("every package verifies", "not done", "only manifests were asked for"))

    def packages(self) -> Iterator[tuple[str, str, bool]]:
        """Folder, name, and whether it was superseded, of whatever may be a package."""
        for name in self.names(self.path):
            if not name.startswith("."):
                yield os.path.join(self.path, name), name, False
        superseded = os.path.join(self.path, SUPERSEDED)
        for time in self.names(superseded):
            for name in self.names(os.path.join(superseded, time)):
                yield os.path.join(superseded, time, name), name, True

    def names(self, folder: str) -> list[str]:
        """What is in a folder; nothing where there is none."""
        try:
            return sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            shown = os.path.relpath(folder, self.path).replace(os.sep, "/")
            self.add(codes.UNREADABLE, shown, None, f"The folder cannot be read: {error.strerror or error}.")
            return []

    def same(self, number: int, document: dict[str, Any], manifest: Manifest | None, name: str) -> None:
        """Whether an entry says what the manifest says."""
        if manifest is None:
            return  # the package does not verify
        said = [document["final_hash"], int(document["record_count"]), document["exported_at"], _folder_of(document)]
        is_so = [manifest.final_hash, manifest.record_count, manifest.exported_at, folder_name(manifest.run_id)]
        if said != is_so or name != said[-1]:
            message = f"The entry of {_run(document)} does not say what the manifest of its package says."
            self.add(codes.ENTRY_PACKAGE, "entries", number, message)

    def verified(self, path: str, manifest: Manifest | None, number: int | None) -> Report | None:
        """The report of a package that does not verify."""
        keys = dict(self.keys)
        if manifest is not None and number is not None:
            # Its manifest is vouched for by the log: a package of another time may have another key, or none.
            if self.public is not None and manifest.public_key_id != self.public.id:
                keys["public_key"] = None
                self.report.notices.append(
                    f"Number {number + 1}, {manifest.run_id!r:.100}, is not signed with the public key: that its "
                    f"manifest is the exporter's is shown by the log alone."
                )
            if not manifest.signed:
                keys["key"] = None
        report = verify_package(path, **keys, processes=1)
        if report.status in (Status.VERIFIED, Status.CONSISTENT):
            return None
        run = "an unreadable run" if report.run_id is None else f"the run {report.run_id!r:.100}"
        self.add(codes.LOGGED_PACKAGE, "entries", number, f"The package of {run} does not verify: see below.")
        return report

    def proof(self, data: bytes, run_id: str | None, origin: str | None) -> None:
        """The proof of one entry."""
        try:
            proof = read_proof(data)
        except NoteFault as fault:
            self.add(codes.LOG_PROOF, "proof", None, f"The file {fault}.")
            return
        note = data.partition(b"\n\n")[2]
        checkpoint = self.checkpoint(note, CHECKPOINT, origin)
        if checkpoint is None or proof.entry is None:
            self.add(codes.LOG_PROOF, "proof", None, "The file does not hold the entry that it is about.")
            return
        if not is_included(leaf_hash(proof.entry), proof.index, checkpoint.size, proof.path, checkpoint.root):
            message = "The proof does not lead from the entry, at this place, to the checkpoint's root."
            self.add(codes.LOG_PROOF, "proof", proof.index, message)
        document = self.entry(proof.index, proof.entry)
        self.note("inclusion proof of the entry", codes.LOG_PROOF, codes.LOG_ENTRY)
        if document is None:
            return
        self.report.run_id = document.get("run_id")
        self.report.facts |= {"origin": checkpoint.origin, "size": checkpoint.size, "number": proof.index + 1}
        self.report.facts |= {name: value for name, value in document.items() if name != "run_id"}
        self.report.notices.append(
            f"The package that was logged has the manifest.json with the SHA-256 {document['manifest_sha256']}; "
            f"compare it with that of the package in hand."
        )
        if run_id is not None:
            if _folder_of(document) != folder_name(run_id):
                message = f"The entry is of {_run(document)}, not of the run {run_id!r:.100}."
                self.add(codes.OTHER_RUN, "proof", proof.index, message)
            self.note("run_id", codes.OTHER_RUN)


_TILE = re.compile(r"tile/(?:entries|0|[1-9][0-9]?)/(?:x[0-9]{3}/)*[0-9]{3}(?:\.p/[1-9][0-9]{0,2})?")


def _is_beyond(path: str, size: int) -> bool:
    """Whether a tile is of a log with more entries than that."""
    kind, _, rest = path.removeprefix("tile/").partition("/")
    width = rest.partition(".p/")[2]
    level = 0 if kind == "entries" else int(kind)
    return (_index(path) * WIDTH + (int(width) if width else WIDTH)) * WIDTH**level > size


def _number(index: int) -> str:
    """An index as the path of a tile has it."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03d}")
    return "/".join(groups)


def _index(path: str) -> int:
    """The index of a tile or bundle."""
    number = path.removeprefix("tile/").partition("/")[2].partition(".p/")[0]
    return int(number.replace("/", "").replace("x", ""))


def _split(data: bytes) -> list[bytes]:
    """The entries of a bundle; none when lengths and bytes do not agree."""
    entries, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        if at + 2 + length > len(data):
            return []
        entries.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    return entries


def _subtree(hashes: list[bytes]) -> bytes:
    """The node above as many hashes as a tile has."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]


def _files(folder: str) -> Iterator[str]:
    """Every path below a folder that is not a folder, with `/`."""
    for where, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(where, name), folder).replace(os.sep, "/")


def _is_entry(value: dict[str, Any]) -> bool:
    required = {"kind", "manifest_sha256", "final_hash", "record_count", "exported_at"}
    named = {"run_id", "folder"} & value.keys()
    more = {"replaced"} & value.keys()
    count = value.get("record_count")
    return (
        value.keys() == required | named | more
        and len(named) == 1
        and all(isinstance(value[name], str) for name in (*named, "kind", "exported_at", *more))
        and value["kind"] in KINDS
        and (bool(more) or value["kind"] != "supersession")
        and (not more or value["kind"] != "publication")
        and all(
            isinstance(value[name], str) and _HEX.fullmatch(value[name])
            for name in ("manifest_sha256", "final_hash", *more)
        )
        and _TIME.fullmatch(value["exported_at"]) is not None
        and isinstance(count, float)
        and count.is_integer()
        and 0 <= count <= MAX_INTEGER
    )


def _folder_of(document: dict[str, Any]) -> str:
    return str(document["folder"]) if "folder" in document else folder_name(document["run_id"])


def _run(document: dict[str, Any]) -> str:
    """The run of an entry, for a message."""
    return f"the run {document['run_id']!r:.100}" if "run_id" in document else f"the folder {document['folder']!r:.250}"


def _moment(time: int) -> str:
    try:
        return datetime.fromtimestamp(time, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return f"{time} seconds after 1970"
