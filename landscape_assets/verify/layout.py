"""How the fields of a record type stand in a record, and how its values are handed from one check to the next.

Belongs here: positions. Does not belong here: what a value must be.
"""

from __future__ import annotations

import json

from .canonical import canonical, sorted_keys
from .contract_model import SIGNATURE, Contract, Field, Kind, RecordType

Record = dict[str, object]
"""A record as it was parsed."""
Values = tuple[bytes, ...]
"""The values of a record in canonical form, `signature` without its quotation marks; `Layout.at` says which is where.
record_type and run_id are left out."""
NULL = b"null"


class Layout:
    """The layout of one record type.

    Args:
        record_type: the type.
        number: the place of the type among those of the contract.
        signed: whether records have a signature.
    """

    def __init__(self, record_type: RecordType, number: int, signed: bool) -> None:
        self.type = record_type
        self.name = record_type.name
        self.number = number
        self.fields: dict[str, Field] = {field.name: field for field in record_type.fields}
        if signed:
            self.fields[SIGNATURE.name] = SIGNATURE
        self.names = sorted_keys({"record_type": None, **self.fields})
        """All fields, record_type too, in canonical order."""
        self.at: dict[str, int] = {}
        self.width = 0
        for name in self.names:
            if name not in ("record_type", "run_id"):
                self.at[name] = self.width
                # A number has a second place: the fast path says there whether it needs another look.
                self.width += 2 if self.fields[name].kind is Kind.FLOAT else 1
        self.signature = self.at.get(SIGNATURE.name, -1)
        self.id = tuple(self.at[name] for name in record_type.id if name != "run_id")

    def values(self, record: Record) -> Values:
        """The values of a record whose fields are sound."""
        values = [NULL] * self.width
        for name, at in self.at.items():
            if name in record:
                values[at] = canonical(record[name])
        if self.signature >= 0:
            values[self.signature] = values[self.signature][1:-1]
        return tuple(values)

    def id_of(self, values: Values) -> bytes:
        """The id of a record, as canonical text; of several parts, joined by commas."""
        return b",".join([values[at] for at in self.id])

    def id_of_faulty(self, record: Record) -> bytes | None:
        """The id of a record with faulty fields; None when the id is faulty too."""
        parts = [record.get(name) for name in self.type.id if name != "run_id"]
        return b",".join(map(canonical, parts)) if all(isinstance(part, str | float) for part in parts) else None


def layouts(contract: Contract, signed: bool) -> dict[str, Layout]:
    """The layouts of all types of a contract, by name."""
    return {name: Layout(one, number, signed) for number, (name, one) in enumerate(contract.types.items())}


def shown(value: object) -> str:
    """A value from the package, for a message: JSON, cut short."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
