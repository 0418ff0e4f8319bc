"""Which contract a database has, told from its columns alone.

Belongs here: the decision and its error. Does not belong here: reading the columns from a database (`database/`).
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from ..errors import ExportError
from .model import Contract, Marker
from .v0 import V0
from .v1 import V1

CONTRACTS: tuple[Contract, ...] = (V1, V0)
"""Every contract in force, newest first."""

LATER: tuple[tuple[Marker, str], ...] = (
    (Marker("artifacts", "sink_effect_id", present=True), "ELSPETH 0.7.1 or later"),
    (Marker("token_outcomes", "path", present=True), "ELSPETH 0.6 or later"),
    (Marker("rows", "ingest_sequence", present=True), "ELSPETH 0.6 or later"),
)
"""Columns of generations that have no contract here yet (contract notes, introduction)."""


class UnknownContract(ExportError):
    """The database fits no contract; the message says what was looked for and what was found."""


def recognise(columns: Mapping[str, Set[str]]) -> Contract:
    """The contract that a database keeps.

    Args:
        columns: table name → its column names, as found in the database.

    Returns:
        The one contract whose markers and columns are all there.

    Raises:
        UnknownContract: no contract fits.
    """
    core = ("runs", "nodes", "rows", "tokens", "node_states")
    missing = [name for name in core if name not in columns]
    if missing:
        found = ", ".join(sorted(columns)[:12]) or "no table at all"
        raise UnknownContract(
            f"This is no Landscape audit database: the tables {', '.join(missing)} are not in it. Found: {found}."
        )

    def holds(marker: Marker) -> bool:
        return (marker.column in columns.get(marker.table, ())) == marker.present

    for marker, writer in LATER:
        if holds(marker):
            raise UnknownContract(
                f"The audit database was written by {writer} (it has {marker}), and this version knows the contracts "
                f"{_known()}. Use a version that has that contract."
            )
    reasons = []
    for contract in CONTRACTS:
        unmet = [marker for marker in contract.markers if not holds(marker)]
        if unmet:
            seen = " and ".join(str(Marker(marker.table, marker.column, not marker.present)) for marker in unmet)
            reasons.append(f"not {contract.name}: found {seen}")
            continue
        lacking = [
            f"{table.name}.{name}" if table.name in columns else f"the table {table.name}"
            for table in contract.tables.values()
            for name in (*(("run_id",) if table.own_run_id else ()), *table.selected)
            if name not in columns.get(table.name, ())
        ]
        if not lacking:
            return contract
        reasons.append(f"not {contract.name}: it lacks {', '.join(dict.fromkeys(lacking))}")
    raise UnknownContract(f"The audit database fits no known contract ({_known()}): {'; '.join(reasons)}.")


def _known() -> str:
    return ", ".join(f"{contract.name} of {contract.written_by}" for contract in reversed(CONTRACTS))
