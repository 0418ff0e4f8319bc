"""The audit tables as assets: one for each, loaded by one statement each and one step for all.

Belongs here: the assets `landscape/<table>` and what the UI shows of them. Does not belong here: statements and checks
(`contract/`, `database/`).
"""

import hashlib
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from ..contract import ALL_TABLES, CONTRACTS, Column, Kind, Table
from ..database.tables import LoadedTables, TableFacts, load_tables
from .failures import RETRIES, explained
from .partitions import RUNS
from .resources import Workspace

OWNERS = ["team:audit-exports"]
CODE_VERSION = "2"

AUDIT_DATABASE = dg.AssetSpec(
    dg.AssetKey(["landscape", "audit_database"]),
    group_name="audit_database",
    kinds={"sql"},
    owners=OWNERS,
    description="The audit database that ELSPETH writes: where everything comes from. It is read, never changed.",
)


def group_of(table: Table) -> str:
    """The group of the tables that are about the same."""
    return f"audit_{table.about}"


def table_key(table: str) -> dg.AssetKey:
    """The asset of an audit table."""
    return dg.AssetKey(["landscape", table])


def generations(table: str) -> tuple[str, ...]:
    """The contracts that have a table, the oldest first."""
    return tuple(contract.name for contract in reversed(CONTRACTS) if table in contract.tables)


class TablesConfig(dg.Config):
    """The run config of the step that loads the tables."""

    interrupted: bool = Field(
        default=False,
        description="Export the run though it was interrupted and may be resumed; its manifest says that it was.",
    )


@dg.multi_asset(
    name="landscape__tables",
    specs=[
        dg.AssetSpec(
            table_key(table.name),
            deps=[AUDIT_DATABASE.key],
            group_name=group_of(table),
            kinds={"polars", "arrow"},
            owners=OWNERS,
            code_version=CODE_VERSION,
            description=(
                f"{table.description} The rows of one run, read by one statement, as a checked Arrow file. In contract "
                f"{', '.join(generations(table.name))}."
            ),
            metadata={"contracts": list(generations(table.name))},
        )
        for table in ALL_TABLES.values()
    ],
    partitions_def=RUNS,
    retry_policy=RETRIES,
    description="Loads all audit tables of a run from one snapshot of the audit database.",
)
def tables(
    context: dg.AssetExecutionContext, config: TablesConfig, workspace: dg.ResourceParam[Workspace]
) -> Iterator[dg.MaterializeResult[None]]:
    """Loads the tables of a run: all of them or none, so that they are of one state of the database."""
    run_id = context.partition_key
    with explained(workspace.settings):
        unfinished = {name: workspace.unfinished(table_key(name), run_id) for name in ALL_TABLES}
        try:
            loaded = load_tables(
                workspace.settings.database_url,
                [run_id],
                unfinished.__getitem__,
                raw_error_rows=workspace.settings.options.raw_error_rows,
                interrupted=config.interrupted,
            )
            for name in loaded.tables:
                workspace.finish(table_key(name), run_id, unfinished[name])
        finally:
            for path in unfinished.values():
                path.unlink(missing_ok=True)
        source = source_metadata(loaded, 0) | {"read at": dg.MetadataValue.timestamp(datetime.now(UTC))}
        context.log_event(dg.AssetObservation(AUDIT_DATABASE.key, description="Read for an export.", metadata=source))
    for name in ALL_TABLES:  # the step must give something for each of its assets
        facts = loaded.tables.get(name)
        yield dg.MaterializeResult(
            asset_key=table_key(name),
            data_version=dg.DataVersion("none" if facts is None else facts.contents[0]),
            metadata=source | (_no_table(loaded) if facts is None else _table_metadata(facts)),
        )


def source_metadata(loaded: LoadedTables, number: int) -> dict[str, Any]:
    """Where the rows of one run came from: the database without credentials, the run_id that was bound, and the state
    of the run in it, as one hash of what all tables held.

    Args:
        loaded: the tables that were loaded together.
        number: the number of the run among those that were loaded.
    """
    contents = "".join(f"{name} {facts.contents[number]}\n" for name, facts in sorted(loaded.tables.items()))
    return {
        "database": loaded.database,
        "contract": loaded.contract.name,
        "epoch": "none is noted" if loaded.epoch is None else loaded.epoch,
        "bound run_id": loaded.runs[number].run_id,
        "state of the run": hashlib.sha256(contents.encode()).hexdigest(),
    }


def _table_metadata(facts: TableFacts) -> dict[str, Any]:
    """What the UI shows of the rows of a run in a table."""
    return {
        "in the contract of the run": True,
        "dagster/partition_row_count": facts.rows[0],
        "dagster/column_schema": _column_schema(facts.table),
        "statement": dg.MetadataValue.md(f"```sql\n{_wrapped(facts.statement)}\n```"),
        "content hash": facts.contents[0],
        "seconds": round(facts.seconds, 3),
    }


def _no_table(loaded: LoadedTables) -> dict[str, Any]:
    """What it shows of a table that the database does not have by its contract."""
    nothing = f"Contract {loaded.contract.name} has no such table; nothing was read, and nothing is missing."
    return {"in the contract of the run": False, "dagster/partition_row_count": 0, "statement": nothing}


def statement_in_one_line(facts: TableFacts) -> str:
    """A statement in a cell of a table."""
    return f"`{' '.join(facts.statement.replace('|', '&#124;').split())}`"


def _column_schema(table: Table) -> dg.TableSchema:
    return dg.TableSchema([column_of(column, column.name, column.description) for column in table.columns])


def _wrapped(statement: str) -> str:
    """A statement in lines that fit the page; only blanks between its words become line ends."""
    lines = statement.splitlines()
    return "\n".join(
        textwrap.fill(line, 72, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for line in lines
    )


def column_of(column: Column, name: str, description: str) -> dg.TableColumn:
    """A column of the contract as the UI shows it, under a name."""
    return dg.TableColumn(
        name,
        type=_TYPE_NAMES.get(column.kind, column.kind.value),
        description=description,
        constraints=dg.TableColumnConstraints(nullable=not column.required),
    )


_TYPE_NAMES = {Kind.TIME: "timestamp[us]", Kind.INTEGER: "int64", Kind.FLOAT: "double", Kind.ENUM: "text"}
