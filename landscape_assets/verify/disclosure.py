"""The verification of a disclosure: some records of a package, each with the proof that it is one of them.

Belongs here: the file's form, and what must hold for it to prove something (docs/package.md, "Disclosures"). Does not
belong here: trees (`merkle.py`), manifests (`manifest.py`), and the form of records (`chunk.py`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from typing import Any

from . import codes
from .canonical import JsonFault, canonical, parse
from .chunk import Checker, Job
from .codes import Code, Status
from .limits import DISCLOSURE_BYTES, DISCLOSURE_DEPTH, MANIFEST_BYTES, RECORD_BYTES, SIGNATURE_BYTES
from .manifest import Manifest, judge_manifest
from .merkle import is_included, leaf_hash
from .report import Check, Findings, Report
from .signatures import HmacKey, PublicKey

FORMAT, VERSION = "landscape-disclosure", 1

FILE = "disclosure"
"""What findings call the file; their record is the line of records.jsonl."""

NOT_PROVEN = (
    "That these are all records on a matter cannot be seen from a disclosure: who made it chose them.",
    "A signature shows who exported the records, not that what they say is true.",
)
"""What no verdict on a disclosure means."""

_KEYS = {"format", "format_version", "manifest", "manifest_signature", "records"}
_RECORD_KEYS = {"index", "line", "proof"}
_HASH = re.compile(r"[0-9a-f]{64}")
_ABOUT_ONE_RECORD = re.compile(r"E30[1-5]|E31\d|E32\d")
"""The findings about a record that do not depend on those around it."""


def verify_disclosure(
    path: str | os.PathLike[str],
    *,
    key: bytes | None = None,
    public_key: bytes | None = None,
    run_id: str | None = None,
) -> Report:
    """Verify a disclosure.

    Args:
        path: the file.
        key: the HMAC key as UTF-8 bytes. When given, manifest and records must be signed with it.
        public_key: an Ed25519 public key, PEM. When given, the manifest must be signed with it.
        run_id: when given, the records must be of this run.

    Returns:
        The report; whatever is wrong with the file is in it.

    Raises:
        UsageError: a key cannot be used.
    """
    hmac = None if key is None else HmacKey(key)
    public = None if public_key is None else PublicKey(public_key)
    verification = _Verification(os.fspath(path), hmac, public, key, run_id)
    try:
        with open(path, "rb") as file:
            data = file.read(DISCLOSURE_BYTES + 1)
    except OSError as error:
        verification.add(codes.UNREADABLE, None, f"The file cannot be read: {error.strerror or error}.")
    else:
        verification.judge(data)
    return verification.conclude()


class _Verification:
    def __init__(
        self, path: str, hmac: HmacKey | None, public: PublicKey | None, key: bytes | None, run_id: str | None
    ) -> None:
        self.hmac, self.public, self.key, self.run_id = hmac, public, key, run_id
        self.findings = Findings()
        self.report = Report(path, Status.VERIFIED, not_proven=NOT_PROVEN)

    def add(self, code: Code, record: int | None, message: str) -> None:
        """Note a finding."""
        self.findings.add(code, FILE, record, message)

    def judge(self, data: bytes) -> None:
        """Everything that there is to check, from the outside in."""
        document = self.document(data)
        self.note("form of the disclosure", codes.DISCLOSURE_FORM)
        if document is None:
            return
        manifest = self.manifest(document["manifest"].encode("utf-8"))
        if manifest is None:
            return
        self.signatures(manifest, document)
        self.records(manifest, document["records"])

    def document(self, data: bytes) -> dict[str, Any] | None:
        """The file as JSON, when its form allows to go on."""
        if len(data) > DISCLOSURE_BYTES:
            self.add(codes.DISCLOSURE_FORM, None, f"The file has more than {DISCLOSURE_BYTES} bytes; it was not read.")
            return None
        try:
            value = parse(data, DISCLOSURE_DEPTH)
        except JsonFault as fault:
            self.add(codes.DISCLOSURE_FORM, None, f"The file {fault}.")
            return None
        if not isinstance(value, dict) or value.keys() != _KEYS:
            self.add(codes.DISCLOSURE_FORM, None, f"It is not an object with exactly the keys {_listed(_KEYS)}.")
            return None
        if (value["format"], value["format_version"]) != (FORMAT, VERSION) or value["format_version"] is True:
            self.add(
                codes.DISCLOSURE_FORM, None, f"It is not of the format {FORMAT} {VERSION}, which this verifier knows."
            )
            return None
        if canonical(value) != data:
            self.add(codes.DISCLOSURE_FORM, None, "It is JSON, but not in canonical form.")
        texts = (value["manifest"], value["manifest_signature"])
        if not all(isinstance(text, str) for text in texts) or not isinstance(value["records"], list):
            self.add(codes.DISCLOSURE_FORM, None, "manifest and manifest_signature must be texts, records an array.")
            return None
        if not all(map(_is_record, value["records"])):
            what = "an index, a line of text, and a proof of hashes in lower-case hex"
            self.add(codes.DISCLOSURE_FORM, None, f"Each of records must be an object with exactly {what}.")
            return None
        return value

    def manifest(self, data: bytes) -> Manifest | None:
        """The manifest, when records can be proved by it."""
        if len(data) > MANIFEST_BYTES:
            self.add(codes.MANIFEST_SIZE, None, f"The manifest has more than {MANIFEST_BYTES} bytes.")
            return None
        self.report.facts["manifest_sha256"] = hashlib.sha256(data).hexdigest()
        manifest = judge_manifest(data, self.findings)
        self.note("form of manifest.json", *(code for code in codes.CODES.values() if "E101" <= code.id <= "E113"))
        if manifest is None:
            return None
        self.report.run_id = manifest.run_id
        self.report.facts |= {
            "contract": manifest.contract,
            "record_count_of_manifest": manifest.record_count,
            "key_id": manifest.key_id,
            "public_key_id": manifest.public_key_id,
            "exported_at": manifest.exported_at,
        }
        if self.run_id is not None:
            if self.run_id != manifest.run_id:
                message = f"The records are of the run {manifest.run_id!r:.80}, not of {self.run_id!r:.80}."
                self.add(codes.OTHER_RUN, None, message)
            self.note("run_id", codes.OTHER_RUN)
        if not manifest.signed or manifest.merkle_root is None or manifest.public_key_id is None:
            self.add(
                codes.DISCLOSURE_PACKAGE,
                None,
                "The manifest is not of a package that records can be disclosed from: signed, with a public key, and "
                "of format version 2.",
            )
            return None
        return manifest

    def signatures(self, manifest: Manifest, document: dict[str, Any]) -> None:
        """Who signed the manifest."""
        what = "Ed25519 signature of manifest.json"
        signature = _base64(document["manifest_signature"])
        if signature is None or len(signature) != SIGNATURE_BYTES:
            self.add(codes.PUBLIC_SIGNATURE_SIZE, None, "manifest_signature is not the base64 of 64 bytes.")
        elif self.public is not None and manifest.public_key_id != self.public.id:
            message = f"The manifest names the public key {manifest.public_key_id}; the one given is {self.public.id}."
            self.add(codes.OTHER_PUBLIC_KEY, None, message)
        elif self.public is not None and not self.public.verifies(signature, document["manifest"].encode("utf-8")):
            message = "It is not the given key's signature of the manifest: one of them was changed."
            self.add(codes.PUBLIC_SIGNATURE, None, message)
        if self.public is None:
            self.report.checks.append(Check(what, "not done", "no public key was given"))
            self.report.notices.append(
                "The signature of the manifest was NOT CHECKED, because no public key was given (--public-key): that "
                "it is the exporter's, and unchanged, is not shown."
            )
        else:
            self.note(what, codes.PUBLIC_SIGNATURE_SIZE, codes.OTHER_PUBLIC_KEY, codes.PUBLIC_SIGNATURE)
        what = "HMAC-SHA256 signature of manifest.json"
        if self.hmac is None:
            self.report.checks.append(Check(what, "not done", "no key was given"))
            return
        if self.hmac.hex(manifest.unsigned_form) != manifest.signature:
            self.add(codes.SIGNATURE, None, "The signature within the manifest is not the given key's.")
        self.note(what, codes.SIGNATURE)

    def records(self, manifest: Manifest, records: list[dict[str, Any]]) -> None:
        """Each record: its form, its place, its proof."""
        assert manifest.merkle_root is not None  # made sure of before
        root = bytes.fromhex(manifest.merkle_root)
        zoned = manifest.started_at.endswith("+00:00")
        job = Job(manifest.contract, manifest.run_id, manifest.signed, self.key, (), zoned, manifest.redacted)
        checker = Checker(job, fast=False)  # for a few records it costs more than it saves
        if not records:
            self.add(codes.DISCLOSURE_ORDER, None, "It holds no record.")
        before = -1
        for record in records:
            index, line = int(record["index"]), record["line"].encode("utf-8")
            if index <= before:
                self.add(codes.DISCLOSURE_ORDER, index + 1, "The record does not come after the one before it.")
            before = index
            proof = [bytes.fromhex(one) for one in record["proof"]]
            if not is_included(leaf_hash(line), index, manifest.record_count, proof, root):
                message = "The proof does not lead from this record, at this place, to the root in the manifest."
                self.add(codes.INCLUSION, index + 1, message)
            self.form(checker, line, index + 1)
        self.report.record_count = len(records)
        detail = f"{len(records)} of {manifest.record_count} records"
        form = [code for code in codes.CODES.values() if _ABOUT_ONE_RECORD.fullmatch(code.id)]
        self.note("inclusion proof of every record", codes.INCLUSION, codes.DISCLOSURE_ORDER, detail=detail)
        self.note("records: form, fields, rules", *form, detail=detail)

    def form(self, checker: Checker, line: bytes, number: int) -> None:
        """A record by itself; what depends on those around it is not told from it."""
        if len(line) > RECORD_BYTES or b"\n" in line:
            self.add(codes.LINE_TOO_LONG, number, f"The line is not one line of at most {RECORD_BYTES} bytes.")
            return
        for finding in checker.check(line + b"\n").findings.kept:
            if _ABOUT_ONE_RECORD.fullmatch(finding.code):
                self.add(codes.CODES[finding.code], number, finding.message)

    def note(self, name: str, *checked: Code, detail: str = "") -> None:
        """Note what was checked."""
        self.report.checks.append(Check(name, "failed" if self.findings.any_of(*checked) else "passed", detail))

    def conclude(self) -> Report:
        """The report, with its verdict."""
        proven = self.hmac is not None or self.public is not None
        self.report.conclude(self.findings, Status.VERIFIED if proven else Status.CONSISTENT)
        return self.report


def _is_record(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == _RECORD_KEYS
        and isinstance(value["index"], float)
        and value["index"].is_integer()
        and value["index"] >= 0
        and isinstance(value["line"], str)
        and isinstance(value["proof"], list)
        and all(isinstance(one, str) and _HASH.fullmatch(one) for one in value["proof"])
    )


def _base64(text: str) -> bytes | None:
    """What a text is the one base64 form of."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode() == text else None


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))
