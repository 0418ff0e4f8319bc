"""The audit database: open it read-only, recognise its contract, one statement per table, checked record batches out."""

from .audit_database import AuditDatabase, Run, TableStream
from .membership import RUN, RunNumbers, RunsOfIds
from .source import ScanFailed

__all__ = ["RUN", "AuditDatabase", "Run", "RunNumbers", "RunsOfIds", "ScanFailed", "TableStream"]
