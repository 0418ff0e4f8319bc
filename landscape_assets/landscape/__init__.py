"""The audit database: open it read-only, recognise its contract, one statement per table, checked record batches out."""

from .database import AuditDatabase, Run, TableStream

__all__ = ["AuditDatabase", "Run", "TableStream"]
