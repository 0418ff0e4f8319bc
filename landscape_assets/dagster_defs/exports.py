"""From the tables of a run to its published package, as assets.

Belongs here: the assets `export/...`, their run config, and what the UI shows of them. Does not belong here: what they
compute (`records/`, `formats/`, `package/`).
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import dagster as dg
from pydantic import Field

from ..contract import ALL_TABLES
from ..database.tables import StoredTables
from ..errors import PackageError
from ..formats import FORMATS
from ..package import publish
from ..pipeline import write_packages
from ..settings import FORMAT_NAMES, RAW_ERROR_ROWS, Settings
from ..storage.work_dirs import run_lock
from .export_log import log_published
from .failures import explained
from .lineage import DATA_VERSION_TAG, field_lineage, made_of, record_fields
from .package_metadata import MANIFEST, format_key, manifest_metadata, package_events
from .partitions import RUNS
from .resources import Workspace
from .tables import OWNERS, table_key

GROUP = "export"


RECORDS = dg.AssetKey(["export", "records"])
SIGNED_RECORDS = dg.AssetKey(["export", "signed_records"])
PACKAGE_STEP = "export__package"
"""The step that makes and signs the records, writes the files and publishes the package."""

_DESCRIPTIONS = {
    "jsonl": "records.jsonl: every record in order, canonical form, one a line.",
    "csv": "csv/<record_type>.csv: a derived view for spreadsheets, formulas defused.",
    "parquet": "parquet/<record_type>.parquet: a derived view with typed columns.",
    "html": "report.html: what happened in the run, as one page for people; a derived view.",
}


class PackageConfig(dg.Config):
    """The run config of the step that makes the package."""

    supersede: bool = Field(
        default=False,
        description="Replace a package that is there and differs; the old one is kept aside, under its time stamp.",
    )


@dg.multi_asset(
    name=PACKAGE_STEP,
    specs=[
        dg.AssetSpec(
            RECORDS,
            deps=[table_key(name) for name in ALL_TABLES],
            group_name=GROUP,
            kinds={"polars", "arrow"},
            owners=OWNERS,
            code_version="3",
            metadata={"dagster/column_schema": record_fields(ALL_TABLES.values())},
            description=(
                "Every record of the run, each in its place, in canonical form (RFC 8785): tables joined and ordered."
            ),
        ),
        dg.AssetSpec(
            SIGNED_RECORDS,
            deps=[RECORDS],
            group_name=GROUP,
            kinds={"polars", "arrow"},
            owners=OWNERS,
            code_version="1",
            description=(
                "The signature of every record (HMAC-SHA256), and the final hash that they chain to. The files of the "
                "package hold them."
            ),
        ),
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
    description=(
        "Makes the records of a run from its tables, signs them, writes them in every format, and publishes the files "
        "with their manifest."
    ),
)
def package(
    context: dg.AssetExecutionContext, config: PackageConfig, workspace: dg.ResourceParam[Workspace]
) -> Iterator[dg.MaterializeResult[None]]:
    """Makes and publishes the package of a run from its stored tables."""
    started, run_id, settings = time.monotonic(), context.partition_key, workspace.settings
    with (
        explained(settings),
        run_lock(workspace.export_dir, run_id),
        workspace.scratch(run_id, context.run.run_id) as scratch,
        workspace.staging(run_id, context.run.run_id) as staging,
        StoredTables(lambda name: workspace.stored(table_key(name), run_id)) as tables,
    ):
        _require_same_rows(tables, run_id, settings)
        if settings.key is not None and settings.key.is_short:
            context.log.warning("The signing key is shorter than 16 bytes and may be guessed; use a longer one.")
        with closing(write_packages(tables, settings, scratch, lambda number: staging)) as packages:
            (written,) = packages
        published = publish(written.export, written.staged, workspace.export_dir, staging, supersede=config.supersede)
        logged = log_published(context, settings, published)
        contents = tables.contents(0)
    origin = None
    # What an ephemeral instance holds is never looked at.
    if not context.instance.is_ephemeral:
        origin = made_of(context.instance, contents, run_id, context.run.run_id)
    contract, files = tables.contract, written.files
    rows = {"dagster/partition_row_count": sum(files.record_counts.values())}
    yield dg.MaterializeResult(
        asset_key=RECORDS,  # its data version is Dagster's own: that of its code and of all tables
        metadata=rows
        | {
            "dagster/column_lineage": field_lineage(contract),
            "records by type": _counts_table(files.record_counts),
            "contract": contract.name,
        },
    )
    key_id = settings.key.key_id if settings.key else ""
    yield dg.MaterializeResult(
        asset_key=SIGNED_RECORDS,
        data_version=dg.DataVersion(f"{files.final_hash}:{key_id}"),
        metadata=rows | {"final_hash": files.final_hash, "key id": key_id or "unsigned"},
    )
    events = list(package_events(published, files))
    # The step must give something for each of its assets.
    for name in (name for name in FORMATS if format_key(name) not in {event.asset_key for event in events}):
        reason = "the package was made without it" if name in settings.formats else f"{FORMAT_NAMES} leaves it out"
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


def _counts_table(counts: Mapping[str, int]) -> dg.MetadataValue:
    rows = "\n".join(f"| {name} | {count:,} |" for name, count in counts.items())
    return dg.MetadataValue.md(f"| record type | records |\n|---|---:|\n{rows}")


def _require_same_rows(tables: StoredTables, run_id: str, settings: Settings) -> None:
    """Makes sure that the tables were loaded with the present choice of rows in records of errors.

    Raises:
        PackageError: they were not.
    """
    if tables.contract.redacts and tables.raw_error_rows != settings.options.raw_error_rows:
        raise PackageError(
            f"The tables of run {run_id!r} were loaded {'with' if tables.raw_error_rows else 'without'} the rows in "
            f"records of errors, and {RAW_ERROR_ROWS} says otherwise now. Materialize the tables and what follows them "
            f"again (the job export_run)."
        )
