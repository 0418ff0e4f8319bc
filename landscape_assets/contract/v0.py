"""Contract v0, as data: the Landscape of ELSPETH 0.1 (February 2026), said as what differs from v1.

Belongs here: the differences. No token_outcome records; operations without the two payload hashes; tokens without a
run_id of their own (they reach the run through their row).
"""

from __future__ import annotations

from dataclasses import replace

from .model import Contract, Group, Marker
from .v1 import V1

_OPERATIONS = replace(
    V1.tables["operations"],
    columns=tuple(
        column
        for column in V1.tables["operations"].columns
        if column.name not in ("input_data_hash", "output_data_hash")
    ),
)

_TOKENS = replace(V1.tables["tokens"], own_run_id=False)


def _without(table: str, groups: tuple[Group, ...]) -> tuple[Group, ...]:
    return tuple(replace(group, children=_without(table, group.children)) for group in groups if group.table != table)


V0 = Contract(
    name="v0",
    written_by="ELSPETH 0.1 (February 2026)",
    markers=(
        Marker("operations", "output_data_hash", present=False),
        Marker("tokens", "run_id", present=False),
    ),
    tables={
        name: {"operations": _OPERATIONS, "tokens": _TOKENS}.get(name, table)
        for name, table in V1.tables.items()
        if name != "token_outcomes"
    },
    order=_without("token_outcomes", V1.order),
)
