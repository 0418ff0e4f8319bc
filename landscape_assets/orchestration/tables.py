"""The audit tables as assets: one for each, loaded by one statement.

Belongs here: the assets `landscape/<table>` and what the UI shows of them. Does not belong here: statements and checks
(`contract/`, `landscape/`).
"""

import json
import textwrap

import dagster as dg

from ..contract import V1, Column, Kind, Table
from ..export.arrow_file import ArrowReader
from ..export.tables import TableFacts
from ..landscape import AuditDatabase
from .failures import RETRIES, explained
from .partitions import RUNS
from .resources import AuditDatabaseResource, Workspace, table_key

GROUP = "audit_tables"
OWNERS = ["team:audit-exports"]
CODE_VERSION = "1"

AUDIT_DATABASE = dg.AssetSpec(
    dg.AssetKey(["landscape", "audit_database"]),
    group_name="audit_database",
    kinds={"sql"},
    owners=OWNERS,
    description="The audit database that ELSPETH writes: where everything comes from. It is read, never changed.",
)


def _table_asset(table: Table) -> dg.AssetsDefinition:
    # Every table waits for `runs`, which refuses a run that is unknown or unfinished: then that is the one message.
    upstream = [AUDIT_DATABASE.key] if table.name == "runs" else [AUDIT_DATABASE.key, table_key("runs")]

    @dg.asset(
        key=table_key(table.name),
        partitions_def=RUNS,
        deps=upstream,
        group_name=GROUP,
        kinds={"polars", "arrow"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        io_manager_key="arrow",
        retry_policy=RETRIES,
        description=f"{table.description} The rows of one run, read by one statement, as a checked Arrow file.",
    )
    def audit_table(
        context: dg.AssetExecutionContext, audit_database: AuditDatabaseResource, workspace: Workspace
    ) -> dg.MaterializeResult:
        with explained():
            if table.name == "runs":
                _observe(context, audit_database.get())
            return _shown(audit_database.load(table.name, context.partition_key, workspace))

    return audit_table


def _observe(context: dg.AssetExecutionContext, database: AuditDatabase) -> None:
    """Notes in the lineage which database was read."""
    metadata = {"database": database.shown, "contract": database.contract.name, "runs": len(database.runs)}
    context.log_event(dg.AssetObservation(AUDIT_DATABASE.key, description="Read for an export.", metadata=metadata))


def _shown(made: TableFacts) -> dg.MaterializeResult:
    return dg.MaterializeResult(
        value=made.file,
        data_version=dg.DataVersion(made.file.checksum),
        metadata={
            "dagster/partition_row_count": made.file.rows,
            "dagster/column_schema": _column_schema(made.table),
            "statement": dg.MetadataValue.md(f"```sql\n{_wrapped(made.statement)}\n```")
            if made.statement
            else f"Contract {made.contract} has no such records; nothing was read.",
            "contract": made.contract,
            "bytes": made.file.size,
            "seconds": round(made.seconds, 3),
            "XXH3-128": made.file.checksum,
        },
    )


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

TABLE_ASSETS: list[dg.AssetsDefinition] = [_table_asset(table) for table in V1.tables.values()]
"""One asset for each audit table, in the order of the contract."""


def run_of(tables: dict[str, ArrowReader]) -> list[str]:
    """What the table files say of the run: status, started_at, completed_at; every file says the same.

    Raises:
        dg.Failure: they do not: they are of different states of the run.
    """
    said = {reader.metadata["run"] for reader in tables.values()}
    if len(said) > 1:
        raise dg.Failure(
            "The stored tables are of different states of the run. Materialize all of them again.", allow_retries=False
        )
    return json.loads(said.pop())
