"""Which contract a database has, told from its tables and columns.

Belongs here: the decision and its error. Does not belong here: reading the columns from a database (`database/`).
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from ..errors import ExportError
from .model import Contract, Marker, Table
from .v0 import V0
from .v060 import V060
from .v070 import V070
from .v071 import V071
from .v1 import V1

CONTRACTS: tuple[Contract, ...] = (V071, V070, V060, V1, V0)
"""Every contract in force, newest first."""


def _all_tables() -> dict[str, Table]:
    found: dict[str, Table] = {}
    for contract in CONTRACTS:
        for name, table in contract.tables.items():
            found.setdefault(name, table)
    return found


ALL_TABLES: dict[str, Table] = _all_tables()
"""Every table of every contract by name, as its newest contract has it."""


def _absent(table: str, column: str | None = None) -> Marker:
    return Marker(table, column, present=False)


def _present(table: str, column: str | None = None) -> Marker:
    return Marker(table, column, present=True)


@dataclass(frozen=True, slots=True)
class Step:
    """One question of the decision; the first whose answer is yes decides.

    Args:
        any_of: alternatives, one of which must hold: in each, all markers must.
        result: the contracts of which it then is one, or who wrote a database that fits none.
    """

    any_of: tuple[tuple[Marker, ...], ...]
    result: tuple[Contract, ...] | str


_DEVELOPMENT = "a development version"

STEPS = (
    Step(((_absent("token_outcomes", "completed"), _absent("nodes", "source_file_hash")),), (V1, V0)),
    Step(((_absent("token_outcomes", "completed"),),), f"{_DEVELOPMENT} of ELSPETH 0.5.0 (epoch 2 to 6)"),
    Step(
        ((_absent("rows", "ingest_sequence"),), (_absent("rows", "source_row_index"),)),
        "ELSPETH 0.5.0 to 0.5.5 (epoch 7 to 11)",
    ),
    Step(((_absent("scheduler_events"),),), f"{_DEVELOPMENT} of ELSPETH 0.6 (epoch 12 to 15)"),
    Step(((_absent("run_coordination"),),), f"{_DEVELOPMENT} of ELSPETH 0.6 (epoch 17 to 20)"),
    Step(((_absent("routing_events", "run_id"),),), (V060,)),
    Step(((_absent("run_web_plugin_policy"), _absent("sink_effects")),), (V070,)),
    Step(
        ((_absent("sink_effects"),), (_absent("coalesce_effects"),), (_absent("token_parents", "run_id"),)),
        f"{_DEVELOPMENT} between ELSPETH 0.7.0 and 0.7.1 (epoch 23 to 28)",
    ),
    Step(((_present("sink_effects"),),), (V071,)),
)
"""The decision (contract, section 1)."""


class UnknownContract(ExportError):
    """The database fits no contract; the message says what was looked for and what was found."""


def recognise(columns: Mapping[str, Set[str]], epoch: int | None = None) -> Contract:
    """The contract that a database keeps.

    Args:
        columns: table name → its column names, as found in the database.
        epoch: the schema epoch that the database notes, which is told in messages and does not decide.

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
        found = columns.get(marker.table)
        return (found is not None and (marker.column is None or marker.column in found)) == marker.present

    noted = "" if epoch is None else f" Its epoch is {epoch}."
    step = next(step for step in STEPS if any(all(map(holds, markers)) for markers in step.any_of))
    if isinstance(step.result, str):
        seen = next(markers for markers in step.any_of if all(map(holds, markers)))
        raise UnknownContract(
            f"The audit database was written by {step.result}: it has {' and '.join(map(str, seen))}. There is no "
            f"contract for it; supported are {_known()}.{noted}"
        )
    reasons = []
    for contract in step.result:
        unmet = [marker for marker in contract.markers if not holds(marker)]
        if unmet:
            seen_instead = " and ".join(str(Marker(m.table, m.column, not m.present)) for m in unmet)
            reasons.append(f"not {contract.name}: found {seen_instead}")
            continue
        lacking = [
            f"{name}.{column}" if name in columns else f"the table {name}"
            for name, table in contract.metadata.tables.items()
            for column in table.c.keys()  # noqa: SIM118 (iterating gives the columns themselves)
            if column not in columns.get(name, ())
        ]
        if not lacking:
            return contract
        reasons.append(f"not {contract.name}: it lacks {', '.join(dict.fromkeys(lacking))}")
    raise UnknownContract(f"The audit database fits no known contract ({_known()}): {'; '.join(reasons)}.{noted}")


def _known() -> str:
    return ", ".join(f"{contract.name} of {contract.written_by}" for contract in reversed(CONTRACTS))
