"""The verification of one package, from the first look to the verdict.

Belongs here: which check comes after which, and what a report says about each. Does not belong here: the checks
themselves.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress

from . import codes
from .codes import Status
from .folder import STAGING, Folder, Measure, Unreadable, folder_name, may_open, opened, survey
from .limits import MANIFEST_BYTES, SIGNATURE_BYTES
from .manifest import NAME, RECORDS, REPORT, SIGNATURE_NAME, Listed, Manifest, judge_manifest
from .records_file import RecordsFile
from .report import Check, Findings, Report
from .signatures import HmacKey, PublicKey, UsageError
from .timestamp import stamped_at

__all__ = ["UsageError", "verify_package"]


def verify_package(
    path: str | os.PathLike[str],
    *,
    key: bytes | None = None,
    public_key: bytes | None = None,
    run_id: str | None = None,
    processes: int | None = None,
    timestamp: bytes | None = None,
    authority: bytes | None = None,
) -> Report:
    """Verify one package.

    Args:
        path: the package's folder.
        key: the HMAC key as UTF-8 bytes. When given, the package must be signed with it.
        public_key: an Ed25519 public key, PEM. When given, manifest.json.sig must be its signature.
        run_id: when given, the package must be of this run.
        processes: how many check records.jsonl; None for as many as there are processors, when it is worth it. They
            are spawned: a program that calls this must guard its entry point, as `multiprocessing` asks. 1 needs none.
        timestamp: a time stamp (RFC 3161, DER) over manifest.json. When given, it must be the authority's.
        authority: certificates of the authority that are trusted, PEM; needed with `timestamp`.

    Returns:
        The report; its status is the verdict. Whatever is wrong with the package is in it, never an exception.

    Raises:
        UsageError: a key cannot be used; a time stamp is given without certificates; or there is no `openssl` for it.
    """
    if timestamp is not None and authority is None:
        raise UsageError("A time stamp is verified by the certificates of its authority: give them with it.")
    stamp = None if timestamp is None or authority is None else (timestamp, authority)
    return _Verification(path, key, public_key, run_id, processes, stamp).run()


class _Verification:
    def __init__(
        self,
        path: str | os.PathLike[str],
        key: bytes | None,
        public_key: bytes | None,
        run_id: str | None,
        processes: int | None,
        stamp: tuple[bytes, bytes] | None,
    ) -> None:
        self.path = os.fspath(path)
        self.root = os.path.realpath(self.path)
        self.key = key
        self.hmac = None if key is None else HmacKey(key)
        self.public_key = None if public_key is None else PublicKey(public_key)
        self.run_id = run_id
        self.processes = processes
        self.stamp = stamp
        self.findings = Findings()
        self.checks: list[Check] = []
        self.report = Report(self.path, Status.VERIFIED)

    def run(self) -> Report:
        try:
            self.steps()
        except Unreadable:
            pass  # noted where it happened
        except OSError as error:
            self.findings.add(codes.UNREADABLE, ".", None, f"The package cannot be read: {error.strerror or error}.")
        return self.conclude()

    def steps(self) -> None:
        parts = self.root.split(os.sep)
        if STAGING in parts or parts[-1].startswith("."):
            self.findings.add(
                codes.STAGING, ".", None, "This is, or is in, a folder of the exporter's own, not an export."
            )
            return
        try:
            package = Folder(self.root)
        except (FileNotFoundError, NotADirectoryError):
            self.findings.add(codes.UNREADABLE, ".", None, "There is no such folder.")
            return
        try:
            self.judge(package)
        finally:
            package.close()

    def judge(self, package: Folder) -> None:
        data = self.read_small(package, NAME, MANIFEST_BYTES)
        if data is None:
            return
        self.report.facts["manifest_sha256"] = hashlib.sha256(data).hexdigest()
        manifest = judge_manifest(data, self.findings)
        self.note("form of manifest.json", *(code for code in codes.CODES.values() if "E101" <= code.id <= "E113"))
        if manifest is None:
            self.skip("everything else", "manifest.json cannot be relied on for it")
            return
        self.report.run_id = manifest.run_id
        self.report.facts |= {
            "contract": manifest.contract,
            "record_count_of_manifest": manifest.record_count,
            "files": len(manifest.files),
            "bytes": sum(listed.size for listed in manifest.files),
            "key_id": manifest.key_id,
            "public_key_id": manifest.public_key_id,
            "exported_at": manifest.exported_at,
        }
        self.check_signature(manifest)
        self.check_public_signature(package, manifest, data)
        self.check_timestamp(data)
        self.check_names(manifest)
        self.check_files(package, manifest)

    def read_small(self, package: Folder, name: str, limit: int) -> bytes | None:
        """A file at the top of the folder, or its first bytes up to one more than `limit`; None when it is not to be
        had.

        What is wrong with manifest.json is noted here; what is wrong with another file, by the survey of the folder.
        """
        try:
            seen = package.look(name)
        except FileNotFoundError:
            if name == NAME:
                self.findings.add(
                    codes.NO_MANIFEST, NAME, None, "There is no manifest.json: this is not a complete export."
                )
            return None
        if not may_open(name, seen, self.findings):
            return None
        with opened(package, name, seen, self.findings) as source:
            data = b"".join(source.blocks(limit))
        if len(data) > limit and name == NAME:
            self.findings.add(
                codes.MANIFEST_SIZE, NAME, None, f"manifest.json has more than {limit} bytes; it was not read."
            )
            return None
        return data

    def check_signature(self, manifest: Manifest) -> None:
        what = "HMAC-SHA256 signature of manifest.json"
        if self.hmac is None:
            reason = "no key was given" if manifest.signed else "not signed, and no key was given"
            self.skip(what, reason)
            return
        if not manifest.signed:
            self.findings.add(codes.UNSIGNED, NAME, None, "A key was given, but the package is not signed.")
        elif self.hmac.hex(manifest.unsigned_form) != manifest.signature:
            self.findings.add(
                codes.SIGNATURE,
                NAME,
                None,
                "The signature is not the given key's: manifest.json was changed, or signed with another key "
                f"(it names the key {manifest.key_id!r:.80}; the key given is by default {self.hmac.default_id!r}).",
            )
        self.note(what, codes.UNSIGNED, codes.SIGNATURE)

    def check_public_signature(self, package: Folder, manifest: Manifest, data: bytes) -> None:
        what = "Ed25519 signature of manifest.json"
        signature, unreadable = None, False
        try:
            if manifest.public_key_id:
                signature = self.read_small(package, SIGNATURE_NAME, SIGNATURE_BYTES)
        except Unreadable:
            unreadable = True
        if signature is not None and len(signature) != SIGNATURE_BYTES:
            self.findings.add(
                codes.PUBLIC_SIGNATURE_SIZE, SIGNATURE_NAME, None, "The signature does not have 64 bytes."
            )
        if self.public_key is None:
            if signature is not None:
                self.report.notices.append(
                    f"{SIGNATURE_NAME} is there, but it was NOT CHECKED, because no public key was given "
                    "(--public-key): that it is the exporter's, and unchanged, is not shown."
                )
            there = f", and {SIGNATURE_NAME} is there" if signature is not None else ""
            self.skip(what, f"no public key was given{there}")
            return
        if signature is None and not unreadable:
            self.findings.add(
                codes.NO_PUBLIC_SIGNATURE,
                SIGNATURE_NAME,
                None,
                "A public key was given, but the package has no such signature.",
            )
        elif manifest.public_key_id != self.public_key.id:
            self.findings.add(
                codes.OTHER_PUBLIC_KEY,
                NAME,
                None,
                f"The package names the public key {manifest.public_key_id}; the one given is {self.public_key.id}.",
            )
        if (
            signature is not None
            and len(signature) == SIGNATURE_BYTES
            and not self.public_key.verifies(signature, data)
        ):
            self.findings.add(
                codes.PUBLIC_SIGNATURE,
                SIGNATURE_NAME,
                None,
                "This is not the given key's signature of manifest.json: it was changed, or signed with another key.",
            )
        self.note(
            what,
            codes.UNREADABLE,
            codes.NO_PUBLIC_SIGNATURE,
            codes.OTHER_PUBLIC_KEY,
            codes.PUBLIC_SIGNATURE,
            codes.PUBLIC_SIGNATURE_SIZE,
        )

    def check_timestamp(self, data: bytes) -> None:
        if self.stamp is None:
            return
        token, authority = self.stamp
        time = stamped_at(token, data, authority)
        if time is None:
            self.findings.add(
                codes.MANIFEST_TIMESTAMP,
                NAME,
                None,
                "The time stamp is not one of the authority's over manifest.json: manifest.json was changed, or the "
                "time stamp, or it is another authority's or another package's.",
            )
        detail = "" if time is None else f"manifest.json was there at {time.isoformat()}"
        self.note("time stamp of manifest.json", codes.MANIFEST_TIMESTAMP, detail=detail)

    def check_names(self, manifest: Manifest) -> None:
        if self.run_id is not None:
            if self.run_id != manifest.run_id:
                self.findings.add(
                    codes.OTHER_RUN,
                    NAME,
                    None,
                    f"The package is of the run {manifest.run_id!r:.80}, not of {self.run_id!r:.80}.",
                )
            self.note("run_id", codes.OTHER_RUN)
        name, wanted = os.path.basename(self.root), folder_name(manifest.run_id)
        if name != wanted:
            self.findings.add(
                codes.FOLDER_NAME,
                ".",
                None,
                f"The folder is called {name!r:.220}, but a package of its run is called {wanted!r}. A package that "
                "was renamed must be given its name back before it is verified.",
            )
        self.note("folder name", codes.FOLDER_NAME)

    def check_files(self, package: Folder, manifest: Manifest) -> None:
        findings = self.findings
        seen = survey(package, manifest.files, manifest.public_key_id is not None, findings)
        records = manifest.file(RECORDS)
        done: set[str] = set()
        file: RecordsFile | None = None
        unreadable = False
        if records is not None and RECORDS in seen:
            file = RecordsFile(package, records, manifest, self.key, seen, findings, self.processes)
            try:
                file.check()
            except Unreadable:
                unreadable = True
            done = {RECORDS, *file.compared, *file.unreadable}
        for listed in manifest.files:
            if listed.path in seen and listed.path not in done:
                with suppress(Unreadable):  # noted where it happened
                    self.measure(package, listed, seen[listed.path])
        self.note(
            "files: exactly those listed, with their sizes and SHA-256",
            codes.UNREADABLE,
            *(code for code in codes.CODES.values() if code.id.startswith("E2")),
            detail=f"{len(manifest.files)} files",
        )
        self.report_records(manifest, file, unreadable)

    def measure(self, package: Folder, listed: Listed, seen: os.stat_result) -> None:
        measure = Measure(listed)
        with opened(package, listed.path, seen, self.findings) as source:
            for block in source.blocks(listed.size):
                measure.update(block)
        measure.judge(self.findings)

    def report_records(self, manifest: Manifest, file: RecordsFile | None, unreadable: bool) -> None:
        what = "records: form, fields, rules, order, references, counts, chain"
        csv = [listed for listed in manifest.files if listed.path.startswith("csv/")]
        parquet = [listed for listed in manifest.files if listed.path.startswith("parquet/")]
        if file is None:
            listed = manifest.file(RECORDS) is not None
            reason = (
                "records.jsonl cannot be read" if listed else "records.jsonl is not among the formats of this export"
            )
            self.skip(what, f"{reason}; only the manifest and the files' SHA-256 were checked")
            if csv:
                self.skip("CSV files against the records", reason)
        else:
            self.report.record_count = file.data_records
            record_codes = [code for code in codes.CODES.values() if code.id.startswith("E3")]
            detail = f"{file.data_records} data records"
            reason = "records.jsonl could not be read to the end"
            if unreadable:
                self.skip(what, reason)
            else:
                self.note(what, *(code for code in record_codes if code is not codes.RECORD_SIGNATURE), detail=detail)
            signatures = "HMAC-SHA256 signature of every record"
            if self.hmac is None or not manifest.signed:
                self.skip(signatures, "no key was given" if manifest.signed else "not signed")
            elif unreadable:
                self.skip(signatures, reason)
            else:
                self.note(
                    signatures,
                    codes.LINE_TOO_LONG,
                    codes.RECORD_SIGNATURE,
                    codes.RECORD_UNSIGNED,
                    detail=detail,
                )
            compared = "CSV files are what the records give"
            if len(file.compared) < len(csv) and not self.findings.any_of(codes.CSV):
                self.skip(compared, f"{len(file.compared)} of {len(csv)} files could be compared")
            elif csv:
                self.note(compared, codes.CSV, detail=f"{len(csv)} files")
        if manifest.elspeth_snapshots:
            reason = f"{manifest.elspeth_snapshots} listed in manifest.json; they rest on the audit database"
            self.skip("comparisons with ELSPETH's own exports", reason)
        if manifest.file(REPORT) is not None:
            self.skip("content of report.html", "it is a derived view; only its size and SHA-256 are checked")
        if parquet:
            self.skip("content of Parquet files", "only their size and SHA-256 are checked, as for every file")

    def note(self, name: str, *checked: codes.Code, detail: str = "") -> None:
        self.checks.append(Check(name, "failed" if self.findings.any_of(*checked) else "passed", detail))

    def skip(self, name: str, reason: str) -> None:
        self.checks.append(Check(name, "not done", reason))

    def conclude(self) -> Report:
        proven = self.hmac is not None or self.public_key is not None
        self.report.conclude(self.findings, Status.VERIFIED if proven else Status.CONSISTENT)
        self.report.checks = self.checks
        return self.report
