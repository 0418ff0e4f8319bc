"""What a record of a SQLite audit database is when the same run is on PostgreSQL.

Belongs here: the one difference, the offset of times (docs/records.md, Values).
"""

import json

import rfc8785

from benchmarks.fields import TIMES


def with_offset(text: str) -> str:
    """A record in canonical form (any form will do), its times as instants, unsigned; in canonical form."""
    record = json.loads(text)
    record.pop("signature", None)
    for name in TIMES:
        if record.get(name) is not None:
            record[name] += "+00:00"
    return rfc8785.dumps(record).decode()
