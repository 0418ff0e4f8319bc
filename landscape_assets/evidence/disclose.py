"""Disclosures: some records of a package, each with the proof that it is one of them (docs/package.md, "Disclosures").

Belongs here: choosing records, their proofs, the file, and its text for people. Does not belong here: the check of such
a file, which shares nothing with this (`verify/disclosure.py`).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..contract import CONTRACTS
from ..contract.canonical import canonical_json
from ..errors import PackageError
from ..merkle import ALGORITHM, HASH_BYTES, Tree, hashes_of_lines, leaf_hash
from ..package import MANIFEST, MANIFEST_SIGNATURE, read_manifest
from ..package.read import Manifest
from ..printable import printable

FORMAT, FORMAT_VERSION = "landscape-disclosure", 1
RECORDS = "records.jsonl"

_BLOCK_BYTES = 8 * 2**20
_SIGNATURE_BYTES = 64
_IDS = re.compile(rb'"[a-z_]+_id":("[^"\\]*(?:\\.[^"\\]*)*")')
"""What may be an id of a record, or of another to which it refers, in a canonical line."""

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which records are disclosed: those that any of these name.

    Args:
        records: record type and id of single records.
        rows: row ids; with everything that happened to their tokens.
        tokens: token ids; with everything that happened to them.
    """

    records: tuple[tuple[str, str], ...] = ()
    rows: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Disclosure:
    """A disclosure, made.

    Args:
        data: the file.
        manifest: of the package.
        records: place → record, in order.
        choice: which records were asked for.
    """

    data: bytes
    manifest: Manifest
    records: dict[int, Record]
    choice: Choice


def parse_record(text: str) -> tuple[str, str]:
    """TYPE:ID of the option --record.

    Raises:
        PackageError: it is something else.
    """
    record_type, colon, record_id = text.partition(":")
    known = {name for contract in CONTRACTS for name in contract.record_types}
    if not colon or not record_id or record_type not in known:
        raise PackageError(
            f"{text!r:.100} is not TYPE:ID. The types are {', '.join(sorted(known))}; the ID is the value of the "
            f"record's own id, such as token:tok-1. Where an id has two parts, write both with a comma between them."
        )
    return record_type, record_id


def disclose(package: Path, choice: Choice) -> Disclosure:
    """Makes a disclosure of some records of a package.

    Args:
        package: its folder.
        choice: which.

    Raises:
        PackageError: the package cannot be disclosed from, and why; or a record that is named is not in it.
    """
    manifest, manifest_bytes, signature = _read(package)
    path = package / RECORDS
    try:
        tree, chosen = _choose(path, manifest, choice)
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror or error}.") from None
    proven = [
        {"index": index, "line": line.decode(), "proof": [one.hex() for one in tree.inclusion_proof(index)]}
        for index, line in chosen.items()
    ]
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "manifest": manifest_bytes.decode(),
        "manifest_signature": base64.b64encode(signature).decode(),
        "records": proven,
    }
    records = {index: json.loads(line) for index, line in chosen.items()}
    return Disclosure(canonical_json(document).encode(), manifest, records, choice)


def disclose_to(package: Path, choice: Choice, file: Path, text: Path | None = None) -> Disclosure:
    """Writes a disclosure, and perhaps its text for people.

    Args:
        package, choice: as for `disclose`.
        file: where; what is there is replaced.
        text: where the text for people goes, if it is wanted.

    Raises:
        PackageError: as for `disclose`.
        OSError: as the file system says.
    """
    made = disclose(package, choice)
    file.write_bytes(made.data)
    if text is not None:
        text.write_text(markdown(made, file.name), "utf-8")
    return made


def _read(package: Path) -> tuple[Manifest, bytes, bytes]:
    """The manifest of a package that can be disclosed from, its bytes, and their signature.

    Raises:
        PackageError: nothing of it can be disclosed.
    """
    manifest = read_manifest(package)
    if manifest["signing"] is None:
        raise PackageError(
            f"{package} is not signed, and nothing is disclosed from it: without signatures, which cannot be guessed, "
            f"the proof of one record would let its reader find out others, by guessing them and comparing hashes. "
            f"Export the run signed."
        )
    if "merkle" not in manifest:
        raise PackageError(
            f"{package} is of format version {manifest['format_version']}, whose manifest has no Merkle root, so that "
            f"records cannot be proved one by one. Export the run again with --supersede."
        )
    try:
        signature = (package / MANIFEST_SIGNATURE).read_bytes()
    except FileNotFoundError:
        raise PackageError(
            f"{package} has no {MANIFEST_SIGNATURE}, and without it a disclosure shows nothing to a third party. Set "
            f"LANDSCAPE_SIGNING_PRIVATE_KEY_FILE, and export the run again with --supersede."
        ) from None
    except OSError as error:
        raise PackageError(f"{package / MANIFEST_SIGNATURE} cannot be read: {error.strerror or error}.") from None
    if len(signature) != _SIGNATURE_BYTES:
        raise PackageError(
            f"{package / MANIFEST_SIGNATURE} does not have {_SIGNATURE_BYTES} bytes. Verify the package."
        )
    if not (package / RECORDS).is_file():
        raise PackageError(
            f"{package} has no {RECORDS}, from which records are disclosed. Export the run with the format jsonl."
        )
    return manifest, (package / MANIFEST).read_bytes(), signature


def _choose(path: Path, manifest: Manifest, choice: Choice) -> tuple[Tree, dict[int, bytes]]:
    """The tree over all records, and the chosen lines by their place.

    The file is read twice. What happened to a token is told by records that name it, or one of its states; what it
    was part of (its row, its batches) stands before them.

    Raises:
        PackageError: the records are not those of the manifest; a record is not there.
        OSError: as the file system says.
    """
    size = int(manifest["record_count"])
    wanted = _Wanted(choice, _id_fields(manifest["contract"]))
    columns = [np.empty((0, HASH_BYTES), np.uint8)]
    for first, block in _blocks(path, size):
        columns.append(hashes_of_lines(block))
        for _, record in wanted.candidates(first, block):
            wanted.follow(record)
    tree = Tree(np.concatenate(columns))
    merkle = manifest["merkle"]
    if merkle != {"algorithm": ALGORITHM, "size": tree.size, "root": tree.root().hex()}:
        raise PackageError(f"{path} does not hold the records of which the manifest speaks. Verify the package.")
    chosen: dict[int, bytes] = {}
    for first, block in _blocks(path, size):
        lines = block.split(b"\n")
        for at, record in wanted.candidates(first, block):
            if wanted.takes(record):
                chosen[at] = lines[at - first]
                if leaf_hash(chosen[at]) != tree.leaf(at):
                    raise PackageError(f"{path} was changed while it was read.")
    if missing := wanted.missing():
        raise PackageError(f"{path.parent} has no {' and no '.join(missing)}.")
    return tree, chosen


def _id_fields(contract: str) -> dict[str, tuple[str, ...]]:
    """Record type → the fields of its own id."""
    return {
        table.record_type: tuple(name for name in table.id if name != "run_id") or ("run_id",)
        for table in next(one for one in CONTRACTS if one.name == contract).tables.values()
    }


def _blocks(path: Path, size: int) -> Iterator[tuple[int, bytes]]:
    """The first lines of a file, whole, in blocks, with the number of the first of each."""
    at, rest = 0, b""
    with path.open("rb") as file:
        while at < size and (data := file.read(_BLOCK_BYTES)):
            cut = data.rfind(b"\n") + 1
            block, rest = rest + data[:cut], data[cut:] if cut else rest + data
            if not cut:
                continue
            count = block.count(b"\n")
            if at + count > size:  # the manifest record is the last line
                block = b"".join(block.splitlines(keepends=True)[: size - at])
                count = size - at
            yield at, block
            at += count


@dataclass(slots=True)
class _Wanted:
    """Decides on each record.

    Args:
        choice: what was asked for.
        id_fields: record type → the fields of its own id.
    """

    choice: Choice
    id_fields: dict[str, tuple[str, ...]]
    rows: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)
    states: set[str] = field(default_factory=set)
    effects: set[str] = field(default_factory=set)
    operations: set[str] = field(default_factory=set)
    containers: set[tuple[str, str]] = field(default_factory=set)
    """Record type and id of what chosen tokens were part of."""
    seen: set[tuple[str, str]] = field(default_factory=set)
    raw: set[bytes] = field(default_factory=set)
    """Every id of interest, as a line has it."""

    def __post_init__(self) -> None:
        self.rows.update(self.choice.rows)
        self.tokens.update(self.choice.tokens)
        named = [part for record_type, text in self.choice.records for part in self._parts(record_type, text)]
        self._note(*self.rows, *self.tokens, *named)

    def _parts(self, record_type: str, text: str) -> list[str]:
        """The fields of an id; where there are two, a comma is between them."""
        count = len(self.id_fields.get(record_type, ()))
        return text.split(",", count - 1) if count > 1 else [text]

    def _note(self, *ids: str) -> None:
        self.raw.update(json.dumps(one, ensure_ascii=False).encode() for one in ids)

    def candidates(self, first: int, block: bytes) -> Iterator[tuple[int, Record]]:
        """The records of a block that hold an id of interest, with their places."""
        for at, line in enumerate(block.split(b"\n"), first):
            if not self.raw.isdisjoint(_IDS.findall(line)):
                yield at, json.loads(line)

    def follow(self, record: Record) -> None:
        """Takes up the ids to which a record leads that belongs to what was asked for."""
        kind = record["record_type"]
        if kind == "token" and (record["row_id"] in self.rows or record["token_id"] in self.tokens):
            self.tokens.add(record["token_id"])
            self.containers.add(("row", record["row_id"]))
            self._note(record["token_id"], record["row_id"])
        elif record.get("token_id") in self.tokens:
            if "state_id" in record:
                self.states.add(record["state_id"])
                self._note(record["state_id"])
            if kind == "sink_effect_member":
                self.effects.add(record["effect_id"])
                self._note(record["effect_id"])
            if record.get("batch_id") is not None:
                self.containers.add(("batch", record["batch_id"]))
                self._note(record["batch_id"])

    def takes(self, record: Record) -> bool:
        """Whether a record is disclosed."""
        kind = record["record_type"]
        own = ",".join(str(record.get(name)) for name in self.id_fields.get(kind, ()))
        found = {name for name in ((kind, own), *self._asked(record)) if name in self._names()}
        self.seen |= found
        of_effect = record.get("sink_effect_id") in self.effects
        if kind == "operation" and of_effect:  # its calls follow it
            self.operations.add(record["operation_id"])
            self._note(record["operation_id"])
        return bool(
            found
            or of_effect
            or (kind in ("sink_effect", "sink_effect_attempt") and record["effect_id"] in self.effects)
            or record.get("operation_id") in self.operations
            or (kind, own) in self.containers
            or record.get("row_id") in self.rows
            or record.get("token_id") in self.tokens
            or record.get("parent_token_id") in self.tokens
            or record.get("state_id") in self.states
            or record.get("produced_by_state_id") in self.states
        )

    def _asked(self, record: Record) -> list[tuple[str, str]]:
        kind = record["record_type"]
        return (
            [("row", record["row_id"])] if kind == "row" else [("token", record["token_id"])] if kind == "token" else []
        )

    def _names(self) -> set[tuple[str, str]]:
        rows, tokens = (("row", one) for one in self.choice.rows), (("token", one) for one in self.choice.tokens)
        return {*self.choice.records, *rows, *tokens}

    def missing(self) -> list[str]:
        """What was asked for and is not there, as phrases."""
        return [printable(f"{kind} {text!r}") for kind, text in sorted(self._names() - self.seen)]


def markdown(disclosure: Disclosure, file: str) -> str:
    """A disclosure as a text for people.

    Args:
        disclosure: it.
        file: the name of its file.
    """
    manifest, choice = disclosure.manifest, disclosure.choice
    asked = [
        *(f"the {kind} `{_inline(text)}`" for kind, text in choice.records),
        *(f"everything that happened to the row `{_inline(one)}`" for one in choice.rows),
        *(f"everything that happened to the token `{_inline(one)}`" for one in choice.tokens),
    ]
    lines = [
        f"# Records of the run `{_inline(manifest['run_id'])}`",
        "",
        f"The file `{_inline(file)}` holds {len(disclosure.records):,} of the {manifest['record_count']:,} records of "
        f"this run, exported at {manifest['exported_at']}. They were chosen as: {'; '.join(asked)}.",
        "",
        "## Check it",
        "",
        "```sh",
        f"python3 -I landscape-verify.pyz '{_inline(file)}' --public-key public-key.pem",
        "```",
        "",
        f"The public key has the id `{manifest['public_key']['key_id']}`. Get it, or its id, from the exporter by a "
        f"way of its own. `docs/auditors.md` of the project has the check step by step with stock tools.",
        "",
        "## What is proved",
        "",
        "- Each record below is, byte for byte, one of the records that were exported of this run, at the place given.",
        "- The holder of the key signed the manifest, which names the run, how many records there are, and the root of "
        "the tree over all of them.",
        "",
        "## What is not proved",
        "",
        "- That these are **all** records on the matter: who made this file chose them.",
        "- That what they say is **true**, or that the audit database held everything at the time of the export.",
        "- The **time** of the export, which is the exporter's own clock.",
        "",
        "## The records",
    ]
    for index, record in disclosure.records.items():
        lines += ["", f"### {index + 1}: {record['record_type']}", "", "| field | value |", "|---|---|"]
        lines += [
            f"| `{name}` | {_cell(value)} |"
            for name, value in record.items()
            if name not in ("record_type", "run_id") and value is not None
        ]
    return "\n".join(lines) + "\n"


def _inline(text: str) -> str:
    """Text within backticks."""
    return printable(text).replace("`", "\\x60")


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else canonical_json(value)
    return printable(text).translate({ord(c): f"&#{ord(c)};" for c in "|<>&`*_[]\\"})
