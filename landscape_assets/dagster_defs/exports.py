"""From the tables of a run to its published package, as assets.

Belongs here: the assets `export/...`, their run config, and what the UI shows of them. Does not belong here: what they
compute (`records/`, `formats/`, `package/`).
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import xxhash
from pydantic import Field

from ..contract import ALL_TABLES, CONTRACTS, Contract
from ..database.tables import RunFacts, StoredTables
from ..errors import PackageError
from ..formats import FORMATS, fields_wanted, write_files
from ..package import publish
from ..parallel import results
from ..pipeline import export_of
from ..records.ordered import ordered_records, records_schema
from ..records.own_snapshot import OwnSnapshots
from ..records.sign import SIGNATURES_SCHEMA, SignedBatch, sign
from ..settings import FORMAT_NAMES, RAW_ERROR_ROWS, Settings
from ..storage.arrow_file import ArrowReader, ArrowWriter, text_of
from ..storage.work_dirs import run_lock
from .export_log import log_published
from .failures import explained
from .lineage import DATA_VERSION_TAG, field_lineage, made_of, record_fields
from .package_metadata import MANIFEST, format_key, manifest_metadata, package_events
from .partitions import RUNS
from .resources import Workspace
from .tables import OWNERS, table_key

GROUP = "export"


_BY_NAME: dict[str, Contract] = {contract.name: contract for contract in CONTRACTS}

RECORDS = dg.AssetKey(["export", "records"])
SIGNED_RECORDS = dg.AssetKey(["export", "signed_records"])
PACKAGE_STEP = "export__package"
"""The step that writes the files and publishes the package."""


@dg.asset(
    key=RECORDS,
    partitions_def=RUNS,
    deps=[table_key(name) for name in ALL_TABLES],
    group_name=GROUP,
    kinds={"polars", "arrow"},
    owners=OWNERS,
    code_version="2",
    metadata={"dagster/column_schema": record_fields(ALL_TABLES.values())},
    description="Every record of the run, each in its place, in canonical form (RFC 8785): tables joined and ordered.",
)
def records(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult[None]:
    """Joins the tables of a run into ordered records."""
    started, run_id = time.monotonic(), context.partition_key
    counts: Counter[int] = Counter()
    content = xxhash.xxh3_128()
    with (
        explained(workspace.settings),
        workspace.scratch(run_id, context.run.run_id) as scratch,
        StoredTables(lambda name: workspace.stored(table_key(name), run_id)) as tables,
    ):
        contract, (facts,) = tables.contract, tables.facts()
        wanted = fields_wanted(workspace.settings.formats)
        schema = records_schema(contract, utc=tables.utc, wanted=wanted)
        metadata = {
            "contract": contract.name,
            "run": json.dumps(asdict(facts)),
            "raw_error_rows": json.dumps(tables.raw_error_rows),
            "fields": json.dumps(wanted.names),
        }
        unfinished = workspace.unfinished(RECORDS, run_id)
        budget = workspace.settings.budget
        with (
            ArrowWriter(unfinished, schema, metadata) as writer,
            ordered_records(contract, [run_id], tables.readers, scratch, budget, schema, wanted) as deferred,
            results(deferred, budget.threads) as batches,
        ):
            for batch in batches:
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
def signed_records(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult[None]:
    """Signs the records of a run."""
    started, run_id = time.monotonic(), context.partition_key
    chain = hashlib.sha256()
    with explained(workspace.settings):
        key = workspace.settings.key
        if key is not None and key.is_short:
            context.log.warning("The signing key is shorter than 16 bytes and may be guessed; use a longer one.")
        key_id = key.key_id if key else ""
        unfinished = workspace.unfinished(SIGNED_RECORDS, run_id)
        with ArrowReader(workspace.stored(RECORDS, run_id)) as reader:
            metadata = {"content": reader.metadata["content"], "key_id": key_id}
            batches = (partial(reader.batch, i, ["canonical"]) for i in range(reader.batches))
            deferred = sign(batches, key, _BY_NAME[reader.metadata["contract"]].tagged_key)
            with (
                ArrowWriter(unfinished, SIGNATURES_SCHEMA, metadata) as writer,
                results(deferred, workspace.settings.budget.threads) as signed,
            ):
                for batch in signed:
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
    "html": "report.html: what happened in the run, as one page for people; a derived view.",
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
    context: dg.AssetExecutionContext, config: PackageConfig, workspace: dg.ResourceParam[Workspace]
) -> Iterator[dg.MaterializeResult[None]]:
    """Writes and publishes the package of a run."""
    started, run_id = time.monotonic(), context.partition_key
    with (
        explained(workspace.settings),
        run_lock(workspace.export_dir, run_id),
        workspace.staging(run_id, context.run.run_id) as staging,
        ArrowReader(workspace.stored(RECORDS, run_id)) as reader,
        ArrowReader(workspace.stored(SIGNED_RECORDS, run_id)) as signatures,
    ):
        formats = workspace.settings.formats
        key, manifest_key = workspace.settings.key, workspace.settings.manifest_key
        _require_same_key(reader, signatures, run_id, workspace.settings)
        contract = _BY_NAME[reader.metadata["contract"]]
        options = workspace.settings.options
        facts = RunFacts.of(json.loads(reader.metadata["run"]))
        snapshots = OwnSnapshots(contract, [facts], key, options)

        def stored(number: int) -> SignedBatch:
            return SignedBatch(reader.batch(number), signatures.batch(number).column("signature"))

        (files,) = write_files(
            (partial(stored, number) for number in range(reader.batches)),
            contract,
            [run_id],
            key,
            formats,
            lambda number: staging,
            workspace.settings.budget,
            options,
            manifest_key.key_id if manifest_key else None,
            snapshots.see if snapshots else None,
        )
        comparisons = snapshots.results(0)
        export = export_of(contract, facts, files, key, manifest_key, options, comparisons)
        staged = [file for name in formats for file in files.files[name]]
        published = publish(export, staged, workspace.export_dir, staging, supersede=config.supersede)
        logged = log_published(context, workspace.settings, published)
    origin = None
    # What an ephemeral instance holds is never looked at, and to follow the lineage takes a while.
    if not context.instance.is_ephemeral:
        origin = made_of(context.instance, [RECORDS, SIGNED_RECORDS], run_id, context.run.run_id)
    events = list(package_events(published, files))
    # The step must give something for each of its assets.
    for name in (name for name in FORMATS if format_key(name) not in {event.asset_key for event in events}):
        reason = "the package was made without it" if name in formats else f"{FORMAT_NAMES} leaves the format out"
        yield dg.MaterializeResult(
            asset_key=format_key(name),
            data_version=dg.DataVersion("none"),
            metadata={"files": f"None: {reason}."},
        )
    for event in events:
        metadata: dict[str, Any] = dict(event.metadata)
        if event.asset_key == MANIFEST:
            metadata |= manifest_metadata(context.instance, published, origin) | logged
            metadata["seconds"] = round(time.monotonic() - started, 3)
        version = dg.DataVersion((event.tags or {})[DATA_VERSION_TAG])
        yield dg.MaterializeResult(asset_key=event.asset_key, data_version=version, metadata=metadata)


def _require_same_key(records: ArrowReader, signatures: ArrowReader, run_id: str, settings: Settings) -> None:
    """Makes sure that the stored records are signed with the present key, and stored for the present formats.

    Raises:
        PackageError: the stored records and signatures do not belong together, to the present key, or to the formats.
    """
    if signatures.metadata["content"] != records.metadata["content"] or records.batches != signatures.batches:
        raise PackageError(
            f"The signed records of run {run_id!r} are not of its present records. Materialize export/signed_records "
            f"again."
        )
    if not set(fields_wanted(settings.formats).names) <= set(json.loads(records.metadata["fields"])):
        raise PackageError(
            f"The records of run {run_id!r} were stored for other formats. Materialize export/records and what follows "
            f"it again (the job export_run)."
        )
    is_raw: bool = json.loads(records.metadata["raw_error_rows"])
    if _BY_NAME[records.metadata["contract"]].redacts and is_raw != settings.options.raw_error_rows:
        raise PackageError(
            f"The records of run {run_id!r} were made {'with' if is_raw else 'without'} the rows in records of errors, "
            f"and {RAW_ERROR_ROWS} says otherwise now. Materialize the tables and what follows them again (the job "
            f"export_run)."
        )
    key = settings.key
    if (key.key_id if key else "") != signatures.metadata["key_id"]:
        raise PackageError(
            f"The records of run {run_id!r} are signed with the key {signatures.metadata['key_id'] or '(none)'}, "
            f"and the present key is {key.key_id if key else '(none)'}. Materialize export/signed_records and the "
            f"package again."
        )


EXPORT_ASSETS: list[dg.AssetsDefinition] = [records, signed_records, package]
