"""Every limit of the verifier, as docs/package.md states them under "Limits".

Belongs here: the bounds on what is accepted, and on what a report holds. Does not belong here: how they are checked,
and how much is read at once (`records_file.py`), which decides nothing.
"""

from __future__ import annotations

MANIFEST_BYTES = 4 * 1024 * 1024
"""Largest manifest.json."""
MANIFEST_DEPTH = 8
"""Deepest nesting of arrays and objects in manifest.json, itself counted."""
RECORD_BYTES = 64 * 1024 * 1024
"""Longest line of records.jsonl that is always read, without its line end; a bound on memory."""
RECORD_DEPTH = 256
"""Deepest nesting of arrays and objects in a record, itself counted. JSON sets none; recursion needs one."""
MAX_INTEGER = 2**53 - 1
"""Greatest integer of a record, and greatest count or size of the manifest: the last that every JSON reader keeps exact
(RFC 7493, 2.2)."""
YEARS = (1, 9999)
"""First and last year of a time."""
DISCLOSURE_BYTES = 256 * 1024 * 1024
"""Largest disclosure."""
DISCLOSURE_DEPTH = 4
"""Deepest nesting of arrays and objects in a disclosure, itself counted; its records are texts."""
SIGNATURE_BYTES = 64
"""Size of manifest.json.sig."""
CHUNK_BYTES = 64 * 1024 * 1024
"""Largest chunk of v071's manifest record, and the default."""
CHUNK_RECORDS = 1_000_000
"""Most records of such a chunk, and the default."""
CHUNKS = 100_000
"""Most chunks of an export."""

FINDINGS_OF_A_CODE = 1000
"""Findings that a report lists for each code; the rest are counted."""
FINDINGS_OF_A_RECORD = 20
"""Faults of fields and rules that are told of one record; more would not help anyone."""
