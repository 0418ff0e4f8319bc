"""The record contracts as a page for people, from the same data that the export runs on.

Belongs here: that page, `docs/records.md`. `python -m landscape_assets.contract.document > docs/records.md` makes it; a
test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .model import ByPresence, Column, Contract, Group, Kind, OrderKey, Position, Table
from .recognise import ALL_TABLES, CONTRACTS, STEPS
from .rules import (
    Above,
    AtMostOne,
    Cases,
    Condition,
    ExactlyOne,
    Given,
    Is,
    NotBefore,
    RowRule,
    Rule,
    StatusRule,
    Together,
    When,
)

_OLDEST_FIRST = tuple(reversed(CONTRACTS))


def document() -> str:
    """The page, in Markdown."""
    parts = [_INTRODUCTION, *_contracts(), *_recognition()]
    for contract in _OLDEST_FIRST:
        parts.extend(_order_of(contract))
    parts.append("## The records\n")
    for name in ALL_TABLES:
        parts.extend(_record(name))
    return "\n".join(parts)


_INTRODUCTION = """# The records

Generated from `landscape_assets/contract/`; do not edit. Every record begins with `record_type` and `run_id`. Required:
a null is corruption. Times are ISO 8601 text; from SQLite without an offset, from PostgreSQL with `+00:00`; a fraction
of zero is left out. Fields ending in `_json` are text, copied as stored. Text compares by its UTF-8 bytes. A JSON
column that is exported parsed (as `settings`, `config`, `schema_fields`) must have a canonical form (RFC 8785): no
object has a key twice, text has no lone surrogates, integers are within ±(2^53-1), and arrays and objects are nested at
most 255 deep. All limits are in `package.md`, "Limits". What breaks a rule stops the export of that run with an error
that names table, id and column.

There is one contract for each generation of ELSPETH's audit database. Where a table below has the column «in», it names
the contracts in which the line holds; «all» are all that have the record.
"""


def _contracts() -> Iterator[str]:
    yield "## The contracts\n"
    yield "| contract | written by | epoch | record types | databases | exported are runs that are | manifest |"
    yield "|---|---|---|---|---|---|---|"
    for contract in _OLDEST_FIRST:
        yield (
            f"| {contract.name} | {contract.written_by} | {contract.epoch or ''} | {len(contract.record_types)} | "
            f"{', '.join(contract.backends)} | {', '.join(contract.finished)}; {', '.join(contract.resumable)} when "
            f"asked for | version {contract.manifest} |"
        )
    yield ""
    for contract in _OLDEST_FIRST:
        if contract.parses_again:
            yield (
                f"{contract.name}: a float that is whole, at least 2^53 and below 1e21 is corruption: canonical form "
                "writes it as an integer, which has no canonical form itself.\n"
            )
        if contract.tagged_key is not None:
            yield (
                f"{contract.name}: an object with the key `{contract.tagged_key}` is signed in another form: "
                f'`{{"{contract.tagged_key}": "mapping", "entries": [{{"key": k, "value": v}}, ...]}}`, entries sorted '
                "by the canonical form of the key, values converted likewise. The record itself is not changed.\n"
            )


def _recognition() -> Iterator[str]:
    yield "## How a database is recognised\n"
    yield "By its tables and columns. The first line that fits decides.\n"
    yield "| it has | result |\n|---|---|"
    for step in STEPS:
        found = "; or ".join(" and ".join(map(str, markers)) for markers in step.any_of)
        if isinstance(step.result, str):
            result = f"refused: {step.result}"
        else:
            result = ", else ".join(
                contract.name + (f" ({' and '.join(map(str, contract.markers))})" if contract.markers else "")
                for contract in step.result
            )
        yield f"| {found} | {result} |"
    yield ""


def _order_of(contract: Contract) -> Iterator[str]:
    yield f"## Order of records in {contract.name}\n"
    yield "Each group's rows under their parent, ordered by the columns in brackets:\n"
    for root in contract.order:
        yield from _order(contract, root, 0)
    yield ""


def _order(contract: Contract, group: Group, depth: int) -> Iterator[str]:
    table = contract.tables[group.table]
    yield f"{'  ' * depth}- {table.record_type} [{', '.join(map(_key, table.order))}]"
    for child in group.children:
        yield from _order(contract, child, depth + 1)


def _key(key: OrderKey) -> str:
    if key.nulls_last_on_postgresql:
        return f"{key.column} (nulls first on SQLite, last on PostgreSQL)"
    return key.column + (" (nulls last)" if key.nulls_last else "")


def _record(name: str) -> Iterator[str]:
    """The section of one record type: each line with the contracts in which it holds."""
    having = {contract.name: contract.tables[name] for contract in _OLDEST_FIRST if name in contract.tables}
    newest = ALL_TABLES[name]
    yield f"### {newest.record_type}: from `{name}`\n"
    yield f"{newest.description} In {', '.join(having)}.\n"
    yield "| field | kind | required | meaning | in |\n|---|---|---|---|---|"
    for line, where in _lines(having, _fields):
        yield f"{line} {where or 'all'} |"
    for find in (_hidden, _references, _rules):
        for line, where in _lines(having, find):
            yield f"\n{line}{f' (in {where})' if where else ''}."
    yield ""


def _lines(having: dict[str, Table], find: Callable[[Table], Iterator[str]]) -> list[tuple[str, str]]:
    """Each line that some contracts have, and which; an empty text for all. Lines that are new come where the newest
    contract has them."""
    holds: dict[str, list[str]] = {}
    for contract, table in reversed(having.items()):
        for line in find(table):
            holds.setdefault(line, []).append(contract)
    return [
        (line, "" if len(names) == len(having) else ", ".join(name for name in having if name in names))
        for line, names in holds.items()
    ]


def _fields(table: Table) -> Iterator[str]:
    for column in table.fields:
        required = "yes" if column.required else ""
        yield f"| `{column.field}` | {_kind(column)} | {required} | {column.description}{_source(column)} |"


def _source(column: Column) -> str:
    notes = []
    if column.of is not None:
        notes.append(f"From `{column.of}`, null where that has no row of the run.")
    elif isinstance(column.derived, ByPresence):
        how = column.derived
        notes.append(f"`{how.given}` where `{how.column}` is given, else `{how.absent}`; not a column.")
    elif isinstance(column.derived, Position):
        by = ", ".join(f"`{name}`" for name in column.derived.by)
        notes.append(f"Counted among those of one `{column.derived.per}` in the order of {by}; not a column.")
    elif column.field != column.name:
        notes.append(f"From the column `{column.name}`.")
    if column.redacted:
        notes.append("Null unless raw error rows are asked for.")
    return "".join(f" {note}" for note in notes)


def _hidden(table: Table) -> Iterator[str]:
    for column in table.columns:
        if column.field is None:
            needed = "required; " if column.required else ""
            yield f"Read for order and checks alone: `{column.name}`, {needed}{_kind(column)}"


def _references(table: Table) -> Iterator[str]:
    for reference in table.references:
        yield f"Reference: `{reference.column}` is the id of a row of {reference.table} in the run"


def _rules(table: Table) -> Iterator[str]:
    for rule in table.rules:
        yield f"Rule: {_rule(rule)}"


def _kind(column: Column) -> str:
    text = str(column.kind)
    if column.kind is Kind.ENUM:
        text = " · ".join(column.values)
    limits = [
        *(["not empty"] if column.not_empty else []),
        *(["not blank"] if column.not_blank else []),
        *([f"matches `{column.pattern}`"] if column.pattern else []),
        *([f"at least {column.minimum:g}"] if column.minimum is not None else []),
    ]
    return f"{text} ({', '.join(limits)})" if limits else text


def _rule(rule: Rule) -> str:
    match rule:
        case StatusRule():
            among = tuple((name, (value,)) for name, value in rule.equals)
            return _rule(When((Is(rule.column, rule.values),), rule.required, (), rule.forbidden, among))
        case When():
            said = [
                *([f"needs {_names(rule.required)}"] if rule.required else []),
                *([f"needs {_names(rule.filled)}, not empty"] if rule.filled else []),
                *([f"forbids {_names(rule.forbidden)}"] if rule.forbidden else []),
                *(f"needs `{name}` = {_values(values)}" for name, values in rule.among),
            ]
            return f"{' and '.join(map(_condition, rule.conditions))} {' and '.join(said)}"
        case Cases():
            return _cases(rule)
        case ExactlyOne():
            return f"exactly one of {' and '.join(f'`{name}`' for name in rule.columns)} is given"
        case AtMostOne():
            return f"at most one {rule.meaning} for each `{rule.per}`"
        case Together():
            return f"{' and '.join(f'`{name}`' for name in rule.columns)} are all given or all null"
        case NotBefore():
            return f"`{rule.column}` is not before `{rule.other}`"
        case RowRule():
            return rule.meaning


def _cases(rule: Cases) -> str:
    lines = []
    for case in rule.cases:
        needs = [*(f"`{name}` = {_values((value,))}" for name, value in case.equals)]
        needs.extend(f"`{name}`" for name in case.required if name not in dict(case.equals))
        allowed = f", allows {_names(case.allowed)}" if case.allowed else ""
        lines.append(f"{' '.join(_values((value,)) for value in case.values)} needs {', '.join(needs)}{allowed}")
    names = " and ".join(f"`{name}`" for name in rule.columns)
    return (
        f"{names} go together in these ways, and of {_names(rule.ruled)} what is not named is null: {'; '.join(lines)}"
    )


def _condition(condition: Condition) -> str:
    match condition:
        case Is():
            return f"`{condition.column}` {_values(condition.values)}"
        case Given():
            return f"`{condition.column}` given"
        case Above():
            return f"`{condition.column}` above {condition.number}"


def _values(values: tuple[object, ...]) -> str:
    return " or ".join(
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value) for value in values
    )


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    print(document(), end="")
