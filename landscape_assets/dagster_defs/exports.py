"""From the tables of a run to its published package, as assets.

Belongs here: the assets `export/...`, their run config, and what the UI shows of them. Does not belong here: what they
compute (`export/`, `formats/`).
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import xxhash
from pydantic import Field

from .. import settings
from ..contract import CONTRACTS, V1, Contract
from ..database.tables import RunFacts, StoredTables
from ..errors import PackageError
from ..formats import FORMATS, RunFiles, StagedFile, needs_fields, write_files
from ..package.publish import Published, publish
from ..pipeline import EXPORTED, UNCHANGED, export_of
from ..records.ordered import FIELDS, ordered_records, records_schema
from ..records.sign import SIGNATURES_SCHEMA, SignedBatch, SigningKey, sign
from ..storage.arrow_file import ArrowReader, ArrowWriter, text_of
from ..storage.work_dirs import run_lock
from .export_log import log_published
from .failures import explained
from .lineage import field_lineage, made_of, record_fields
from .partitions import RUNS
from .resources import Workspace
from .tables import OWNERS, table_key

GROUP = "export"

MANIFEST_SHA256 = "sha256 of manifest.json"
"""The name under which the manifest's metadata has its SHA-256; the checks compare the published file with it."""

_BY_NAME: dict[str, Contract] = {contract.name: contract for contract in CONTRACTS}

RECORDS = dg.AssetKey(["export", "records"])
SIGNED_RECORDS = dg.AssetKey(["export", "signed_records"])
MANIFEST = dg.AssetKey(["export", "manifest"])
PACKAGE_STEP = "export__package"
"""The step that writes the files and publishes the package."""


def format_key(name: str) -> dg.AssetKey:
    """The asset of an output format."""
    return dg.AssetKey(["export", name])


@dg.asset(
    key=RECORDS,
    partitions_def=RUNS,
    deps=[table_key(name) for name in V1.tables],
    group_name=GROUP,
    kinds={"polars", "arrow"},
    owners=OWNERS,
    code_version="2",
    metadata={"dagster/column_schema": record_fields(V1)},
    description="Every record of the run, each in its place, in canonical form (RFC 8785): tables joined and ordered.",
)
def records(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """Joins the tables of a run into ordered records."""
    started, run_id = time.monotonic(), context.partition_key
    counts: Counter[int] = Counter()
    content = xxhash.xxh3_128()
    with (
        explained(),
        workspace.scratch(run_id, context.run.run_id) as scratch,
        StoredTables(lambda name: workspace.stored(table_key(name), run_id)) as tables,
    ):
        contract, (facts,) = tables.contract, tables.facts()
        schema = records_schema(contract, utc=tables.utc, with_fields=needs_fields(settings.formats()))
        metadata = {"contract": contract.name, "run": json.dumps(asdict(facts))}
        unfinished = workspace.unfinished(RECORDS, run_id)
        with ArrowWriter(unfinished, schema, metadata) as writer:
            for batch in ordered_records(contract, [run_id], tables.readers, scratch, settings.budget(), schema):
                for code, count in enumerate(np.bincount(batch.column("record_type").to_numpy())):
                    counts[code] += int(count)
                content.update(text_of(batch.column("canonical")))
                writer.write(batch)
            writer.annotate({"content": content.hexdigest()})
        made = writer.facts()
        workspace.finish(RECORDS, run_id, unfinished)
    by_type = {name: counts[code] for code, name in enumerate(contract.record_types) if counts[code]}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content.hexdigest()),
        metadata={
            "dagster/partition_row_count": made.rows,
            "dagster/column_lineage": field_lineage(contract),
            "records by type": _counts_table(by_type),
            "contract": contract.name,
            "bytes": made.size,
            "seconds": round(time.monotonic() - started, 3),
        },
    )


def _counts_table(counts: Mapping[str, int]) -> dg.MetadataValue:
    rows = "\n".join(f"| {name} | {count:,} |" for name, count in counts.items())
    return dg.MetadataValue.md(f"| record type | records |\n|---|---:|\n{rows}")


@dg.asset(
    key=SIGNED_RECORDS,
    partitions_def=RUNS,
    deps=[RECORDS],
    group_name=GROUP,
    kinds={"polars", "arrow"},
    owners=OWNERS,
    code_version="1",
    description="The signature of every record (HMAC-SHA256), and the final hash that they chain to.",
)
def signed_records(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """Signs the records of a run."""
    started, run_id = time.monotonic(), context.partition_key
    chain = hashlib.sha256()
    with explained():
        key = settings.signing_key()
        if key is not None and key.is_short:
            context.log.warning("The signing key is shorter than 16 bytes and may be guessed; use a longer one.")
        key_id = key.key_id if key else ""
        unfinished = workspace.unfinished(SIGNED_RECORDS, run_id)
        with ArrowReader(workspace.stored(RECORDS, run_id)) as reader:
            metadata = {"content": reader.metadata["content"], "key_id": key_id}
            with ArrowWriter(unfinished, SIGNATURES_SCHEMA, metadata) as writer:
                for batch in sign(
                    (reader.batch(i, ["canonical"]) for i in range(reader.batches)), key, settings.budget()
                ):
                    chain.update(text_of(batch.signatures))
                    writer.write(pa.RecordBatch.from_arrays([batch.signatures], schema=SIGNATURES_SCHEMA))
        made, final_hash = writer.facts(), chain.hexdigest()
        workspace.finish(SIGNED_RECORDS, run_id, unfinished)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"{final_hash}:{key_id}"),
        metadata={
            "dagster/partition_row_count": made.rows,
            "final_hash": final_hash,
            "key id": key_id or "unsigned",
            "bytes": made.size,
            "seconds": round(time.monotonic() - started, 3),
        },
    )


_DESCRIPTIONS = {
    "jsonl": "records.jsonl: every record in order, canonical form, one a line.",
    "csv": "csv/<record_type>.csv: a derived view for spreadsheets, formulas defused.",
    "parquet": "parquet/<record_type>.parquet: a derived view with typed columns.",
}


class PackageConfig(dg.Config):
    """The run config of the step that publishes."""

    supersede: bool = Field(
        default=False,
        description="Replace a package that is there and differs; the old one is kept aside, under its time stamp.",
    )


@dg.multi_asset(
    name=PACKAGE_STEP,
    specs=[
        *(
            dg.AssetSpec(
                format_key(name),
                deps=[RECORDS, SIGNED_RECORDS],
                group_name=GROUP,
                kinds={"polars", name},
                owners=OWNERS,
                code_version="2",
                description=_DESCRIPTIONS[name],
            )
            for name in FORMATS
        ),
        dg.AssetSpec(
            MANIFEST,
            deps=[SIGNED_RECORDS, *map(format_key, FORMATS)],
            group_name=GROUP,
            kinds={"json"},
            owners=OWNERS,
            code_version="2",
            description=(
                "The published package. Its files are read back and compared with what was written, manifest.json is "
                "written last, and the folder appears in one rename: a package with a manifest is complete, anything "
                "else is not an export."
            ),
        ),
    ],
    partitions_def=RUNS,
    description="Writes the files of a run in every format, and publishes them with their manifest.",
)
def package(
    context: dg.AssetExecutionContext, config: PackageConfig, workspace: Workspace
) -> Iterator[dg.MaterializeResult]:
    """Writes and publishes the package of a run."""
    started, run_id = time.monotonic(), context.partition_key
    with (
        explained(),
        run_lock(workspace.export_dir, run_id),
        workspace.staging(run_id, context.run.run_id) as staging,
        ArrowReader(workspace.stored(RECORDS, run_id)) as reader,
        ArrowReader(workspace.stored(SIGNED_RECORDS, run_id)) as signatures,
    ):
        formats = settings.formats()
        key = _present_key(reader, signatures, run_id, formats)
        contract = _BY_NAME[reader.metadata["contract"]]
        batches = (SignedBatch(reader.batch(i), signatures.batch(i).column("signature")) for i in range(reader.batches))
        (files,) = write_files(batches, contract, [run_id], key, formats, lambda number: staging, settings.budget())
        facts = RunFacts(**json.loads(reader.metadata["run"]))
        export = export_of(contract.name, facts, files, key, settings.manifest_key())
        staged = [file for name in formats for file in files.files[name]]
        published = publish(export, staged, workspace.export_dir, staging, supersede=config.supersede)
        logged = log_published(context, published)
    # Nobody looks at what an ephemeral instance holds, and to follow the lineage takes a while.
    origin = (
        {}
        if context.instance.is_ephemeral
        else {"made of": made_of(context.instance, [RECORDS, SIGNED_RECORDS], run_id, context.run.run_id)}
    )
    for key_of_asset, version, metadata in package_events(files, published):
        yield dg.MaterializeResult(
            asset_key=key_of_asset,
            data_version=dg.DataVersion(version),
            metadata=metadata
            | (origin | logged | {"seconds": round(time.monotonic() - started, 3)} if key_of_asset == MANIFEST else {}),
        )


def package_events(files: RunFiles, published: Published) -> Iterator[tuple[dg.AssetKey, str, dict[str, Any]]]:
    """What is told of a package: for each of its assets the key, the data version and the metadata."""
    for name in FORMATS:
        if name in files.files:
            made = files.files[name]
            size = sum(file.facts.size for file in made)
            yield format_key(name), _digest(made), {"files": _files_table(made), "bytes": size}
        else:
            yield format_key(name), "none", {"files": f"None: {settings.FORMAT_NAMES} leaves the format out."}
    yield MANIFEST, published.manifest_sha256, _manifest_metadata(published)


def _present_key(
    records: ArrowReader, signatures: ArrowReader, run_id: str, formats: Sequence[str]
) -> SigningKey | None:
    """The present key, with which the present records must have been signed.

    Raises:
        PackageError: the stored records and signatures do not belong together, to the present key, or to the formats.
    """
    if signatures.metadata["content"] != records.metadata["content"] or records.batches != signatures.batches:
        raise PackageError(
            f"The signed records of run {run_id!r} are not of its present records. Materialize export/signed_records again."
        )
    if needs_fields(formats) and FIELDS not in records.schema.names:
        raise PackageError(
            f"The records of run {run_id!r} were stored for other formats, without typed values. Materialize export/records and what "
            f"follows it again (the job export_run)."
        )
    key = settings.signing_key()
    if (key.key_id if key else "") != signatures.metadata["key_id"]:
        raise PackageError(
            f"The records of run {run_id!r} are signed with the key {signatures.metadata['key_id'] or '(none)'}, and the present "
            f"key is {key.key_id if key else '(none)'}. Materialize export/signed_records and the package again."
        )
    return key


def _digest(files: list[StagedFile]) -> str:
    """The content of files as a data version: the SHA-256 over the lines that sha256sum would print of the records in
    them."""
    lines = "".join(f"{file.content}  {file.path}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _files_table(files: list[StagedFile]) -> dg.MetadataValue:
    rows = "\n".join(
        f"| {file.path} | {file.facts.size:,} | {file.facts.rows:,} | `{file.facts.sha256}` |" for file in files
    )
    return dg.MetadataValue.md(f"| file | bytes | records | SHA-256 |\n|---|---:|---:|---|\n{rows}")


def _manifest_metadata(published: Published) -> dict[str, Any]:
    made = published.manifest
    exported_at = datetime.fromisoformat(made["exported_at"])
    return {
        "package": dg.MetadataValue.path(str(published.path)),
        "result": EXPORTED if published.is_new else UNCHANGED,
        "record_count": made["record_count"],
        "final_hash": made["final_hash"],
        "exported_at": dg.MetadataValue.timestamp(exported_at),
        "manifest": dg.MetadataValue.json(made),
        MANIFEST_SHA256: published.manifest_sha256,
    }


EXPORT_ASSETS: list[dg.AssetsDefinition] = [records, signed_records, package]
