"""What a line of records.jsonl must be: the norm, as plainly as it can be said.

Belongs here: judging one line by itself: form, fields, values, rules and signature. Does not belong here: how lines
follow each other (`sequence.py`), and speed: `fast_path.py` accepts most lines sooner, and may accept only what this
module accepts.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from dataclasses import dataclass, field
from datetime import datetime

from . import codes
from .canonical import JsonFault, canonical, parse
from .contract_model import PATTERN_WORDS, SIGNATURE, Condition, Contract, Field, Kind, RecordType, Scalar
from .layout import Layout, Record, Values, layouts, shown
from .limits import FINDINGS_OF_A_RECORD, MAX_INTEGER, YEARS
from .signatures import HmacKey

TAG = "__elspeth_canonical_type__"
"""The key of v070 by which an object is signed in another form."""
SIGNING_BODY = "audit-export-final-manifest-signing-body-v2"
"""The tag of what is signed of v071's manifest."""

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.(?!000000)[0-9]{6})?(?:\+00:00)?")
_JSON_FAULTS = {
    "encoding": codes.LINE_ENCODING,
    "repeated key": codes.LINE_REPEATED_KEY,
    "json": codes.LINE_JSON,
}


def is_time(text: str) -> bool:
    """Whether a text is a time as records have it (docs/records.md, 1, "Values")."""
    if not _TIME.fullmatch(text):
        return False
    try:
        return YEARS[0] <= datetime.fromisoformat(text).year <= YEARS[1]
    except ValueError:
        return False


@dataclass(slots=True)
class Judgement:
    """What is to be said of a line.

    Args:
        layout: of its record type; None when it is not a record of the contract.
        record: the record; empty when the line is not a JSON object.
        values: None when a field makes the record unfit to be placed.
        link: what the record adds to the input of `final_hash`.
        faults: codes and sentences.
    """

    layout: Layout | None = None
    record: Record = field(default_factory=dict)
    values: Values | None = None
    link: bytes = b""
    faults: list[tuple[codes.Code, str]] = field(default_factory=list)


class Judge:
    """Judges lines of one package.

    Args:
        contract: of the package.
        run_id: that every record must have.
        signed: whether records must have signatures.
        key: to check these with, when the caller gave one.
    """

    def __init__(self, contract: Contract, run_id: str, signed: bool, key: HmacKey | None) -> None:
        self.contract, self.run_id, self.signed, self.key = contract, run_id, signed, key
        self.layouts = layouts(contract, signed)
        self.manifest = Layout(contract.manifest, -1, signed or contract.always_manifest)

    def judge(self, line: bytes) -> Judgement:
        """Judge one line, given without its line end."""
        made = Judgement()
        try:
            record = parse(line)
            if not isinstance(record, dict):
                raise JsonFault("json", "is not a JSON object")
        except JsonFault as fault:
            made.faults.append((_JSON_FAULTS[fault.kind], f"The line {fault}."))
            return made
        if canonical(record) != line:
            message = "The line is JSON, but not in canonical form (order of keys, spaces, escapes or numbers)."
            made.faults.append((codes.LINE_NOT_CANONICAL, message))
        name = record.get("record_type")
        layout = (
            self.manifest if name == self.manifest.name else self.layouts.get(name) if isinstance(name, str) else None
        )
        if layout is None:
            message = f"{shown(name)} is not a record type of contract {self.contract.name}."
            made.faults.append((codes.RECORD_TYPE, message))
            return made
        made.layout, made.record = layout, record
        is_sound = self._judge_fields(layout, record, made.faults)
        self._judge_signature(layout, record, line, made)
        if is_sound and layout is not self.manifest:
            made.values = layout.values(record)
        return made

    def _judge_fields(self, layout: Layout, record: Record, faults: list[tuple[codes.Code, str]]) -> bool:
        """Fields and rules. Gives whether every field has a value of its type, so that the record can be placed."""
        found: list[tuple[codes.Code, str]] = []
        unknown = [name for name in record if name != "record_type" and name not in layout.fields]
        found += [
            (codes.FIELD_UNKNOWN, f"{shown(name)} is not a field of a {layout.name}.")
            for name in unknown[:FINDINGS_OF_A_RECORD]
        ]
        is_sound = True
        for field_ in layout.type.fields:
            if field_.name not in record:
                found.append((codes.FIELD_MISSING, f"The {layout.name} has no {field_.name}."))
                is_sound = False
            elif code := field_fault(field_, record[field_.name]):
                found.append((code, f"{field_.name} is {shown(record[field_.name])}; {_expected(field_)}."))
                is_sound = False
        if self.contract.refuses_large_integers and _has_large_integer(record):
            found.append((codes.FIELD_VALUE, "A number is written as an integer beyond ±(2^53-1)."))
        if is_sound:
            if record["run_id"] != self.run_id:
                found.append((codes.RECORD_RUN_ID, f"run_id is {shown(record['run_id'])}, not the run's."))
            found += [(codes.RECORD_RULE, message) for message in broken_rules(layout.type, record)]
        faults += found[:FINDINGS_OF_A_RECORD]
        return is_sound

    def _judge_signature(self, layout: Layout, record: Record, line: bytes, made: Judgement) -> None:
        """The signature of a record, and what it adds to the chain."""
        is_manifest = layout is self.manifest
        signature = record.get(SIGNATURE.name)
        if not self.signed:
            if not is_manifest:
                made.link = hashlib.sha256(line).hexdigest().encode("ascii")
            elif self.contract.always_manifest and (signature is not None or SIGNATURE.name not in record):
                message = "signature of the manifest record is null in an export that is not signed."
                made.faults.append((codes.RECORD_SIGNATURE, message))
            return
        if signature is None:
            made.faults.append((codes.RECORD_UNSIGNED, f"The {layout.name} has no signature."))
        elif not isinstance(signature, str) or field_fault(SIGNATURE, signature):
            message = f"signature is {shown(signature)}, not 64 lower-case hex digits."
            made.faults.append((codes.RECORD_SIGNATURE, message))
        else:
            if not is_manifest:
                made.link = signature.encode("ascii")
            if self.key and self.key.hex(self._signed_bytes(record, is_manifest)) != signature:
                message = (
                    f"The signature of the {layout.name} is not the key's: it was changed, or signed with another key."
                )
                made.faults.append((codes.RECORD_SIGNATURE, message))

    def _signed_bytes(self, record: Record, is_manifest: bool) -> bytes:
        unsigned: object = {name: value for name, value in record.items() if name != SIGNATURE.name}
        if is_manifest and self.contract.always_manifest:
            return tagged(SIGNING_BODY, unsigned)
        return canonical(_signing_form(unsigned) if self.contract.signs_tagged_mappings else unsigned)


def tagged(tag: str, payload: object) -> bytes:
    """The canonical form of a payload with the tag that says what it is (docs/records.md, v071)."""
    return canonical({"payload": payload, "schema": tag})


def _signing_form(value: object) -> object:
    """A value as v070 signs it: an object with the key `TAG`, at any depth, becomes a list of its entries."""
    if isinstance(value, list):
        return [_signing_form(item) for item in value]
    if not isinstance(value, dict):
        return value
    if TAG not in value:
        return {key: _signing_form(item) for key, item in value.items()}
    keys = sorted(value, key=lambda key: canonical(key).decode("utf-8"))
    return {TAG: "mapping", "entries": [{"key": key, "value": _signing_form(value[key])} for key in keys]}


def is_large_integer(value: float) -> bool:
    """Whether canonical form writes a number as an integer that not every reader keeps exact."""
    return MAX_INTEGER < abs(value) < 1e21


def _has_large_integer(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_has_large_integer, value.values()))
    if isinstance(value, list):
        return any(map(_has_large_integer, value))
    return isinstance(value, float) and is_large_integer(value)


def field_fault(field: Field, value: object) -> codes.Code | None:
    """Which rule a value of a field breaks, if any. Numbers are floats, as `canonical.parse` gives them."""
    if value is None and field.kind is not Kind.JSON:
        return codes.FIELD_NULL if field.required else None
    match field.kind:
        case Kind.TEXT | Kind.TIME:
            if not isinstance(value, str):
                return codes.FIELD_TYPE
            permitted = (
                (not field.values or value in field.values)
                and not (field.not_empty and not value)
                and (not field.pattern or re.fullmatch(field.pattern, value) is not None)
                and (field.kind is not Kind.TIME or is_time(value))
            )
        case Kind.INTEGER:
            if not isinstance(value, float) or not value.is_integer():
                return codes.FIELD_TYPE
            permitted = (field.minimum or 0) <= value <= MAX_INTEGER
        case Kind.FLOAT:
            if not isinstance(value, float):
                return codes.FIELD_TYPE
            permitted = field.minimum is None or value >= field.minimum
        case Kind.BOOLEAN:
            if not isinstance(value, bool):
                return codes.FIELD_TYPE
            permitted = True
        case Kind.OBJECTS:
            if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
                return codes.FIELD_TYPE
            permitted = True
        case Kind.LIST:
            if not isinstance(value, list):
                return codes.FIELD_TYPE
            permitted = all(_is_item(item, field.items) for item in value) and _is_sorted(value)
        case _:
            permitted = True
    return None if permitted else codes.FIELD_VALUE


def _is_item(item: object, parts: tuple[str, ...]) -> bool:
    given = [item] if len(parts) == 1 else item
    if not isinstance(given, list) or len(given) != len(parts):
        return False
    return all(
        re.fullmatch(pattern, value) is not None and value != ""
        if isinstance(value, str)
        else value is None and pattern.endswith("|")
        for pattern, value in zip(parts, given, strict=True)
    )


def _is_sorted(items: list[object]) -> bool:
    keys = [repr(tuple(item)) if isinstance(item, list) else repr(item) for item in items]
    return all(before < after for before, after in itertools.pairwise(keys))


def _expected(field: Field) -> str:
    if field.values:
        return f"it is one of {', '.join(field.values)}"
    if field.pattern:
        return f"it is {PATTERN_WORDS[field.pattern]}"
    parts = [f"it is {field.kind.value}"]
    if field.not_empty:
        parts.append("not empty")
    if field.minimum is not None:
        parts.append(f"at least {field.minimum}")
    if field.items:
        parts.append("of " + " and ".join(field.items))
    return ", ".join(parts) + ("" if field.required or field.kind is Kind.OBJECTS else " or null")


def broken_rules(record_type: RecordType, record: Record) -> list[str]:
    """A sentence for each rule of its type that a record breaks whose fields are sound."""
    messages = []
    for rule in record_type.rules:
        if not all(_is_met(condition, record) for condition in rule.when):
            continue
        when = "when " + (
            " and ".join(f"{one.field} is {_plain(record[one.field])}" for one in rule.when) or "redacted"
        )
        if rule.forbidden:
            messages.append(f"It must not be that {when.removeprefix('when ')}.")
        messages += [f"{name} is null, which it must not be {when}." for name in rule.present if record[name] is None]
        absent = [name for name in rule.absent if record[name] is not None]
        messages += [f"{name} is not null, which it must be {when}." for name in absent]
        messages += [
            f"{name} is not {json.dumps(want)}, which it must be {when}."
            for name, want in rule.equal
            if not _is_equal(record[name], want)
        ]
    if record_type.exactly_one and sum(record[name] is not None for name in record_type.exactly_one) != 1:
        messages.append(f"Exactly one of {' and '.join(record_type.exactly_one)} must not be null.")
    for name, part, other in record_type.within:
        given = {item for item in _parts(record[name], part) if item is not None}
        if not given <= set(_parts(record[other], 0)):
            messages.append(f"{name} has what is not in {other}.")
    for name in record_type.not_repeated:
        firsts = _parts(record[name], 0)
        if len(set(firsts)) != len(firsts):
            messages.append(f"{name} has two elements that begin alike.")
    messages += [f"{name} is empty." for name in record_type.not_empty if not record[name]]
    for earlier, later in record_type.not_before:
        before, after = record[earlier], record[later]
        if isinstance(before, str) and isinstance(after, str) and after < before:
            messages.append(f"{later} is before {earlier}.")
    return messages


def _parts(items: object, part: int) -> list[object]:
    """That part of each element of a list whose form is sound; an element that is a text is its own first part."""
    return [item[part] if isinstance(item, list) else item for item in items] if isinstance(items, list) else []


def _is_met(condition: Condition, record: Record) -> bool:
    found = any(_is_equal(record[condition.field], value) for value in condition.values)
    return found is not condition.negated


def _is_equal(value: object, want: Scalar | int) -> bool:
    return value == want and isinstance(value, bool) is isinstance(want, bool)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
