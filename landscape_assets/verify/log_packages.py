"""The entries of an export log, and the packages that they speak of.

Belongs here: that each entry is of its form and has its package, that each package has its entry, and that they agree.
Does not belong here: the tree over the entries (`log_tree.py`), and the judgement of a package (`package.py`).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from . import codes
from .canonical import JsonFault, canonical, parse
from .codes import Status
from .folder import folder_name
from .limits import MANIFEST_BYTES, MAX_INTEGER
from .log_report import LogJudgement
from .manifest import NAME, Manifest, judge_manifest
from .package import verify_package
from .report import Check, Findings, Report
from .signatures import PublicKey

KINDS = ("publication", "supersession", "existing")

_SUPERSEDED = ".superseded"
_HEX = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
_ENTRY_DEPTH = 1

Entry = dict[str, Any]


def read_entry(judgement: LogJudgement, number: int, data: bytes | None) -> Entry | None:
    """An entry as data; None when it cannot be relied on."""
    if data is None:
        return None
    try:
        value = parse(data, _ENTRY_DEPTH)
    except JsonFault as fault:
        judgement.add(codes.LOG_ENTRY, "entries", number, f"The entry {fault}.")
        return None
    if not isinstance(value, dict) or canonical(value) != data or not _is_entry(value):
        judgement.add(codes.LOG_ENTRY, "entries", number, "The entry is not canonical JSON with the keys of its kind.")
        return None
    return value


class LogPackages:
    """The packages of an export folder, against the entries of its log.

    Args:
        export_dir: the folder.
        entries: of the log; None for those that cannot be relied on.
        judgement: where findings go.
        public: the key of the log.
        keys: the keys of packages, by the names that `verify_package` has for them.
    """

    def __init__(
        self,
        export_dir: str,
        entries: Sequence[Entry | None],
        judgement: LogJudgement,
        public: PublicKey | None,
        keys: dict[str, bytes | None],
    ) -> None:
        self.path, self.entries, self.judgement, self.add = export_dir, entries, judgement, judgement.add
        self.public, self.keys = public, keys

    def check(self, *, contents: bool) -> None:
        """Each entry has its package, and each package its entry."""
        places: dict[str, int] = {}
        last: dict[str, int] = {}
        for number, document in enumerate(self.entries):
            if document is None:
                continue
            sha256 = document["manifest_sha256"]
            if sha256 in places:
                message = f"The package of {named(document)} was logged as number {places[sha256] + 1} already."
                self.add(codes.ENTRY_TWICE, "entries", number, message)
            places.setdefault(sha256, number)
            last[folder_of(document)] = number
        found = 0
        present: dict[str, str] = {}
        accounted: set[str] = set()
        reports = []
        for path, name, is_superseded in self.packages():
            shown = os.path.relpath(path, self.path).replace(os.sep, "/")
            manifest_path = os.path.join(path, NAME)
            data = self.judgement.bytes_of(manifest_path, f"{shown}/{NAME}")
            if data is None:
                continue  # it is not a package; an entry of it is noted as missing below
            sha256 = hashlib.sha256(data).hexdigest()
            place = places.get(sha256)
            manifest = judge_manifest(data, Findings()) if len(data) <= MANIFEST_BYTES else None
            if not is_superseded:
                present[name] = sha256
            elif place is None and manifest is not None and manifest.superseded == present.get(name, ""):
                self.judgement.report.notices.append(
                    f"{shown} is not published: it was to replace the present package, and is left by a supersession "
                    "that did not finish. The next one removes it."
                )
                continue
            found += 1
            if place is None:
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
                document = self.entries[place]
                assert document is not None  # it has a place
                self.same(place, document, manifest, name)
                if not is_superseded and name in last and self.entries[last[name]] != document:
                    message = f"It is in the place of {named(document)}, but a later entry is of another package of it."
                    self.add(codes.ENTRY_ORDER, "entries", place, message)
            if contents:
                reports.append(self.verified(path, manifest, place))
        for sha256, number in places.items():
            if sha256 not in accounted:
                document = self.entries[number]
                assert document is not None  # it has a place
                message = f"The package of {named(document)}, with the manifest {sha256}, is missing."
                self.add(codes.NO_PACKAGE, "entries", number, message)
        self.judgement.note(
            "every entry has its package, every package its entry",
            codes.NO_PACKAGE,
            codes.NO_ENTRY,
            codes.ENTRY_PACKAGE,
            codes.ENTRY_ORDER,
            codes.LOG_ENTRY,
            detail=f"{found} packages",
        )
        self.judgement.report.facts["packages"] = found
        if contents:
            self.judgement.report.packages = [one for one in reports if one is not None]
            self.judgement.note("every package verifies", codes.LOGGED_PACKAGE, detail=f"{found} packages")
        else:
            self.judgement.report.checks.append(
                Check("every package verifies", "not done", "only manifests were asked for")
            )

    def packages(self) -> Iterator[tuple[str, str, bool]]:
        """Folder, name, and whether it was superseded, of whatever may be a package."""
        for name in self.names(self.path):
            if not name.startswith("."):
                yield os.path.join(self.path, name), name, False
        superseded = os.path.join(self.path, _SUPERSEDED)
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

    def same(self, number: int, document: Entry, manifest: Manifest | None, name: str) -> None:
        """Whether an entry says what the manifest says."""
        if manifest is None:
            return  # the package does not verify
        said = [document["final_hash"], int(document["record_count"]), document["exported_at"], folder_of(document)]
        is_so = [manifest.final_hash, manifest.record_count, manifest.exported_at, folder_name(manifest.run_id)]
        if said != is_so or name != said[-1]:
            message = f"The entry of {named(document)} does not say what the manifest of its package says."
            self.add(codes.ENTRY_PACKAGE, "entries", number, message)

    def verified(self, path: str, manifest: Manifest | None, number: int | None) -> Report | None:
        """The report of a package that does not verify."""
        key, public_key = self.keys["key"], self.keys["public_key"]
        if manifest is not None and number is not None:
            # Its manifest is vouched for by the log: a package of another time may have another key, or none.
            if self.public is not None and manifest.public_key_id != self.public.id:
                public_key = None
                self.judgement.report.notices.append(
                    f"Number {number + 1}, {manifest.run_id!r:.100}, is not signed with the public key: that its "
                    f"manifest is the exporter's is shown by the log alone."
                )
            if not manifest.signed:
                key = None
        report = verify_package(path, key=key, public_key=public_key, processes=1)
        if report.status in (Status.VERIFIED, Status.CONSISTENT):
            return None
        run = "an unreadable run" if report.run_id is None else f"the run {report.run_id!r:.100}"
        self.add(codes.LOGGED_PACKAGE, "entries", number, f"The package of {run} does not verify: see below.")
        return report


def _is_entry(value: Entry) -> bool:
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


def folder_of(document: Entry) -> str:
    """The folder of the package that an entry speaks of."""
    return str(document["folder"]) if "folder" in document else folder_name(document["run_id"])


def named(document: Entry) -> str:
    """The run of an entry, for a message."""
    return f"the run {document['run_id']!r:.100}" if "run_id" in document else f"the folder {document['folder']!r:.250}"
