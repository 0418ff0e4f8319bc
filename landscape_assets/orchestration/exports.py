"""From the tables of a run to its published package, as assets.

Belongs here: the assets `export/...`, their run config, and what the UI shows of them. Does not belong here: what they
compute (`export/`).
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime

import dagster as dg
from pydantic import Field

from ..contract import CONTRACTS, V1, Contract, Kind
from ..errors import PackageError
from ..export.arrow_file import ArrowReader
from ..export.canonical import as_text
from ..export.formats import FORMATS, SignedRecords, StagedFile, write_files
from ..export.package import Export, Published, publish
from ..export.records import write_records
from ..export.signing import SigningKey, write_signatures
from ..export.staging import clear_abandoned, release, run_lock, staging_root
from ..landscape import AuditDatabase
from . import settings
from .failures import RETRIES, explained
from .lineage import field_lineage, made_of, record_fields
from .partitions import RUNS
from .resources import AuditDatabaseResource, Workspace, table_key
from .tables import OWNERS, run_of

GROUP = "export"

MANIFEST_SHA256 = "sha256 of manifest.json"
"""The name under which the manifest's metadata has its SHA-256; the checks compare the published file with it."""

EXPORTED, UNCHANGED = "exported", "unchanged"
"""What the manifest's metadata says of an export: it published a package, or found the same package there already."""

ONE, SEVERAL = "one", "perhaps several"
"""Of how many states of the audit database the tables are that records were made of: one process loads them all from
one, and separate steps each from one of their own."""

_BY_NAME: dict[str, Contract] = {contract.name: contract for contract in CONTRACTS}

RECORDS = dg.AssetKey(["export", "records"])
SIGNED_RECORDS = dg.AssetKey(["export", "signed_records"])
MANIFEST = dg.AssetKey(["export", "manifest"])


def format_key(name: str) -> dg.AssetKey:
    """The asset of an output format."""
    return dg.AssetKey(["export", name])


@dg.asset(
    key=RECORDS,
    partitions_def=RUNS,
    ins={name: dg.AssetIn(table_key(name)) for name in V1.tables},
    group_name=GROUP,
    kinds={"polars", "arrow"},
    owners=OWNERS,
    code_version="1",
    io_manager_key="arrow",
    metadata={"dagster/column_schema": record_fields(V1)},
    description="Every record of the run, each in its place, in canonical form (RFC 8785): tables joined and ordered.",
)
def records(
    context: dg.AssetExecutionContext,
    audit_database: AuditDatabaseResource,
    workspace: Workspace,
    **tables: ArrowReader,
) -> dg.MaterializeResult:
    """Joins the tables of a run into ordered records."""
    started, run_id = time.monotonic(), context.partition_key
    with explained():
        status, started_at, completed_at = run_of(tables)
        contract = _BY_NAME[tables["runs"].metadata["contract"]]
        scratch = workspace.scratch(run_id, context.run.run_id)
        rows = {name: tables[name].rows for name in contract.tables}
        metadata = {
            "contract": contract.name,
            "run_id": run_id,
            "utc": tables["runs"].metadata["utc"],
            "run": json.dumps([status, *_times_of_record(tables["runs"])]),
            "tables": json.dumps(rows),
            "state": tables["runs"].metadata["run"],
            "states": ONE if audit_database.gave(run_id, rows) else SEVERAL,
        }
        try:
            made = write_records(
                contract,
                run_id,
                {name: tables[name] for name in contract.tables},
                workspace.unfinished(RECORDS, run_id, "arrow"),
                scratch,
                settings.budget(),
                metadata,
            )
        finally:
            release(scratch)
            for reader in tables.values():
                reader.close()
    return dg.MaterializeResult(
        value=made.file,
        data_version=dg.DataVersion(made.content),
        metadata={
            "dagster/partition_row_count": made.file.rows,
            "dagster/column_lineage": field_lineage(contract),
            "records by type": _counts_table(made.counts),
            "contract": contract.name,
            "bytes": made.file.size,
            "seconds": round(time.monotonic() - started, 3),
        },
    )


def _times_of_record(runs: ArrowReader) -> list[str]:
    """started_at and completed_at as the run's record has them."""
    row = runs.frame(["started_at", "completed_at"])
    return [as_text(row[name], Kind.TIME)[0] for name in row.columns]


def _counts_table(counts: Mapping[str, int]) -> dg.MetadataValue:
    rows = "\n".join(f"| {name} | {count:,} |" for name, count in counts.items())
    return dg.MetadataValue.md(f"| record type | records |\n|---|---:|\n{rows}")


@dg.asset(
    key=SIGNED_RECORDS,
    partitions_def=RUNS,
    ins={"records": dg.AssetIn(RECORDS)},
    group_name=GROUP,
    kinds={"polars", "arrow"},
    owners=OWNERS,
    code_version="1",
    io_manager_key="arrow",
    description="The signature of every record (HMAC-SHA256), and the final hash that they chain to.",
)
def signed_records(
    context: dg.AssetExecutionContext, workspace: Workspace, records: ArrowReader
) -> dg.MaterializeResult:
    """Signs the records of a run."""
    started = time.monotonic()
    with explained():
        key = settings.signing_key()
        if key is not None and key.is_short:
            context.log.warning("The signing key is shorter than 16 bytes and may be guessed; use a longer one.")
        metadata = records.metadata | {"key_id": key.key_id if key else ""}
        path = workspace.unfinished(SIGNED_RECORDS, context.partition_key, "arrow")
        made = write_signatures(records, path, key, settings.budget(), metadata)
        records.close()
    return dg.MaterializeResult(
        value=made.file,
        data_version=dg.DataVersion(f"{made.final_hash}:{metadata['key_id']}"),
        metadata={
            "dagster/partition_row_count": made.file.rows,
            "final_hash": made.final_hash,
            "key id": metadata["key_id"] or "unsigned",
            "bytes": made.file.size,
            "seconds": round(time.monotonic() - started, 3),
        },
    )


_DESCRIPTIONS = {
    "jsonl": "records.jsonl: every record in order, canonical form, one a line. Staged for the package.",
    "csv": "csv/<record_type>.csv: a derived view for spreadsheets, formulas defused. Staged for the package.",
    "parquet": "parquet/<record_type>.parquet: a derived view with typed columns. Staged for the package.",
}


@dg.multi_asset(
    name="export__files",
    specs=[
        dg.AssetSpec(
            format_key(name),
            deps=[RECORDS, SIGNED_RECORDS],
            group_name=GROUP,
            kinds={"polars", name},
            owners=OWNERS,
            code_version="1",
            description=_DESCRIPTIONS[name],
        )
        for name in FORMATS
    ],
    ins={"records": dg.AssetIn(RECORDS), "signed_records": dg.AssetIn(SIGNED_RECORDS)},
    partitions_def=RUNS,
    can_subset=True,
)
def files(
    context: dg.AssetExecutionContext, workspace: Workspace, records: ArrowReader, signed_records: ArrowReader
) -> Iterator[dg.MaterializeResult]:
    """Writes the files of every format that is wanted, in one step: what two formats need of the records is made once."""
    started, run_id = time.monotonic(), context.partition_key
    selected = [name for name in FORMATS if format_key(name) in context.selected_asset_keys]
    with explained():
        wanted = [name for name in selected if name in settings.formats()]
        facts = signed_records.metadata
        _require_same(records, signed_records, run_id)
        signed = SignedRecords(
            _BY_NAME[facts["contract"]],
            run_id,
            json.loads(facts["utc"]),
            records,
            signed_records,
            _key_of(facts, run_id),
            is_last=all(name in wanted or workspace.has_staged(name, run_id) for name in settings.formats()),
        )
        staging = workspace.staging(run_id, context.run.run_id)
        staged = write_files(signed, staging, settings.budget(), wanted)
        for name, made in staged.items():
            workspace.note_staged(name, run_id, facts["final_hash"], made)
        records.close()
        signed_records.close()
    for name in selected:
        if name in staged:
            yield dg.MaterializeResult(
                asset_key=format_key(name),
                data_version=dg.DataVersion(_digest(staged[name])),
                metadata={
                    "files": _files_table(staged[name]),
                    "bytes": sum(file.facts.size for file in staged[name]),
                    "seconds (all formats of the step)": round(time.monotonic() - started, 3),
                },
            )
        else:
            yield dg.MaterializeResult(
                asset_key=format_key(name),
                data_version=dg.DataVersion("none"),
                metadata={"files": f"None: {settings.FORMAT_NAMES} leaves the format out."},
            )


def _require_same(records: ArrowReader, signed_records: ArrowReader, run_id: str) -> None:
    """The signatures must be of these records: the one is materialized after the other, perhaps not in one Dagster
    run."""
    theirs = signed_records.metadata
    if (
        any(theirs.get(key) != value for key, value in records.metadata.items())
        or records.batches != signed_records.batches
    ):
        raise PackageError(
            f"The signed records of run {run_id!r} are not of its present records. Materialize export/signed_records "
            f"again."
        )


def _key_of(facts: Mapping[str, str], run_id: str) -> SigningKey | None:
    """The key that records were signed with, which must be the present one."""
    key = settings.signing_key()
    if (key.key_id if key else "") != facts["key_id"]:
        raise PackageError(
            f"The records of run {run_id!r} are signed with the key {facts['key_id'] or '(none)'}, and the present key is "
            f"{key.key_id if key else '(none)'}. Materialize export/signed_records and the files again."
        )
    return key


def _digest(files: list[StagedFile]) -> str:
    """The content of staged files as a data version: the SHA-256 over the lines that sha256sum would print of the records in them."""
    lines = "".join(f"{file.content}  {file.path}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _files_table(files: list[StagedFile]) -> dg.MetadataValue:
    rows = "\n".join(
        f"| {file.path} | {file.facts.size:,} | {file.facts.rows:,} | `{file.facts.sha256}` |" for file in files
    )
    return dg.MetadataValue.md(f"| file | bytes | records | SHA-256 |\n|---|---:|---:|---|\n{rows}")


class ManifestConfig(dg.Config):
    """The run config of export/manifest."""

    supersede: bool = Field(
        default=False,
        description="Replace a package that is there and differs; the old one is kept aside, under its time stamp.",
    )


@dg.asset(
    key=MANIFEST,
    partitions_def=RUNS,
    ins={"signed_records": dg.AssetIn(SIGNED_RECORDS)},
    deps=[format_key(name) for name in FORMATS],
    group_name=GROUP,
    kinds={"json"},
    owners=OWNERS,
    code_version="1",
    retry_policy=RETRIES,
    description=(
        "The published package. Its files are read back and compared with what was written, manifest.json is written "
        "last, and the folder appears in one rename: a package with a manifest is complete, anything else is not an "
        "export."
    ),
)
def manifest(
    context: dg.AssetExecutionContext,
    config: ManifestConfig,
    audit_database: AuditDatabaseResource,
    workspace: Workspace,
    signed_records: ArrowReader,
) -> dg.MaterializeResult:
    """Publishes the package of a run."""
    started, run_id = time.monotonic(), context.partition_key
    with explained():
        facts = signed_records.metadata
        signed_records.close()
        key = _key_of(facts, run_id)
        if facts["states"] != ONE:
            _require_same_run(audit_database.get(), run_id, json.loads(facts["state"]), json.loads(facts["tables"]))
        status, started_at, completed_at = json.loads(facts["run"])
        export = Export(
            contract=facts["contract"],
            run_id=run_id,
            status=status,
            started_at=started_at,
            completed_at=completed_at,
            record_counts=json.loads(facts["record_counts"]),
            final_hash=facts["final_hash"],
            tables=json.loads(facts["tables"]),
            key=key,
            manifest_key=settings.manifest_key(),
        )
        names = settings.formats()
        staged = [file for name in names for file in workspace.staged(name, run_id, export.final_hash)]
        staging = workspace.staging(run_id, context.run.run_id)
        with run_lock(workspace.export_dir, run_id):
            published = publish(export, staged, workspace.export_dir, staging, supersede=config.supersede)
            for name in names:
                workspace.forget_staged(name, run_id)
            release(staging)
            clear_abandoned(staging_root(workspace.export_dir), run_id, lambda owner: _is_live(context.instance, owner))
    # In an instance that passes away nobody walks back to what it was made of, and to look for it takes a while.
    made = (
        {}
        if context.instance.is_ephemeral
        else {
            "made of": made_of(
                context.instance, [SIGNED_RECORDS, *map(format_key, names)], run_id, context.run.run_id
            )
        }
    )
    return dg.MaterializeResult(
        data_version=dg.DataVersion(published.manifest_sha256),
        metadata={
            **_manifest_metadata(published),
            **made,
            "seconds": round(time.monotonic() - started, 3),
        },
    )


def _require_same_run(database: AuditDatabase, run_id: str, state: list[str], rows: dict[str, int]) -> None:
    """Tables that were loaded one by one must still be the run's: it ended before the first was read, and has not
    changed since.

    Each table file says which state the run's own row had in the transaction that read it; all say the same, of a run
    that had ended (`run_of`). ELSPETH only adds rows to a run, and none once it has ended: so if the run is in that
    state still and has as many rows in every table as were read, then each table was read whole.

    Args:
        database: the audit database, at present.
        run_id: the run.
        state: its status, started_at and completed_at when its tables were read.
        rows: table → rows that were read.

    Raises:
        PackageError: the run has changed since.
        RunNotExportable: it is no longer there, or goes on.
    """
    run = database.finished_run(run_id)
    what = f"The tables of run {run_id!r} were loaded in separate steps, and they are not of one state of the run: "
    advice = ". Materialize all of its tables again (the job export_run)."
    if [run.status, run.started_at, run.completed_at] != state:
        raise PackageError(
            f"{what}it was {state[0]} at {state[2]} when they were read, and is {run.status} at {run.completed_at} "
            f"now{advice}"
        )
    for name, found in database.count(run_id).items():
        if found != rows[name]:
            raise PackageError(f"{what}of table {name} {rows[name]} rows were read, and there are {found} now{advice}")


def _is_live(instance: dg.DagsterInstance, dagster_run_id: str) -> bool:
    run = instance.get_run_by_id(dagster_run_id)
    return run is not None and not run.is_finished


def _manifest_metadata(published: Published) -> dict[str, object]:
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


EXPORT_ASSETS: list[dg.AssetsDefinition] = [records, signed_records, files, manifest]
