"""The check of a stretch of records.jsonl, record by record, and of what can be told from their sequence.

Belongs here: everything that one worker process does with the bytes it is given. Does not belong here: reading the
file, dividing it among workers, and what concerns the file as a whole (`recordsfile.py`).

A record is checked on one of two ways that must agree. The fast way is a regular expression for the record's type,
made from `records.py`, that matches only canonical bytes with the right fields, types and permitted values; a match
proves all of that at once. Whatever it does not match is examined the slow way: parsed strictly, re-encoded, compared,
and each field judged, so that each fault gets a finding of its own, and a rare form that the expression does not cover
is still accepted.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from . import codes, csvrule
from .canonical import JsonFault, canonical, number, parse, sorted_keys
from .limits import FINDINGS_OF_A_RECORD, MAX_INTEGER, YEARS
from .merkle import leaf_hash
from .records import CONTRACTS, MANIFEST_RECORD, SIGNATURE, Field, Kind, Place, RecordType
from .report import Findings

FILE = "records.jsonl"
NULL = b"null"
LONG_RUN_ID = 2000
"""Bytes of a run_id from which on the expressions, which hold it, would cost more than they save."""

_STRING = rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\bfnrt]|u00(?:0[0-7bef]|1[0-9a-f]))[^"\\\x00-\x1f]*+)*+"'
"""A canonical string, in bytes known to be UTF-8: only what must be escaped is, in the one way (RFC 8785, 3.2.2.2)."""

_DAY = rb"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_CLOCK = rb"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_TIME = rb'"(?!0000)[0-9]{4}-' + _DAY + rb"T" + _CLOCK + rb'(?:\.(?!000000)[0-9]{6})?(?:\+00:00)?"'
"""A time of records.md, 1 ("Values"), but for 29 February, which is left to the slow way."""

_TIME_TEXT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.(?!000000)[0-9]{6})?(?:\+00:00)?")

_INTEGER = rb"(?:0|[1-9][0-9]{0,14})"
_SHORT_FLOAT = rb"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{0,5}[1-9])?(?=[,}])"
"""A decimal of at most 15 digits from 1e-6 up without trailing zeros: no shorter one reads back as the same double,
because a double tells all decimals of 15 digits apart. So it is canonical as it stands."""
_ANY_FLOAT = rb"[0-9][0-9.e+-]*+"


RUN_FACTS = ("status", "started_at", "completed_at")
"""What a run's record says that manifest.json says too."""
MANIFEST_FACTS = ("record_count", "final_hash", "exported_at")
"""What the manifest record says that the records, or manifest.json, say too."""


def is_time(text: str) -> bool:
    """Whether a text is a time as records have it (docs/records.md, 1, "Values")."""
    if not _TIME_TEXT.fullmatch(text):
        return False
    try:
        return YEARS[0] <= datetime.fromisoformat(text).year <= YEARS[1]
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker must know of the package. Can be pickled.

    Args:
        contract: name of the record contract.
        run_id: of the manifest.
        signed: whether records have signatures.
        key: the HMAC key, when the caller gave one.
        csv: the record types whose CSV rows are wanted.
        merkle: whether the hashes of the lines as leaves are wanted.
    """

    contract: str
    run_id: str
    signed: bool
    key: bytes | None = field(repr=False)
    csv: tuple[str, ...] = ()
    merkle: bool = False


Sibling = tuple[int, tuple | None, bytes | None, int]
"""A top-level record, for comparing across stretches: place, order key, last key of its id, line."""


@dataclass(slots=True)
class Stretch:
    """What the check of a stretch of lines found. Lines are counted from 1 within the stretch.

    Args:
        findings: of single records and of their sequence.
        lines: how many there are.
        counts: record type → data records.
        chain: what the stretch adds to the input of `final_hash`.
        leaves: the hashes of the data records as leaves, one behind the other, when they are wanted.
        ids: record type → ids, one a line, as canonical text.
        references: record type → id referred to, and not found in the stretch → first line that does.
        first, last: the first and last top-level record; with a context there is no `first`: they have been compared.
        context: where the stretch stopped, for a next one that does not begin with a top-level record.
        csv: record type → rows.
        runs, manifests: the run and the manifest records: their lines, and what of them is compared.
    """

    findings: Findings = field(default_factory=Findings)
    lines: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    chain: bytes = b""
    leaves: bytes = b""
    ids: dict[str, bytes] = field(default_factory=dict)
    references: dict[str, dict[bytes, int]] = field(default_factory=dict)
    first: Sibling | None = None
    last: Sibling | None = None
    context: tuple | None = None
    csv: dict[str, bytes] = field(default_factory=dict)
    runs: list[tuple[int, dict]] = field(default_factory=list)
    manifests: list[tuple[int, dict]] = field(default_factory=list)


@dataclass(slots=True)
class _Place:
    """A place of the contract's order, ready for use. `index` grows in record order, so siblings compare by it."""

    index: int
    depth: int
    type: str
    parent: int
    link: str | None


class _Plan:
    """How records of one type are recognised and read.

    Values travel as a tuple of canonical forms, one for each field but record_type and run_id; `at` says which is
    where.
    """

    def __init__(self, record_type: RecordType, job: Job, places: list[_Place]) -> None:
        self.type = record_type
        self.name = record_type.name
        self.fields = {one.name: one for one in record_type.fields}
        if job.signed:
            self.fields["signature"] = SIGNATURE
        self.names = sorted_keys({"record_type": None, **self.fields})
        self.at: dict[str, int] = {}
        self.floats: list[int] = []
        self.pattern = self._pattern(job)
        self.match = self.pattern.fullmatch if self.pattern else None
        self.signature = self.at.get("signature", -1)
        self.places = [place for place in places if place.type == self.name]
        self.links = {place.index: self.at[place.link] for place in self.places if place.link}
        self.id = tuple(self.at[name] for name in record_type.id if name != "run_id")
        self.key = self._key()
        self.references = tuple((self.at[name], target) for name, target in record_type.references)
        self.rule_at = self.at[record_type.rules[0].field] if record_type.rules else -1
        self.rules = {
            json.dumps(value).encode(): (
                tuple(self.at[name] for name in rule.present),
                tuple(self.at[name] for name in rule.absent),
                tuple((self.at[name], b"true" if want else b"false") for name, want in rule.equal),
            )
            for rule in record_type.rules
            for value in rule.values
        }
        self.either = tuple(self.at[name] for name in record_type.exactly_one)
        self.has_rules = bool(self.rules or self.either)
        self.once = tuple(self.at[name] for name in record_type.at_most_one) if record_type.at_most_one else ()
        self.csv: list[tuple[int, Kind]] | None = None
        if self.name in job.csv:
            wanted = [one for one in self.fields.values() if one.name != "run_id"]
            self.csv = [(self.at[one.name], one.kind) for one in wanted]
            self.csv_start = csvrule.first_cells(self.name, job.run_id)

    def _pattern(self, job: Job) -> re.Pattern[bytes] | None:
        """The expression of the fast way, and the numbers of its groups; None for types that are few and hold nested
        values."""
        parts: list[bytes] = []
        groups = 0
        run_id = canonical(job.run_id)
        # The comma after the signature is cut with it.
        possible = self.names[-1] != "signature" and len(run_id) < LONG_RUN_ID
        for name in self.names:
            if name == "record_type":
                value = json.dumps(self.name).encode()
            elif name == "run_id":
                value = re.escape(run_id) if possible else b""
            elif name == "signature":
                self.at[name] = groups
                groups += 1
                value = rb'"([0-9a-f]{64})"'
            else:
                one = self.fields[name]
                self.at[name] = groups
                groups += 1
                if one.kind is Kind.FLOAT:
                    self.floats.append(groups)
                    groups += 1
                expression = _value(one)
                possible = possible and expression is not None
                value = b"(" + (expression or b"") + b")"
            parts.append(b'"' + name.encode("ascii") + b'":' + value)
        self.width = groups
        return re.compile(rb"\{" + b",".join(parts) + rb"\}") if possible else None

    def _key(self) -> Callable[[tuple], tuple] | None:
        readers = []
        for name in self.type.order:
            one = self.fields[name]
            read = {Kind.INTEGER: int, Kind.FLOAT: float, Kind.TIME: _instant}[one.kind]
            readers.append((self.at[name], read, not one.required))
        if not readers:
            return None
        if len(readers) == 1 and not readers[0][2]:
            at, read, _ = readers[0]
            return lambda values: (read(values[at]),)

        def key(values: tuple) -> tuple:
            return tuple(
                ((values[at] == NULL, 0 if values[at] == NULL else read(values[at])) if nullable else read(values[at]))
                for at, read, nullable in readers
            )  # nulls last, as the contract has it

        return key

    def keeps_rules(self, values: tuple) -> bool:
        """Whether the values of a record that matches the expression keep the rules of its type."""
        if self.either and sum(values[at] != NULL for at in self.either) != 1:
            return False
        if not self.rules:
            return True
        present, absent, equal = self.rules[values[self.rule_at]]
        for at in present:
            if values[at] == NULL:
                return False
        for at in absent:
            if values[at] != NULL:
                return False
        return all(values[at] == want for at, want in equal) if equal else True

    def place_of(self, record: dict) -> _Place:
        """The place that a record with faulty fields most likely has."""
        given = (place for place in self.places if place.link and record.get(place.link) is not None)
        return next(given, self.places[0])

    def id_of(self, record: dict) -> bytes | None:
        """The id of a record with faulty fields, as `Stretch.ids` has it; None when the id is faulty too."""
        parts = [record.get(name) for name in self.type.id if name != "run_id"]
        if not all(isinstance(part, str) for part in parts):
            return None
        return b",".join([canonical(part) for part in parts])

    def csv_row(self, values: tuple, run_id: str | None) -> bytes:
        """The row of a record, with its line end. Only for types whose CSV is wanted.

        Args:
            values: of the record.
            run_id: the record's own, when that may be another than the run's.
        """
        cells = [values[at] if at == self.signature else csvrule.cell(values[at], kind) for at, kind in self.csv]
        start = self.csv_start if run_id is None else csvrule.first_cells(self.name, run_id)
        return start + b",".join(cells) + b"\r\n"


def _value(one: Field) -> bytes | None:
    """The expression for a field's value, without a group around it; None for nested values."""
    match one.kind:
        case Kind.TEXT if one.values:
            expression = b'"(?:' + b"|".join(value.encode() for value in one.values) + b')"'
        case Kind.TEXT if one.hex_digits:
            expression = b'"[0-9a-f]{%d}"' % one.hex_digits
        case Kind.TEXT:
            expression = b'(?!"")' + _STRING if one.not_empty else _STRING
        case Kind.INTEGER:
            expression = _INTEGER
        case Kind.FLOAT:
            sign = b"" if one.minimum is not None else b"-?"
            expression = _SHORT_FLOAT + b"|(" + sign + _ANY_FLOAT + b")"
        case Kind.TIME:
            expression = _TIME
        case Kind.BOOLEAN:
            expression = b"true|false"
        case _:
            return None
    return expression if one.required else b"null|" + expression


def _instant(raw: bytes) -> bytes:
    """A time as something that sorts like it: all times of a package are UTC or all are without a zone."""
    return raw[1:-1].removesuffix(b"+00:00")


def _id_text(raw: bytes) -> bytes:
    """An id as the bytes by which it sorts."""
    return json.loads(raw).encode("utf-8") if b"\\" in raw else raw[1:-1]


def out_of_order(before: Sibling, after: Sibling) -> codes.Code | None:
    """Whether two records that follow each other under one parent are out of order, and by which rule."""
    if after[0] < before[0]:
        return codes.RECORD_ORDER
    if after[0] > before[0] or before[1] is None or after[1] is None or after[1] > before[1]:
        return None
    tied = after[1] == before[1]
    if tied and (after[2] is None or _id_text(after[2]) >= _id_text(before[2])):
        return None
    return codes.SIBLING_ORDER


class Checker:
    """Checks stretches of records.jsonl for one package.

    Args:
        job: what is known of the package.
    """

    def __init__(self, job: Job) -> None:
        from .signatures import HmacKey

        self.job = job
        contract = CONTRACTS[job.contract]
        self.places: list[_Place] = []
        self._lay_out(contract.order, -1, 0)
        self.depths = 1 + max(place.depth for place in self.places)
        self.plans = {name: _Plan(one, job, self.places) for name, one in contract.types.items()}
        self.manifest_plan = _Plan(MANIFEST_RECORD, job, [])
        self.key = HmacKey(job.key) if job.key is not None else None
        by_start: dict[bytes, list[_Plan]] = {}
        for plan in self.plans.values():
            if plan.match:
                by_start.setdefault(_start(plan)[2:10], []).append(plan)
        self.by_start = {start: tuple(plans) for start, plans in by_start.items()}
        self.run_id_raw = canonical(job.run_id)

    def _lay_out(self, order: tuple[Place, ...], parent: int, depth: int) -> None:
        for one in order:
            place = _Place(len(self.places), depth, one.type, parent, one.link)
            self.places.append(place)
            self._lay_out(one.children, place.index, depth + 1)

    def starts(self) -> tuple[bytes, ...]:
        """How the lines of top-level records begin, for the types that no other type's lines begin like."""
        top = [self.plans[place.type] for place in self.places if place.depth == 0]
        starts = [_start(plan) for plan in [*self.plans.values(), self.manifest_plan]]
        return tuple(_start(plan) for plan in top if starts.count(_start(plan)) == 1)

    def check(self, data: bytes, context: tuple | None = None) -> Stretch:
        """Check a stretch of lines.

        Args:
            data: whole lines; only the last of the file may lack its LF.
            context: of the stretch before, when this one does not begin with a top-level record.

        Returns:
            What was found.
        """
        stretch = Stretch()
        findings = stretch.findings
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        else:
            findings.add(
                codes.LINE_UNFINISHED, FILE, len(lines), "The last line does not end with LF; it may be cut off."
            )
        stretch.lines = len(lines)
        by_start = self.by_start if _is_utf8(data) else {}

        signed, key = self.job.signed, self.key
        copy_inner, copy_outer = (key.inner.copy, key.outer.copy) if key else (None, None)
        sha256 = hashlib.sha256
        chain: list[bytes] = []
        ids: dict[str, list[bytes]] = {name: [] for name in self.plans}
        references: dict[str, dict[bytes, int]] = {
            target: {NULL: 0} for plan in self.plans.values() for _, target in plan.references
        }
        csv: dict[str, list[bytes]] = {name: [] for name in self.job.csv}
        # One entry for each depth: the open record's place, its id, its order key.
        depths = self.depths + 1  # one more, so that the deepest record too can close what is below it
        open_places, open_ids, open_keys, once = context or ([-1] * depths, [None] * depths, [None] * depths, None)

        line_number = 0
        for line in lines:
            line_number += 1
            values = record = None
            for plan in by_start.get(line[2:10], ()):
                match = plan.match(line)
                if match is None:
                    continue
                values = match.groups()
                # What an expression cannot say, or not cheaply.
                for at in plan.floats:
                    if values[at] is not None and not _is_canonical_number(values[at]):
                        values = None
                        break
                if values is None:
                    break
                if plan.has_rules and not plan.keeps_rules(values):
                    values = None
                    break
                if not signed:
                    chain.append(sha256(line).hexdigest().encode("ascii"))
                    break
                signature = values[plan.signature]
                if copy_inner:
                    start = match.start(plan.signature + 1)
                    inner = copy_inner()
                    inner.update(line[: start - 13] + line[start + 66 :])  # without `"signature":"…",`
                    outer = copy_outer()
                    outer.update(inner.digest())
                    if outer.hexdigest().encode("ascii") != signature:
                        values = None
                        break
                chain.append(signature)
                break
            if values is None:
                plan, values, record = self._examine(line, line_number, stretch, chain)
                if plan is None:
                    continue
                if values is None:
                    # It cannot be placed, but it was there: what belongs to it is not to be called misplaced or
                    # missing.
                    place = plan.place_of(record)
                    open_places[place.depth] = place.index
                    open_ids[place.depth] = open_keys[place.depth] = None
                    open_places[place.depth + 1] = -1
                    record_id = plan.id_of(record)
                    if record_id is None:
                        stretch.counts[plan.name] = stretch.counts.get(plan.name, 0) + 1
                    else:
                        ids[plan.name].append(record_id)
                    continue

            # Where it stands.
            places = plan.places
            place = places[0]
            if len(places) > 1 and values[plan.links[place.index]] == NULL:
                place = places[1]
            depth = place.depth
            record_id = values[plan.id[-1]] if plan.id else None
            if depth:
                parent_id = open_ids[depth - 1]
                if open_places[depth - 1] != place.parent or (
                    parent_id is not None and parent_id != values[plan.links[place.index]]
                ):
                    self._misplaced(findings, line_number, place)
            order_key = plan.key(values) if plan.key else None
            before = open_places[depth]
            if before >= place.index:
                last_key = open_keys[depth]
                if before > place.index or (order_key is not None and last_key is not None and order_key <= last_key):
                    last_id = open_ids[depth] if plan.type.ties else None
                    fault = out_of_order(
                        (before, last_key, last_id, 0), (place.index, order_key, record_id if last_id else None, 0)
                    )
                    if fault:
                        self._unordered(findings, line_number, fault, before, place)
            open_places[depth] = place.index
            open_ids[depth] = record_id
            open_keys[depth] = order_key
            open_places[depth + 1] = -1
            if not depth:
                sibling = (place.index, order_key, record_id if plan.type.ties else None, line_number)
                if stretch.first is None and context is None:
                    stretch.first = sibling
                stretch.last = sibling

            # What it names.
            if len(plan.id) == 1:
                ids[plan.name].append(record_id)
            else:
                ids[plan.name].append(b",".join([values[at] for at in plan.id]))
            for at, target in plan.references:
                seen = references[target]
                if values[at] not in seen:
                    seen[values[at]] = line_number
            if plan.once and values[plan.once[1]] == b"true":
                if once == values[plan.once[0]]:
                    per, name = plan.type.at_most_one
                    findings.add(
                        codes.RECORD_RULE,
                        FILE,
                        line_number,
                        f"A second {plan.name} with {name} true for the {per} {_shown(once)}; there is at most one.",
                    )
                once = values[plan.once[0]]
            if plan.csv:
                csv[plan.name].append(plan.csv_row(values, record and record["run_id"]))

        for target, seen in references.items():
            for known in seen.keys() & ids.get(target, ()):
                del seen[known]
            seen.pop(NULL, None)
        stretch.references = {target: seen for target, seen in references.items() if seen}
        stretch.ids = {name: b"\n".join(some) for name, some in ids.items() if some}
        stretch.csv = {name: b"".join(rows) for name, rows in csv.items() if rows}
        stretch.chain = b"".join(chain)
        if self.job.merkle:
            others = {number for number, _ in stretch.manifests}
            stretch.leaves = b"".join(leaf_hash(line) for at, line in enumerate(lines, 1) if at not in others)
        for name, some in ids.items():
            if some:
                stretch.counts[name] = stretch.counts.get(name, 0) + len(some)
        stretch.context = (open_places, open_ids, open_keys, once)
        return stretch

    def identify(self, line: bytes) -> tuple[str, bytes] | None:
        """Record type and id of a record, as `Stretch.ids` has it; None for what is no data record."""
        for plan in self.by_start.get(line[2:10], ()):
            if match := plan.match(line):
                values = match.groups()
                return plan.name, b",".join([values[at] for at in plan.id])
        plan, _, record = self._examine(line, 1, Stretch(), [])
        record_id = plan.id_of(record) if plan else None
        return None if record_id is None else (plan.name, record_id)

    def _misplaced(self, findings: Findings, line_number: int, place: _Place) -> None:
        parent = self.places[place.parent].type
        findings.add(
            codes.RECORD_MISPLACED,
            FILE,
            line_number,
            f"This {place.type} does not follow the {parent} that its {place.link} names.",
        )

    def _unordered(self, findings: Findings, line_number: int, fault: codes.Code, before: int, place: _Place) -> None:
        if fault is codes.RECORD_ORDER:
            message = f"A {place.type} comes after a {self.places[before].type}; the order is the other way round."
        else:
            message = sibling_message(self.plans[place.type].type)
        findings.add(fault, FILE, line_number, message)

    def _examine(
        self, line: bytes, line_number: int, stretch: Stretch, chain: list[bytes]
    ) -> tuple[_Plan | None, tuple | None, dict | None]:
        """The slow way: parse one line and judge all of it.

        Returns:
            Plan, values and record; no plan for what is no data record, no values when a field makes it unfit to be
            placed.
        """
        findings = stretch.findings
        try:
            record = parse(line)
            if not isinstance(record, dict):
                raise JsonFault("json", "is not a JSON object")
        except JsonFault as fault:
            code = _JSON_FAULTS[fault.kind]
            findings.add(code, FILE, line_number, f"The line {fault}.")
            stretch.counts["?"] = stretch.counts.get("?", 0) + 1
            return None, None, None
        if canonical(record) != line:
            findings.add(
                codes.LINE_NOT_CANONICAL,
                FILE,
                line_number,
                "The line is JSON, but not in canonical form (order of keys, spaces, escapes or numbers).",
            )
        name = record.get("record_type")
        if name == MANIFEST_RECORD.name:
            plan = self.manifest_plan
        else:
            plan = self.plans.get(name) if isinstance(name, str) else None
        if plan is None:
            findings.add(
                codes.RECORD_TYPE,
                FILE,
                line_number,
                f"{_shown(name)} is no record type of contract {self.job.contract}.",
            )
            stretch.counts["?"] = stretch.counts.get("?", 0) + 1
            return None, None, None

        sound = self._judge(plan, record, line_number, findings)
        self._judge_signature(plan, record, line, line_number, findings, chain)
        if plan is self.manifest_plan:
            stretch.manifests.append((line_number, {name: record.get(name) for name in MANIFEST_FACTS}))
            return None, None, None
        if plan.name == "run":
            # Only that of the first is compared; a file may hold very many.
            stretch.runs.append((line_number, {} if stretch.runs else {name: record.get(name) for name in RUN_FACTS}))
        if not sound:
            return plan, None, record
        values: list[bytes | None] = [None] * plan.width
        for name, at in plan.at.items():
            values[at] = canonical(record[name]) if name in record else NULL
        if plan.signature >= 0:
            values[plan.signature] = values[plan.signature][1:-1]
        return plan, tuple(values), record

    def _judge(self, plan: _Plan, record: dict, line_number: int, findings: Findings) -> bool:
        """Fields and rules. Gives whether every field has a value of its type, so that the record can be placed."""
        faults: list[tuple[codes.Code, str]] = []
        unknown = [name for name in record if name != "record_type" and name not in plan.fields]
        for name in unknown[:FINDINGS_OF_A_RECORD]:
            faults.append((codes.FIELD_UNKNOWN, f"{_shown(name)} is no field of a {plan.name}."))
        sound = True
        for one in plan.fields.values():
            if one is SIGNATURE:
                continue
            if one.name not in record:
                faults.append((codes.FIELD_MISSING, f"The {plan.name} has no {one.name}."))
                sound = False
                continue
            fault = _field_fault(one, record[one.name])
            if fault:
                faults.append((fault, f"{one.name} is {_shown(record[one.name])}; {_expected(one)}."))
                sound = False
        if sound:
            if record["run_id"] != self.job.run_id:
                faults.append((codes.RECORD_RUN_ID, f"run_id is {_shown(record['run_id'])}, not the run's."))
            faults += [(codes.RECORD_RULE, message) for message in _broken_rules(plan.type, record)]
        for code, message in faults[:FINDINGS_OF_A_RECORD]:
            findings.add(code, FILE, line_number, message)
        return sound

    def _judge_signature(
        self, plan: _Plan, record: dict, line: bytes, line_number: int, findings: Findings, chain: list[bytes]
    ) -> None:
        """The signature of a record, and what it adds to the chain."""
        data = plan is not self.manifest_plan
        if not self.job.signed:
            if data:
                chain.append(hashlib.sha256(line).hexdigest().encode("ascii"))
            return
        signature = record.get("signature")
        if signature is None:
            findings.add(codes.RECORD_UNSIGNED, FILE, line_number, f"The {plan.name} has no signature.")
            return
        if _field_fault(SIGNATURE, signature):
            findings.add(
                codes.RECORD_SIGNATURE,
                FILE,
                line_number,
                f"signature is {_shown(signature)}, not 64 lower-case hex digits.",
            )
            return
        if data:
            chain.append(signature.encode("ascii"))
        if self.key:
            unsigned = {name: value for name, value in record.items() if name != "signature"}
            if self.key.hex(canonical(unsigned)) != signature:
                findings.add(
                    codes.RECORD_SIGNATURE,
                    FILE,
                    line_number,
                    f"The signature of the {plan.name} is not the key's: it was changed, or signed with another key.",
                )


_JSON_FAULTS = {
    "encoding": codes.LINE_ENCODING,
    "repeated key": codes.LINE_REPEATED_KEY,
    "json": codes.LINE_JSON,
}


def sibling_message(record_type: RecordType) -> str:
    """The sentence for a record that comes too late among those of its type."""
    keys = ", ".join([*record_type.order, record_type.id[-1]] if record_type.ties else record_type.order)
    return f"This {record_type.name} belongs before the {record_type.name} above it: they are ordered by {keys}."


def _start(plan: _Plan) -> bytes:
    return b'{"' + plan.names[0].encode("ascii") + b'":'


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_canonical_number(raw: bytes) -> bool:
    try:
        return number(float(raw)).encode("ascii") == raw
    except ValueError:
        return False


def _field_fault(one: Field, value: object) -> codes.Code | None:
    """Which rule a value of a field breaks, if any. Numbers are floats, as `canonical.parse` gives them."""
    if value is None and one.kind is not Kind.JSON:
        return codes.FIELD_NULL if one.required else None
    match one.kind:
        case Kind.TEXT | Kind.TIME:
            if not isinstance(value, str):
                return codes.FIELD_TYPE
            permitted = (
                (not one.values or value in one.values)
                and not (one.not_empty and not value)
                and (not one.hex_digits or re.fullmatch(f"[0-9a-f]{{{one.hex_digits}}}", value))
                and (one.kind is not Kind.TIME or is_time(value))
            )
        case Kind.INTEGER:
            if not isinstance(value, float) or not value.is_integer():
                return codes.FIELD_TYPE
            permitted = 0 <= value <= MAX_INTEGER
        case Kind.FLOAT:
            if not isinstance(value, float):
                return codes.FIELD_TYPE
            permitted = one.minimum is None or value >= one.minimum
        case Kind.BOOLEAN:
            if not isinstance(value, bool):
                return codes.FIELD_TYPE
            permitted = True
        case Kind.OBJECTS:
            if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
                return codes.FIELD_TYPE
            permitted = True
        case _:
            permitted = True
    return None if permitted else codes.FIELD_VALUE


def _expected(one: Field) -> str:
    if one.values:
        return f"it is one of {', '.join(one.values)}"
    if one.hex_digits:
        return f"it is {one.hex_digits} lower-case hex digits"
    parts = [f"it is {one.kind.value}"]
    if one.not_empty:
        parts.append("not empty")
    if one.minimum is not None:
        parts.append(f"at least {one.minimum}")
    return ", ".join(parts) + ("" if one.required or one.kind is Kind.OBJECTS else " or null")


def _broken_rules(record_type: RecordType, record: dict) -> list[str]:
    messages = []
    for rule in record_type.rules:
        if record[rule.field] not in rule.values:
            continue
        when = f"when {rule.field} is {record[rule.field]}"
        messages += [f"{name} is null, which it must not be {when}." for name in rule.present if record[name] is None]
        messages += [
            f"{name} is not null, which it must be {when}." for name in rule.absent if record[name] is not None
        ]
        messages += [
            f"{name} is not {json.dumps(want)}, which it must be {when}."
            for name, want in rule.equal
            if record[name] is not want
        ]
    if record_type.exactly_one and sum(record[name] is not None for name in record_type.exactly_one) != 1:
        messages.append(f"Exactly one of {' and '.join(record_type.exactly_one)} must not be null.")
    return messages


def _shown(value: object) -> str:
    """A value from the package, for a message: JSON, cut short."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
