"""Whether the records of a run are those that ELSPETH exported itself (contract v071, section 6).

ELSPETH 0.7.1 notes of each export that a run made of itself what it came to (`audit_export_snapshots`). The export left
traces in the run, which are not in it: the node of its sink, what was done there, and the effect. Without them the
records come to the same.

Belongs here: leaving out the traces as records pass by, and the comparison. Does not belong here: what a manifest is
computed of (`manifest_v2.py`), and reading what ELSPETH noted (`database/`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from ..contract import Contract
from ..contract.canonical import canonical_json
from ..database import RUN
from ..database.tables import OwnExports, RunFacts, Snapshot
from ..errors import ExportError
from ..storage.arrow_file import text_of
from .encode import line_lengths, lines
from .manifest_v2 import Chunks, ManifestOptions, ManifestV2, manifest_v2, signed_manifest
from .sign import SignedBatch, SigningKey, record_hashes

EQUAL, DIFFERENT, NOT_COMPARED = "equal", "different", "not compared"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of the comparison with one snapshot.

    Args:
        snapshot_id: the snapshot.
        result: EQUAL, DIFFERENT or NOT_COMPARED.
        reason: the first difference, or why there was no comparison; None when equal.
    """

    snapshot_id: str
    result: str
    reason: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        """The comparison as manifests have it."""
        return {"snapshot_id": self.snapshot_id, "result": self.result, "reason": self.reason}


class OwnSnapshots:
    """The comparisons of some runs.

    Args:
        contract: their contract.
        facts: the runs by number.
        key: the key of the signatures; None when unsigned.
        options: what the export is made with.
    """

    def __init__(
        self, contract: Contract, facts: Sequence[RunFacts], key: SigningKey | None, options: ManifestOptions
    ) -> None:
        self._types = list(contract.record_types)
        self._runs = {
            number: _Run(run, run.own_exports, key, options)
            for number, run in enumerate(facts)
            if run.own_exports is not None
        }

    def __bool__(self) -> bool:
        """Whether there is anything to compare with."""
        return bool(self._runs)

    def see(self, batch: SignedBatch) -> None:
        """Takes in the next records."""
        texts = batch.records.texts
        numbers = texts.column(RUN).to_numpy()
        for number, run in self._runs.items():
            start, stop = (int(np.searchsorted(numbers, number, side)) for side in ("left", "right"))
            if stop > start:
                run.see(texts.slice(start, stop - start), batch.signatures.slice(start, stop - start), self._types)

    def results(self, number: int) -> list[Comparison]:
        """The comparisons of a run, all of whose records have passed by."""
        return self._runs[number].results() if number in self._runs else []


class _Run:
    """The comparisons of one run."""

    def __init__(self, facts: RunFacts, own: OwnExports, key: SigningKey | None, options: ManifestOptions) -> None:
        self._traces = _Traces(set(own.effects), set(own.nodes))
        has_errors = any(facts.tables.get(name) for name in ("validation_errors", "transform_errors"))
        self._comparing = [_Comparing(facts, each, key, options, has_errors) for each in own.snapshots]

    def see(self, records: pa.RecordBatch, signatures: pa.LargeStringArray, types: Sequence[str]) -> None:
        keep = self._traces.not_in(records, types)
        if not keep.all():
            mask = pa.array(keep)
            records, signatures = records.filter(mask), signatures.filter(mask)
        for each in self._comparing:
            each.see(records, signatures)

    def results(self) -> list[Comparison]:
        return [each.result() for each in self._comparing]


@dataclass(slots=True)
class _Traces:
    """What the exports of a run left in it: effects and the nodes of their sinks, and the operations there."""

    effects: set[str]
    nodes: set[str]
    operations: set[str] = field(default_factory=set)

    def not_in(self, records: pa.RecordBatch, types: Sequence[str]) -> np.ndarray:
        """Which of some records are no traces."""
        keep = np.ones(records.num_rows, bool)
        codes = records.column("record_type").to_numpy()
        texts = pl.Series(records.column("canonical"))
        calls = codes == types.index("call")
        for at in np.flatnonzero(_have_one_of(texts, self.effects | self.nodes) & ~calls):
            record_type, record = types[codes[at]], json.loads(texts[int(at)])
            if any(record[name] in getattr(self, kind) for name, kind in _TRACES.get(record_type, ())):
                keep[at] = False
                if record_type == "operation":
                    self.operations.add(record["operation_id"])
        for at in np.flatnonzero(calls & _have_one_of(texts, self.operations)):  # calls come behind their operation
            keep[at] = json.loads(texts[int(at)])["operation_id"] not in self.operations
        return keep


def _have_one_of(texts: pl.Series, ids: Set[str]) -> np.ndarray:
    """Which records have one of these ids anywhere."""
    if not ids:
        return np.zeros(len(texts), bool)
    return texts.str.contains_any([canonical_json(id_) for id_ in sorted(ids)]).to_numpy()


_TRACES: dict[str, tuple[tuple[str, str], ...]] = {
    "node": (("node_id", "nodes"),),
    "edge": (("from_node_id", "nodes"), ("to_node_id", "nodes")),
    "operation": (("node_id", "nodes"),),
    "sink_effect": (("effect_id", "effects"),),
    "sink_effect_attempt": (("effect_id", "effects"),),
    "sink_effect_stream": (("sink_node_id", "nodes"),),
    "artifact": (("sink_effect_id", "effects"),),
}
"""Record type → the fields by which a record is a trace, and of what; calls are those of operations that are."""


class _Comparing:
    """The comparison with one snapshot as records pass by."""

    def __init__(
        self,
        facts: RunFacts,
        snapshot: Snapshot,
        key: SigningKey | None,
        options: ManifestOptions,
        has_errors: bool,
    ) -> None:
        self._facts, self._snapshot = facts, snapshot
        self._why_not: str | None = None
        self._is_signed = snapshot["signing_mode"] != "unsigned"
        self._key = key if self._is_signed else None
        self._chain = hashlib.sha256()
        if self._is_signed and key is None:
            self._why_not = "it is signed, and this export is not"
            return
        try:
            self._options = self._options_of(options)
        except (ExportError, ValueError) as error:
            self._why_not = str(error)
            return
        if self._options.raw_error_rows != options.raw_error_rows and has_errors:
            said = "has" if self._options.raw_error_rows else "does not have"
            self._why_not = (
                f"it {said} the rows in records of errors; export with LANDSCAPE_RAW_ERROR_ROWS="
                f"{'yes' if self._options.raw_error_rows else 'no'}"
            )
            return
        self._chunks = Chunks(self._options, snapshot["content_hashes"])

    def _options_of(self, given: ManifestOptions) -> ManifestOptions:
        """The options of the snapshot: all but one are noted, and that one follows from a hash."""
        found = ManifestOptions(
            signer_key_id=self._snapshot["signer_key_id"] if self._is_signed else None,
            export_format=self._snapshot["export_format"],
            exporter_version=self._snapshot["exporter_version"],
            chunking_algorithm_version=self._snapshot["chunking_algorithm_version"],
            per_chunk_record_limit=int(self._snapshot["per_chunk_record_limit"]),
            per_chunk_byte_limit=int(self._snapshot["per_chunk_byte_limit"]),
            raw_error_rows=given.raw_error_rows,
        )
        other = replace(found, raw_error_rows=not given.raw_error_rows)
        for each in (found, other):
            if each.registry_key_hash(self._facts.run_id, self._key) == self._snapshot["registry_key_hash"]:
                return each
        return found

    def see(self, records: pa.RecordBatch, signatures: pa.LargeStringArray) -> None:
        if self._why_not is not None or not records.num_rows:
            return
        canonical = records.column("canonical")
        hashes = signatures
        if not self._is_signed:
            texts = record_hashes(pl.Series(canonical))
            hashes = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
        self._chain.update(text_of(hashes))
        data = lines(canonical, records.column("head"), signatures if self._is_signed else None)
        try:
            self._chunks.add(data, line_lengths(canonical, is_signed=self._is_signed))
        except ExportError as error:
            self._why_not = str(error)

    def result(self) -> Comparison:
        snapshot_id = self._snapshot["snapshot_id"]
        if self._why_not is None and not self._chunks.records:
            self._why_not = "nothing is left of the run without the traces of the export"
        if self._why_not is not None:
            return Comparison(snapshot_id, NOT_COMPARED, self._why_not)
        made = manifest_v2(
            self._chunks,
            run_id=self._facts.run_id,
            status=self._facts.status,
            completed_at=self._facts.completed_at,
            final_hash=self._chain.hexdigest(),
            key=self._key,
            options=self._options,
        )
        if made.fields["final_hash"] != self._snapshot["final_hash"] and not self._is_of_key(made):
            why_not = f"it is signed with another key, which it calls {self._snapshot['signer_key_id']!r}"
            return Comparison(snapshot_id, NOT_COMPARED, why_not)
        if (reason := self._difference(made)) is not None:
            return Comparison(snapshot_id, DIFFERENT, reason)
        return Comparison(snapshot_id, EQUAL)

    def _is_of_key(self, made: ManifestV2) -> bool:
        """Whether what ELSPETH noted is signed with the present key."""
        if self._key is None:
            return True
        numbers = {name: int(self._snapshot[name]) for name in _NUMBERS}
        noted = {name: self._snapshot[name] for name in _NOTED} | numbers
        core = {name: value for name, value in made.fields.items() if name != "signature"} | noted
        return bool(signed_manifest(core, self._key).fields["signature"] == self._snapshot["signature_hex"])

    def _difference(self, made: ManifestV2) -> str | None:
        """The first difference, in words."""
        if (fault := self._chunks.fault) is not None:
            place = f"record {fault.number:,} without the traces of the export, in chunk {fault.chunk}"
            return f"from {_label(fault.line)} on, {place}"
        numbers = {name: str(self._snapshot[name]) for name in _NUMBERS}
        noted = (
            numbers | {name: self._snapshot[name] for name in _NOTED} | {"signature": self._snapshot["signature_hex"]}
        )
        for name, value in noted.items():
            ours = made.fields[name]
            if (ours if ours is None else str(ours)) != value:
                return f"{name} is {value}, and comes to {ours}"
        if (found := hashlib.sha256(made.data).hexdigest()) != self._snapshot["signed_manifest_hash"]:
            return f"signed_manifest_hash is {self._snapshot['signed_manifest_hash']}, and comes to {found}"
        return None


_NUMBERS = ("record_count", "total_bytes", "chunk_count")
_NOTED = (
    "final_hash",
    "registry_key_hash",
    "snapshot_hash",
    "snapshot_id",
    "manifest_hash",
    "last_chunk_seal_hash",
    "snapshot_seal_hash",
)


def _label(line: bytes) -> str:
    """What a message calls a record: its type, and the first of its ids."""
    record: Mapping[str, Any] = json.loads(line)
    kind = record["record_type"]
    for name in (f"{kind}_id", "effect_id", "attempt_id", "stream_id", "error_id", "event_id", "state_id", "run_id"):
        if isinstance(record.get(name), str):
            return f"{kind} {record[name]!r}"
    return str(kind)
