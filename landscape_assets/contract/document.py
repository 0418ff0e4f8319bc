"""The record contracts as a page for people, from the same data that the export runs on.

Belongs here: that page, `docs/records.md`. Made by `python -m landscape_assets.contract.document > docs/records.md`; a test
compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator

from .model import AtMostOne, Column, Contract, ExactlyOne, Group, Kind, StatusRule, Table
from .recognise import CONTRACTS


def document() -> str:
    """The page, in Markdown."""
    parts = [_INTRODUCTION]
    for contract in CONTRACTS:
        parts.extend(_contract(contract))
    return "\n".join(parts)


_INTRODUCTION = """# The records

Generated from `landscape_assets/contract/`; do not edit. Every record begins with `record_type` and `run_id`. Required: a null is
corruption. Times are ISO 8601 text; from SQLite without an offset, from PostgreSQL with `+00:00`; a fraction of zero is left out.
Fields ending in `_json` are text, copied as stored. Text compares by its UTF-8 bytes. A JSON column that is exported
parsed (as `settings`, `config`, `schema_fields`) must have a canonical form (RFC 8785): no object has a key twice, text
has no lone surrogates, integers are within ±(2^53−1), and arrays and objects are nested at most 255 deep. All limits
are in `package.md`, "Limits". What breaks a rule stops the export of that run with an error that names table, id and
column.
"""


def _contract(contract: Contract) -> Iterator[str]:
    yield f"## Contract {contract.name}: {contract.written_by}\n"
    yield f"Recognised by: {', '.join(map(str, contract.markers))}.\n"
    yield "Order of records (each group's rows under their parent, ordered by the columns in brackets):\n"
    for root in contract.order:
        yield from _order(contract, root, 0)
    yield ""
    for table in contract.tables.values():
        yield from _table(table)


def _order(contract: Contract, group: Group, depth: int) -> Iterator[str]:
    table = contract.tables[group.table]
    keys = ", ".join(key.column + (" (nulls last)" if key.nulls_last else "") for key in table.order)
    yield f"{'  ' * depth}- {table.record_type} [{keys}]"
    for child in group.children:
        yield from _order(contract, child, depth + 1)


def _table(table: Table) -> Iterator[str]:
    yield f"### {table.record_type}: from `{table.name}`\n"
    yield f"{table.description}\n"
    yield "| field | kind | required | meaning |\n|---|---|---|---|"
    for column in table.fields:
        source = "" if column.field == column.name else f" From the column `{column.name}`."
        yield (
            f"| `{column.field}` | {_kind(column)} | {'yes' if column.required else ''} | {column.description}{source} |"
        )
    hidden = [column.name for column in table.columns if column.field is None]
    if hidden:
        yield f"\nRead for the order alone: {', '.join(f'`{name}`' for name in hidden)}."
    if table.references:
        pairs = ", ".join(f"`{reference.column}` → {reference.table}" for reference in table.references)
        yield f"\nReferences: {pairs}."
    for rule in table.rules:
        yield f"\nRule: {_rule(rule)}."
    yield ""


def _kind(column: Column) -> str:
    text = str(column.kind)
    if column.kind is Kind.ENUM:
        text = " · ".join(column.values)
    limits = [
        *(["not empty"] if column.not_empty else []),
        *([f"matches `{column.pattern}`"] if column.pattern else []),
        *([f"at least {column.minimum:g}"] if column.minimum is not None else []),
    ]
    return f"{text} ({', '.join(limits)})" if limits else text


def _rule(rule: StatusRule | ExactlyOne | AtMostOne) -> str:
    if isinstance(rule, ExactlyOne):
        return f"exactly one of {' and '.join(f'`{name}`' for name in rule.columns)} is given"
    if isinstance(rule, AtMostOne):
        return f"at most one {rule.meaning} for each `{rule.per}`"
    said = [
        *([f"needs {_names(rule.required)}"] if rule.required else []),
        *([f"forbids {_names(rule.forbidden)}"] if rule.forbidden else []),
        *(f"needs `{name}` = {str(value).lower()}" for name, value in rule.equals),
    ]
    return f"`{rule.column}` {' or '.join(rule.values)} {' and '.join(said)}"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    print(document(), end="")
