"""The verification of an export log, and of the folder whose packages it speaks of.

Belongs here: checkpoints: who signed them, and that the log goes on from one that the auditor kept; and the proof of
one entry (docs/log.md). Does not belong here: the files of the log (`log_tree.py`), its packages (`log_packages.py`),
trees (`merkle.py`) and notes (`note.py`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime

from . import codes
from .folder import folder_name
from .log_packages import LogPackages, folder_of, named, read_entry
from .log_report import LogJudgement, LogReport
from .log_tree import CHECKPOINT, LogTree
from .merkle import is_included, leaf_hash, root_of, roots_at
from .note import Checkpoint, NoteFault, Witness, read_checkpoint, read_proof, require_signature
from .report import Check
from .signatures import PublicKey
from .timestamp import stamped_at

FOLDER = ".log"

_WITHOUT_EARLIER = (
    "No earlier checkpoint was given (--checkpoint): the newest packages may have been cut off, together with their "
    "entries, and that cannot be seen."
)


def verify_log(
    export_dir: str | os.PathLike[str],
    *,
    key: bytes | None = None,
    public_key: bytes | None = None,
    checkpoint: bytes | None = None,
    origin: str | None = None,
    witnesses: Sequence[str] = (),
    authority: bytes | None = None,
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
        authority: certificates of the authority whose time stamps are checked, PEM.
        packages: False to leave the files of packages unread: only manifests are compared then.

    Returns:
        The report; whatever is wrong is in it.

    Raises:
        UsageError: a key cannot be used.
    """
    public = None if public_key is None else PublicKey(public_key)
    known = [Witness.of(text) for text in witnesses]
    verification = _Verification(os.fspath(export_dir), public, known)
    verification.authority = authority
    verification.run(checkpoint, origin, {"key": key, "public_key": public_key} if packages else None)
    return verification.conclude(is_anchored=public is not None and verification.anchor > 0)


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


class _Verification(LogJudgement):
    def __init__(self, path: str, public: PublicKey | None, witnesses: list[Witness]) -> None:
        super().__init__(path)
        self.public, self.witnesses = public, witnesses
        self.authority: bytes | None = None
        self.anchor = 0

    def run(self, earlier: bytes | None, origin: str | None, keys: dict[str, bytes | None] | None) -> None:
        """Everything that there is to check of a log; of the files of packages, if there are keys for it."""
        log = os.path.join(self.path, FOLDER)
        data = self.bytes_of(os.path.join(log, CHECKPOINT), CHECKPOINT)
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
        tree = LogTree(log, head, self)
        tree.check()
        self.kept(head, tree)
        self.earlier(head, earlier, tree, origin)
        entries = [read_entry(self, number, entry) for number, entry in enumerate(tree.entries)]
        self.note("entries: form", codes.LOG_ENTRY, codes.ENTRY_TWICE, detail=f"{len(entries)} entries")
        packages = LogPackages(self.path, entries, self, self.public, keys or {})
        packages.check(contents=keys is not None)

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

    def kept(self, head: Checkpoint, tree: LogTree) -> None:
        """Whether the checkpoints that the log itself keeps are those that it had."""
        found: dict[int, tuple[str, Checkpoint]] = {}
        for path in tree.checkpoints:
            try:
                data = self.bytes_of(os.path.join(self.path, FOLDER, *path.split("/")), path)
                checkpoint = read_checkpoint(data or b"")
                if self.public is not None:
                    require_signature(checkpoint, self.public)
            except NoteFault as fault:
                self.add(codes.CHECKPOINT_SIGNATURE, path, None, f"The checkpoint {fault}.")
                continue
            if checkpoint.origin != head.origin or str(checkpoint.size) != path.rpartition("/")[2]:
                self.add(codes.CHECKPOINT_ORIGIN, path, None, "It is not the checkpoint of this log and this size.")
            elif checkpoint.size > head.size:
                self.cut(checkpoint.size, head.size)
            else:
                found[checkpoint.size] = path, checkpoint
        leaves = [one for one in tree.hashes if one is not None]
        if len(leaves) == head.size:
            for size, root in roots_at(leaves, set(found)):
                path, checkpoint = found[size]
                if checkpoint.root != root:
                    self.add(codes.LOG_FORKED, path, None, f"It is not the root of the first {size} entries.")
        self.timestamps(tree, {size: checkpoint for size, (_, checkpoint) in found.items()} | {head.size: head})
        checked = (codes.CHECKPOINT_SIGNATURE, codes.CHECKPOINT_ORIGIN, codes.LOG_CUT, codes.LOG_FORKED)
        self.note("checkpoints that the log keeps", *checked, detail=f"{len(tree.checkpoints)} checkpoints")

    def timestamps(self, tree: LogTree, checkpoints: dict[int, Checkpoint]) -> None:
        """Whether the time stamps are the authority's, over checkpoints of this log."""
        what, times = "time stamps of checkpoints", []
        if self.authority is None or not tree.timestamps:
            reason = "there are none" if not tree.timestamps else "no certificate of the authority was given"
            self.report.checks.append(Check(what, "not done", reason))
            if tree.timestamps:
                self.report.notices.append(
                    f"{len(tree.timestamps)} time stamps were NOT CHECKED: no certificate was given (--timestamp-ca)."
                )
            return
        for path in tree.timestamps:
            checkpoint = checkpoints.get(int(path.rpartition("/")[2].removesuffix(".tsr")))
            token = self.bytes_of(os.path.join(self.path, FOLDER, *path.split("/")), path)
            time = None if checkpoint is None or token is None else stamped_at(token, checkpoint.text, self.authority)
            if checkpoint is None or time is None:
                self.add(codes.TIMESTAMP, path, None, "It is not the authority's time stamp of this checkpoint.")
            else:
                times.append((checkpoint.size, time))
        times.sort()
        detail = f"{times[-1][0]} entries were there at {times[-1][1].isoformat()}" if times else ""
        self.note(what, codes.TIMESTAMP, detail=detail)

    def cut(self, before: int, now: int) -> None:
        """Note that entries were cut off."""
        message = f"The log had {before} entries, and has {now}: the entries {now + 1} to {before} were cut off."
        self.add(codes.LOG_CUT, CHECKPOINT, None, message)

    def earlier(self, head: Checkpoint, data: bytes | None, tree: LogTree, origin: str | None) -> None:
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
            self.cut(kept.size, head.size)
        else:
            self.anchor = min(kept.size, 1)
            self.report.notices.append(
                f"The earlier checkpoint is of {kept.size} entries: packages that were published since it was kept may "
                f"have been cut off, together with their entries, down to the {head.size} that are there."
            )
            hashes = [one for one in tree.hashes[: kept.size] if one is not None]
            if len(hashes) == kept.size and root_of(hashes) != kept.root:
                self.add(
                    codes.LOG_FORKED,
                    CHECKPOINT,
                    None,
                    f"The first {kept.size} entries are not those of the earlier checkpoint: the log was written anew.",
                )
        self.note(what, codes.LOG_CUT, codes.LOG_FORKED, codes.CHECKPOINT_ORIGIN, detail=f"{kept.size} entries")

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
        document = read_entry(self, proof.index, proof.entry)
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
            if folder_of(document) != folder_name(run_id):
                message = f"The entry is of {named(document)}, not of the run {run_id!r:.100}."
                self.add(codes.OTHER_RUN, "proof", proof.index, message)
            self.note("run_id", codes.OTHER_RUN)


def _moment(time: int) -> str:
    try:
        return datetime.fromtimestamp(time, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return f"{time} seconds after 1970"
