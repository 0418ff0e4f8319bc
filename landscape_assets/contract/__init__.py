"""The record contracts of the Landscape as data: tables, columns, types, record fields, order, rules.

Belongs here: everything that a new audit table, field or generation changes. No I/O, no Dagster, no Polars.
"""

from .model import Column, Contract, Group, Kind, Table
from .recognise import ALL_TABLES, CONTRACTS, UnknownContract, recognise
from .v0 import V0
from .v060 import V060
from .v070 import V070
from .v071 import V071
from .v1 import V1

__all__ = [
    "ALL_TABLES",
    "CONTRACTS",
    "V0",
    "V060",
    "V070",
    "V071",
    "V1",
    "Column",
    "Contract",
    "Group",
    "Kind",
    "Table",
    "UnknownContract",
    "recognise",
]
