"""The CSV files of a package: what records give, as docs/package.md ("csv/<record_type>.csv") states it.

Belongs here: cells, rows and headers from canonical values, and comparing a file with them. Does not belong here: which
records there are.
"""

from __future__ import annotations

import json
import re

from . import codes
from .canonical import canonical
from .contract_model import SIGNATURE, Kind, RecordType
from .folder import Measure, Source, Unreadable
from .layout import NULL, Layout, Values
from .manifest import Listed
from .report import Findings

_PLAIN_KINDS = (Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN)
_FORMULA = (b"=", b"+", b"-", b"@", b"'", b"\t", b"\r", b"\n", b"\0")
"""First characters that a spreadsheet may take for a formula, or that the rule itself uses."""

_PLAIN = re.compile(rb"""[^=+\-@'\t\r\n\0",\\][^",\r\n\\]*""")
"""Text that is its own cell: nothing to escape, quote or prefix (and, with no backslash, its own canonical form)."""

_QUOTED = re.compile(rb'[",\r\n]')


def text_cell(text: bytes) -> bytes:
    """The cell of a text, given as UTF-8 bytes."""
    if not text:
        return b'""'
    if text.startswith(_FORMULA):
        text = b"'" + text
    if _QUOTED.search(text):
        return b'"' + text.replace(b'"', b'""') + b'"'
    return text


def cell(raw: bytes, is_nested: bool) -> bytes:
    """The cell of a value.

    Args:
        raw: the value in canonical form.
        is_nested: whether the field may hold arrays or objects.
    """
    if raw == NULL:
        return b""
    if is_nested:
        return text_cell(raw)
    if raw[0] != 0x22:  # a number or a boolean: as in the canonical form
        return raw
    body = raw[1:-1]
    if _PLAIN.fullmatch(body):
        return body
    return text_cell(json.loads(raw).encode("utf-8") if b"\\" in body else body)


def header(record_type: RecordType, signed: bool) -> bytes:
    """The header line of a type's file."""
    names = ["record_type", *(field.name for field in record_type.fields)]
    return ",".join([*names, SIGNATURE.name] if signed else names).encode("ascii") + b"\r\n"


class RowWriter:
    """Makes the rows of a type's file.

    Args:
        layout: of the type.
        run_id: of the package.
    """

    def __init__(self, layout: Layout, run_id: str) -> None:
        self.name = layout.name
        columns = [one for one in layout.fields.values() if one.name != "run_id"]
        # Whether a value stands in its cell as it is, and whether it is nested.
        self.columns = [
            (layout.at[one.name], one.kind in _PLAIN_KINDS or one is SIGNATURE, one.kind.is_nested) for one in columns
        ]
        self.start = self._start(run_id)

    def _start(self, run_id: str) -> bytes:
        return self.name.encode("ascii") + b"," + cell(canonical(run_id), False) + b","

    def row(self, values: Values, run_id: str | None) -> bytes:
        """The row of a record, with its line end.

        Args:
            values: of the record.
            run_id: the record's own, when that may be another than the run's.
        """
        cells = [
            (b"" if values[at] == NULL else values[at]) if is_plain else cell(values[at], is_nested)
            for at, is_plain, is_nested in self.columns
        ]
        start = self.start if run_id is None else self._start(run_id)
        return start + b",".join(cells) + b"\r\n"


class CsvFile:
    """A CSV file that is compared, block by block, with what the records give.

    Args:
        source: the open file.
        listed: its entry in the manifest.
    """

    def __init__(self, source: Source, listed: Listed) -> None:
        self.measure = Measure(listed)
        self.blocks = source.blocks(listed.size)
        self.held = b""
        self.lines = 0
        self.differs: int | None = None
        self.unreadable = False

    def expect(self, wanted: bytes) -> None:
        """Take `wanted` for the next bytes of the file, and note the line of the first that is another."""
        held = [self.held]
        size = len(self.held)
        while size < len(wanted) and (block := self._block()):
            held.append(block)
            size += len(block)
        found = b"".join(held)
        if self.differs is None and not found.startswith(wanted):
            self.differs = self.lines + wanted.count(b"\n", 0, _common_prefix(found, wanted)) + 1
        self.lines += wanted.count(b"\n")
        self.held = found[len(wanted) :]

    def _block(self) -> bytes:
        """The next bytes of the file; none at the listed size, and none any more when it cannot be read."""
        try:
            return self.measure.update(next(self.blocks, b""))
        except Unreadable:
            self.unreadable = True
            return b""

    def finish(self, findings: Findings) -> None:
        """Read the rest, and note what is wrong."""
        while block := self._block():
            self.held = self.held or block
        if self.unreadable:
            return
        if self.differs is None and self.held:
            self.differs = self.lines + 1
        self.measure.judge(findings)
        if self.differs is not None:
            message = "From this line on, the file is not what records.jsonl gives."
            findings.add(codes.CSV, self.measure.listed.path, self.differs, message)


def _common_prefix(one: bytes, two: bytes) -> int:
    """How many bytes both begin with alike."""
    low, high = 0, min(len(one), len(two))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == two[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
