"""Which materializations a package was made of, and which columns its records come from.

Belongs here: finding the materializations of the tables that were read, by their data versions
(https://docs.dagster.io/guides/build/assets/asset-versioning-and-caching), and column lineage
(https://docs.dagster.io/guides/build/assets/metadata-and-tags/column-level-lineage). Does not belong here: the assets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote

import dagster as dg

from ..contract import Contract, Table
from .tables import column_of, table_key

DATA_VERSION_TAG = "dagster/data_version"

_LOOKED_AT = 25
"""How many materializations of one partition of a table are looked at, the newest first: more than can come about while
one export goes on."""


def made_of(
    instance: dg.DagsterInstance, contents: Mapping[str, str], partition: str, dagster_run_id: str
) -> dg.MetadataValue:
    """A table of the materializations that a Dagster run has read.

    Each row leads to the materialization's own page, with its statement, columns and rows.

    Args:
        instance: the Dagster instance.
        contents: table → the data version of what was read.
        partition: the run.
        dagster_run_id: the Dagster run that has read these tables.
    """
    materializations = instance.all_logs(dagster_run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    own = {one.asset_materialization.asset_key: one for one in materializations if one.asset_materialization}
    found = (_read(instance, table_key(table), content, partition, own) for table, content in contents.items())
    events = [event for event in found if event is not None]
    sources = dict.fromkeys(_source(event) for event in events)
    rows = [
        f"| [{event.asset_materialization.asset_key.to_user_string()}]({_page(event)}) | {_rows(event)} | "
        f"`{_version(event)[:16]}` | [{event.run_id[:8]}](/runs/{event.run_id}) |"
        for event in events
        if event.asset_materialization is not None
    ]
    lines = [*sources, "", "| materialization | rows | data version | Dagster run |", "|---|---:|---|---|", *rows]
    return dg.MetadataValue.md("\n".join(lines))


def _read(
    instance: dg.DagsterInstance,
    table: dg.AssetKey,
    content: str,
    partition: str,
    own: Mapping[dg.AssetKey, dg.EventLogEntry],
) -> dg.EventLogEntry | None:
    """The materialization of a table that was read; None when Dagster has none.

    Other Dagster runs may have materialized the same partition meanwhile, and what is stored is what came last. So it
    is one that has the data version of what was read: that of the Dagster run itself, or else the newest.
    """
    if table in own and _version(own[table]) == content:
        return own[table]
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=table, asset_partitions=[partition]), limit=_LOOKED_AT
    ).records
    events = [record.event_log_entry for record in found]
    return next((event for event in events if _version(event) == content), None)


def source_line(database: str, run_id: str, state: str, read_at: str) -> str:
    """The audit database as the first line of what a package was made of."""
    return f"From one snapshot of {database}, with run_id bound to `{run_id}`; state of the run `{state}`{read_at}."


def _source(event: dg.EventLogEntry) -> str:
    """Where a table was read."""
    metadata = event.asset_materialization.metadata if event.asset_materialization else {}
    database, run_id, state = (str(metadata[name].value) for name in ("database", "bound run_id", "state of the run"))
    read_at = datetime.fromtimestamp(float(str(metadata["read at"].value)), UTC).isoformat(timespec="seconds")
    return source_line(database, run_id, state, f", read at {read_at}")


def _page(event: dg.EventLogEntry) -> str:
    assert event.asset_materialization is not None
    path = "/".join(quote(part, safe="") for part in event.asset_materialization.asset_key.path)
    return f"/assets/{path}?view=events&time={int(event.timestamp * 1000)}"


def _rows(event: dg.EventLogEntry) -> str:
    metadata = event.asset_materialization.metadata if event.asset_materialization else {}
    return f"{metadata['dagster/partition_row_count'].value:,}" if "dagster/partition_row_count" in metadata else ""


def _version(event: dg.EventLogEntry) -> str:
    tags = event.asset_materialization.tags if event.asset_materialization else None
    return (tags or {}).get(DATA_VERSION_TAG, "")


def record_fields(tables: Iterable[Table]) -> dg.TableSchema:
    """Every field of the record types of tables, named `record_type.field`, as columns that say where they come from.

    The source stands in the description too, because the open-source UI does not draw column lineage.
    """
    return dg.TableSchema(
        columns=[
            column_of(
                column,
                f"{table.record_type}.{column.field}",
                f"From {column.of or table.name}.{column.name}. {column.description}",
            )
            for table in tables
            for column in table.fields
        ]
    )


def field_lineage(contract: Contract) -> dg.TableColumnLineage:
    """Which table column each record field comes from."""
    return dg.TableColumnLineage(
        {
            f"{table.record_type}.{column.field}": [dg.TableColumnDep(table_key(table.name), column.name)]
            for table in contract.tables.values()
            for column in table.fields
        }
    )
