"""Contract v070, as data: the Landscape of ELSPETH 0.7.0, said as what differs from v060.

Belongs here: the differences. Raw error rows are redacted; routing events have a run_id of their own; an object with
one particular key is signed in another form; results may be taken from a cache, which then has a key.
"""

from __future__ import annotations

from dataclasses import replace

from .model import Contract, Table
from .rules import Is, When
from .v060 import RUNS as RUNS_OF_V060
from .v060 import V060


def redacted(table: Table) -> Table:
    """A table of errors, the row of each of which is exported only when that is asked for."""
    columns = (replace(column, redacted=column.name == "row_data_json") for column in table.columns)
    return replace(table, columns=tuple(columns))


RUNS = replace(
    RUNS_OF_V060,
    rules=(*RUNS_OF_V060.rules, When((Is("seeded_from_cache", (True,)),), required=("cache_key",))),
)

CHANGED = {
    "runs": RUNS,
    "validation_errors": redacted(V060.tables["validation_errors"]),
    "transform_errors": redacted(V060.tables["transform_errors"]),
    "routing_events": replace(V060.tables["routing_events"], own_run_id=True),
}

V070 = Contract(
    name="v070",
    written_by="ELSPETH 0.7.0",
    epoch=22,
    finished=V060.finished,
    backends=("sqlite",),
    tagged_key="__elspeth_canonical_type__",
    tables=V060.tables | CHANGED,
    order=V060.order,
)
