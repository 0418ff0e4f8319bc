"""The errors that a reader of messages can meet, one class for each thing that they can do about it.

Belongs here: exception classes, and messages that several rooms give; every room may import this module. Each message
says what was wrong, where, and what to do.
"""

from __future__ import annotations

NO_MEMORY = (
    "There is not enough memory, and what was being done has not been done. Give the process more (a limit of ulimit "
    "-v or of its container), or let the export take less (LANDSCAPE_MEMORY_MB)."
)
"""What a MemoryError means, that of Arrow included."""


class ExportError(Exception):
    """Anything that stops an export and that a person can act on; its text is the whole message."""


class DatabaseError(ExportError):
    """The audit database cannot be used. `transient`: trying again later may help (it is locked, or out of reach)."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class RunNotExportable(ExportError):
    """The run does not exist, or has not finished."""


class CorruptTable(ExportError):
    """The audit data breaks the record contract.

    Args:
        table: the audit table.
        id: the row, by the id columns that the contract names.
        column: the column at fault.
        found: what was found there, as text; shortened when long.
        rule: the rule that it breaks, as the end of a sentence.
    """

    def __init__(self, table: str, id: str, column: str, found: object, rule: str) -> None:
        shown = found if isinstance(found, str) else repr(found)
        self.table, self.id, self.column, self.found, self.rule = table, id, column, shown, rule
        if len(shown) > 200:
            shown = shown[:200] + "…"
        super().__init__(f"Corrupt audit data: table {table}, {id}, column {column}: found {shown}, {rule}.")


class SigningKeyError(ExportError):
    """The signing key is missing, blank or unreadable. The message never holds any of the key."""


class PackageError(ExportError):
    """A package could not be made, is damaged, or differs from what the export gives now."""


class StorageError(ExportError):
    """A file that is kept between two steps is not as it was written."""
