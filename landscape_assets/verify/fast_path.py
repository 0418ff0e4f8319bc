"""A quick way to accept a record: one regular expression for each record type.

Belongs here: what accepts a line without parsing it. Does not belong here: any decision of its own. An expression is
made from the contract and matches only canonical bytes with the right fields, types and permitted values. Whatever is
not accepted here is judged by `judge.py`, which decides; `tests/verify/test_records.py` holds that this module accepts
only what the judge accepts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable

from .canonical import canonical, number
from .contract_model import SIGNATURE, Condition, Contract, Field, Kind, RecordType, Scalar
from .judge import is_large_integer
from .layout import NULL, Layout, Values
from .signatures import HmacKey

LONG_RUN_ID = 2000
"""Bytes of a run_id from which on the expressions, which hold it, would cost more than they save."""

_STRING = rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\bfnrt]|u00(?:0[0-7bef]|1[0-9a-f]))[^"\\\x00-\x1f]*+)*+"'
"""A canonical string, in bytes known to be UTF-8: only what must be escaped is, in the one way (RFC 8785, 3.2.2.2)."""

_DAY = rb"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_CLOCK = rb"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_TIME = rb'"(?!0000)[0-9]{4}-' + _DAY + rb"T" + _CLOCK + rb'(?:\.(?!000000)[0-9]{6})?(?:\+00:00)?"'
"""A time of records.md, 1 ("Values"), but for 29 February, which is left to the judge."""

_SHORT_FLOAT = rb"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{0,5}[1-9])?(?=[,}])"
"""A decimal of at most 15 digits from 1e-6 up without trailing zeros: no shorter one reads back as the same double,
because a double tells all decimals of 15 digits apart. So it is canonical as it stands."""
_ANY_FLOAT = rb"[0-9][0-9.e+-]*+"

_Demand = tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, bytes], ...]]
"""What a value of one field demands of others: positions that are not null, that are, and that have a fixed value."""

Accepted = tuple[Layout, Values, bytes]
"""The layout of an accepted record, its values, and what it adds to the input of `final_hash`."""


class _FastType:
    """How records of one type are accepted.

    Args:
        layout: of the type.
        pattern: the expression; its groups are the values.
        refuses_large_integers: see `Contract`.
    """

    def __init__(self, layout: Layout, pattern: re.Pattern[bytes], refuses_large_integers: bool) -> None:
        self.layout = layout
        self.match = pattern.fullmatch
        self.signature = layout.signature
        self.floats = tuple(layout.at[one.name] + 1 for one in layout.type.fields if one.kind is Kind.FLOAT)
        self.is_number = _is_exact_number if refuses_large_integers else _is_canonical_number
        self.rules = _demands(layout)
        self.either = tuple(layout.at[name] for name in layout.type.exactly_one)
        self.has_rules = bool(self.rules or self.either)

    def keeps_rules(self, values: Values) -> bool:
        """Whether the values of a record that matches the expression keep the rules of its type."""
        if self.either and sum(values[at] != NULL for at in self.either) != 1:
            return False
        for decides, demands in self.rules:
            demand = demands.get(values[decides])
            if demand is None:
                continue
            for at in demand[0]:
                if values[at] == NULL:
                    return False
            for at in demand[1]:
                if values[at] != NULL:
                    return False
            for at, want in demand[2]:
                if values[at] != want:
                    return False
        return True


class FastPath:
    """Accepts records of one package.

    Args:
        contract: of the package.
        layouts: of its record types.
        run_id: that every record must have.
        key: to check signatures with, when the caller gave one.
    """

    def __init__(self, contract: Contract, layouts: dict[str, Layout], run_id: str, key: HmacKey | None) -> None:
        self.inner: Callable[[], hashlib._Hash] | None = key.inner.copy if key else None
        self.outer: Callable[[], hashlib._Hash] | None = key.outer.copy if key else None
        by_start: dict[bytes, list[_FastType]] = {}
        for layout in layouts.values():
            if pattern := _pattern(layout, canonical(run_id)):
                fast = _FastType(layout, pattern, contract.refuses_large_integers)
                by_start.setdefault(f'{layout.names[0]}":'.encode()[:8], []).append(fast)
        self.by_start = {start: tuple(types) for start, types in by_start.items()}

    def accept(self, line: bytes) -> Accepted | None:
        """The record in a line that is known to be UTF-8; None when the judge must decide."""
        for fast in self.by_start.get(line[2:10], ()):
            match = fast.match(line)
            if match is None:
                continue
            values: Values = match.groups()
            # What an expression cannot say, or not cheaply.
            for at in fast.floats:
                if values[at] is not None and not fast.is_number(values[at]):
                    return None
            if fast.has_rules and not fast.keeps_rules(values):
                return None
            at = fast.signature
            if at < 0:
                return fast.layout, values, hashlib.sha256(line).hexdigest().encode("ascii")
            signature = values[at]
            if self.inner and self.outer:
                start = match.start(at + 1)
                inner, outer = self.inner(), self.outer()
                inner.update(line[: start - 13] + line[start + 66 :])  # without `"signature":"…",`
                outer.update(inner.digest())
                if outer.hexdigest().encode("ascii") != signature:
                    return None
            return fast.layout, values, signature
        return None


def _pattern(layout: Layout, run_id: bytes) -> re.Pattern[bytes] | None:
    """The expression of a type; None for types that are few: with nested values, or rules of several conditions."""
    # The comma after the signature is cut with it.
    if layout.names[-1] == SIGNATURE.name or len(run_id) >= LONG_RUN_ID or not _has_simple_rules(layout.type):
        return None
    parts: list[bytes] = []
    for name in layout.names:
        if name == "record_type":
            value = json.dumps(layout.name).encode()
        elif name == "run_id":
            value = re.escape(run_id)
        elif name == SIGNATURE.name:
            value = rb'"([0-9a-f]{64})"'
        else:
            expression = _value(layout.fields[name])
            if expression is None:
                return None
            value = b"(" + expression + b")"
        parts.append(b'"' + name.encode("ascii") + b'":' + value)
    return re.compile(rb"\{" + b",".join(parts) + rb"\}")


def _value(field: Field) -> bytes | None:
    """The expression for a field's value, without a group around it; None for nested values."""
    match field.kind:
        case Kind.TEXT if field.values:
            expression = b'"(?:' + b"|".join(value.encode() for value in field.values) + b')"'
        case Kind.TEXT if field.pattern:
            expression = b'"' + field.pattern.encode() + b'"'
        case Kind.TEXT:
            expression = b'(?!"")' + _STRING if field.not_empty else _STRING
        case Kind.INTEGER:
            expression = rb"[1-9][0-9]{0,14}" if field.minimum else rb"(?:0|[1-9][0-9]{0,14})"
        case Kind.FLOAT:
            sign = b"" if field.minimum is not None else b"-?"
            expression = _SHORT_FLOAT + b"|(" + sign + _ANY_FLOAT + b")"
        case Kind.TIME:
            expression = _TIME
        case Kind.BOOLEAN:
            expression = b"true|false"
        case _:
            return None
    return expression if field.required else b"null|" + expression


def _has_simple_rules(record_type: RecordType) -> bool:
    """Whether each rule rests on one field with listed values."""
    values = {field.name: field.values for field in record_type.fields}
    return not record_type.not_before and all(
        len(rule.when) == 1 and values[rule.when[0].field] and not rule.forbidden for rule in record_type.rules
    )


def _demands(layout: Layout) -> tuple[tuple[int, dict[bytes, _Demand]], ...]:
    """The rules of a type, for each field that decides: its values in canonical form, and what they demand."""
    made: dict[str, dict[bytes, _Demand]] = {}
    for rule in layout.type.rules:
        (condition,) = rule.when
        table = made.setdefault(condition.field, {})
        for value in _values(condition, layout.fields[condition.field]):
            present, absent, equal = table.get(value, ((), (), ()))
            table[value] = (
                present + tuple(layout.at[name] for name in rule.present),
                absent + tuple(layout.at[name] for name in rule.absent),
                equal + tuple((layout.at[name], canonical(want)) for name, want in rule.equal),
            )
    return tuple((layout.at[name], table) for name, table in made.items())


def _values(condition: Condition, field: Field) -> list[bytes]:
    """The values, in canonical form, with which a condition is met."""
    every: list[Scalar] = [*field.values, *([] if field.required else [None])]
    return [canonical(value) for value in every if (value in condition.values) is not condition.negated]


def _is_canonical_number(raw: bytes) -> bool:
    try:
        return number(float(raw)).encode("ascii") == raw
    except ValueError:
        return False


def _is_exact_number(raw: bytes) -> bool:
    return _is_canonical_number(raw) and not is_large_integer(float(raw))
