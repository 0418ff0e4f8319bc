"""The CSV view of a record, as docs/package.md ("csv/<record_type>.csv") states it.

Belongs here: cells, rows and headers from canonical values. Does not belong here: files.
"""

from __future__ import annotations

import json
import re

from .canonical import canonical
from .records import SIGNATURE, Kind, RecordType

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


def cell(raw: bytes, kind: Kind) -> bytes:
    """The cell of a value.

    Args:
        raw: the value in canonical form.
        kind: of its field.
    """
    if raw == b"null":
        return b""
    if kind in (Kind.JSON, Kind.OBJECTS):
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


def first_cells(type_name: str, run_id: str) -> bytes:
    """The cells that are the same in every row of a file: record_type and run_id, with the comma after them."""
    return type_name.encode("ascii") + b"," + cell(canonical(run_id), Kind.TEXT) + b","
