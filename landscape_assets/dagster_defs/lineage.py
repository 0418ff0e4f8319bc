"""Which materializations a package was made of, and which columns its records come from.

Belongs here: the walk from one materialization back to those that it was made of, by what Dagster keeps with each
(https://docs.dagster.io/guides/build/assets/asset-versioning-and-caching), and column lineage
(https://docs.dagster.io/guides/build/assets/metadata-and-tags/column-level-lineage). Does not belong here: the assets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

import dagster as dg

from ..contract import Contract, Table
from .tables import column_of, table_key

DATA_VERSION_TAG = "dagster/data_version"
INPUT_VERSION_TAG = "dagster/input_data_version/"
"""Dagster keeps with each materialization a tag for each of its inputs: the asset, and the SHA-256 of the data version
that the input's partition had when the step began. The tag that points to an event is of no use: it names the newest
materialization of the asset in any partition."""

_LOOKED_AT = 25
"""How many materializations of one partition of an asset are looked at, the newest first: more than can come about
while one export goes on."""


def made_of(
    instance: dg.DagsterInstance, assets: Iterable[dg.AssetKey], partition: str, dagster_run_id: str
) -> dg.MetadataValue:
    """A table of the materializations of some assets that a Dagster run works with, of those that they were made of,
    and so on back to the tables.

    Each row leads to the materialization's own page, with its statement, columns and rows.

    Args:
        instance: the Dagster instance.
        assets: where the walk begins.
        partition: the run.
        dagster_run_id: the Dagster run that has read these assets.
    """
    events = list(_walk(instance, list(assets), partition, dagster_run_id))
    sources = dict.fromkeys(source for event in events if (source := _source(event)))
    rows = [
        f"| [{event.asset_key.to_user_string()}]({_page(event)}) | {_rows(event)} | `{_version(event)[:16]}` | "
        f"[{event.run_id[:8]}](/runs/{event.run_id}) |"
        for event in events
        if event.asset_key is not None
    ]
    lines = [*sources, "", "| materialization | rows | data version | Dagster run |", "|---|---:|---|---|", *rows]
    return dg.MetadataValue.md("\n".join(lines))


def source_line(database: str, run_id: str, state: str, read_at: str) -> str:
    """The audit database as the first line of what a package was made of."""
    return f"From one snapshot of {database}, with run_id bound to `{run_id}`; state of the run `{state}`{read_at}."


def _source(event: dg.EventLogRecord) -> str:
    """Where a table was read; empty for another asset."""
    metadata = event.asset_materialization.metadata if event.asset_materialization else {}
    if "database" not in metadata:
        return ""
    database, run_id, state = (str(metadata[name].value) for name in ("database", "bound run_id", "state of the run"))
    read_at = datetime.fromtimestamp(float(str(metadata["read at"].value)), UTC).isoformat(timespec="seconds")
    return source_line(database, run_id, state, f", read at {read_at}")


class _Input(NamedTuple):
    """An asset that a Dagster run has read: before which event, if that is known, and the tag of its data version."""

    asset: dg.AssetKey
    dagster_run_id: str
    before: int | None = None
    version: str | None = None


def _walk(
    instance: dg.DagsterInstance, assets: list[dg.AssetKey], partition: str, dagster_run_id: str
) -> Iterator[dg.EventLogRecord]:
    waiting = [_Input(key, dagster_run_id) for key in assets]
    seen = set(assets)
    while waiting:
        event = _read(instance, waiting.pop(0), partition)
        if event is None:
            continue
        yield event
        for each in _inputs(event):
            if each.asset not in seen:
                seen.add(each.asset)
                waiting.append(each)


def _read(instance: dg.DagsterInstance, wanted: _Input, partition: str) -> dg.EventLogRecord | None:
    """The materialization of an input that was read; None when Dagster has none.

    Other Dagster runs may have materialized the same partition meanwhile, and what is stored is what came last. So it
    is one of those that have the data version that Dagster noted; of these, that of the same Dagster run or else the
    newest.
    """
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=wanted.asset, asset_partitions=[partition], before_storage_id=wanted.before),
        limit=_LOOKED_AT,
    ).records
    as_noted = [event for event in found if hashlib.sha256(_version(event).encode()).hexdigest() == wanted.version]
    candidates = as_noted or found
    own = [event for event in candidates if event.run_id == wanted.dagster_run_id]
    return next(iter(own or candidates), None)


def _inputs(event: dg.EventLogRecord) -> Iterator[_Input]:
    tags = event.asset_materialization.tags if event.asset_materialization else None
    for tag, version in (tags or {}).items():
        if tag.startswith(INPUT_VERSION_TAG):
            asset = dg.AssetKey.from_user_string(tag.removeprefix(INPUT_VERSION_TAG))
            yield _Input(asset, event.run_id, event.storage_id, version)


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
