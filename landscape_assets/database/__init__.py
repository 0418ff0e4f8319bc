"""The audit database: opened read-only, its contract recognised, each table read as checked batches."""

from .audit_database import AuditDatabase, Run, TableStream
from .membership import RUN, RunNumbers, RunsOfIds
from .source import ScanFailed

__all__ = ["RUN", "AuditDatabase", "Run", "RunNumbers", "RunsOfIds", "ScanFailed", "TableStream"]
