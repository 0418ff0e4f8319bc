"""Which materializations a package was made of, and which columns its records come from.

Belongs here: the walk from one materialization back to those that it was made of, by the pointers that Dagster keeps
with each (https://docs.dagster.io/guides/build/assets/asset-versioning-and-caching), and column lineage
(https://docs.dagster.io/guides/build/assets/metadata-and-tags/column-level-lineage). Does not belong here: the assets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import quote

import dagster as dg

from ..contract import Contract
from .tables import column_of, table_key

DATA_VERSION_TAG = "dagster/data_version"
POINTER_TAG = "dagster/input_event_pointer/"


def made_of(instance: dg.DagsterInstance, assets: Iterable[dg.AssetKey], partition: str) -> dg.MetadataValue:
    """A table of the present materializations of some assets, of those that they were made of, and so on back to the
    tables.

    Each row leads to the materialization's own page, with its statement, columns and rows.

    Args:
        instance: the Dagster instance.
        assets: where the walk begins.
        partition: the run.
    """
    rows = [
        f"| [{event.asset_key.to_user_string()}]({_page(event)}) | {_rows(event)} | `{_version(event)[:16]}` | "
        f"[{event.run_id[:8]}](/runs/{event.run_id}) |"
        for event in _walk(instance, list(assets), partition)
    ]
    return dg.MetadataValue.md(
        "\n".join(["| materialization | rows | data version | Dagster run |", "|---|---:|---|---|", *rows])
    )


def _walk(instance: dg.DagsterInstance, assets: list[dg.AssetKey], partition: str) -> Iterator[dg.EventLogRecord]:
    waiting = [dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition]) for key in assets]
    seen = set(assets)
    while waiting:
        for event in instance.fetch_materializations(waiting.pop(0), limit=1).records:
            yield event
            for key, storage_id in _pointers(event):
                if key not in seen:
                    seen.add(key)
                    waiting.append(dg.AssetRecordsFilter(asset_key=key, storage_ids=[storage_id]))


def _pointers(event: dg.EventLogRecord) -> Iterator[tuple[dg.AssetKey, int]]:
    """The inputs of a materialization: the asset, and the id of the event that was its newest then."""
    tags = event.asset_materialization.tags if event.asset_materialization else None
    for tag, pointer in (tags or {}).items():
        if tag.startswith(POINTER_TAG) and pointer.isdecimal():
            yield dg.AssetKey.from_user_string(tag.removeprefix(POINTER_TAG)), int(pointer)


def _page(event: dg.EventLogRecord) -> str:
    assert event.asset_key is not None
    path = "/".join(quote(part, safe="") for part in event.asset_key.path)
    return f"/assets/{path}?view=events&time={int(event.timestamp * 1000)}"


def _rows(event: dg.EventLogRecord) -> str:
    metadata = event.asset_materialization.metadata if event.asset_materialization else {}
    return f"{metadata['dagster/partition_row_count'].value:,}" if "dagster/partition_row_count" in metadata else ""


def _version(event: dg.EventLogRecord) -> str:
    tags = event.asset_materialization.tags if event.asset_materialization else None
    return (tags or {}).get(DATA_VERSION_TAG, "")


def record_fields(contract: Contract) -> dg.TableSchema:
    """Every field of every record type, named `record_type.field`, as columns that say where they come from.

    The source stands in the description too, because the open-source UI does not draw column lineage.
    """
    return dg.TableSchema(
        columns=[
            column_of(
                column, f"{table.record_type}.{column.field}", f"From {table.name}.{column.name}. {column.description}"
            )
            for table in contract.tables.values()
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
