"""A large signed package, and how long it takes to verify: `python -m tests.verify.big FOLDER [ROWS]`.

Belongs here: synthetic records of the shape of a real run (five node states a row, two calls and one event a state),
written as a stream. 100000 rows give 2.3 million records in 1.3 GB; a package that is in FOLDER already is only
verified.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import rfc8785

from . import build
from .build import KEY
from .small import Record, at, digest, small_run

STATES = 5
CALLS = 2
BRANCH_EVERY = 20
"""Each so many-th row forks into two more tokens."""

_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode
"""Canonical for ASCII keys and for numbers that JSON and ECMAScript write alike; the records below have no others."""


def records(rows: int) -> Iterator[Record]:
    """Data records of a run with so many rows, unsigned, in the contract's order."""
    chance = random.Random(rows)
    run_id = "run-big"

    def new_id() -> str:
        return f"{chance.getrandbits(128):032x}"

    def record(record_type: str, **fields: object) -> Record:
        return {
            **dict.fromkeys(build.FIELDS[record_type].split()),
            "record_type": record_type,
            "run_id": run_id,
            **fields,
        }

    for one in small_run(run_id):
        if one["record_type"] in ("run", "node", "edge"):
            yield one
    for index in range(rows):
        row_id, now = new_id(), at(index % 60, index % 999_999 + 1)
        yield record("row", row_id=row_id, row_index=index, source_node_id="source_1", source_data_hash=digest(row_id))
        first = None
        for branch in (None, "a", "b") if index % BRANCH_EVERY == 0 else (None,):
            token_id = new_id()
            yield record("token", token_id=token_id, row_id=row_id, branch_name=branch)
            if first:
                yield record("token_parent", token_id=token_id, parent_token_id=first, ordinal=0)
            first = first or token_id
            yield record(
                "token_outcome",
                outcome_id=new_id(),
                token_id=token_id,
                outcome="completed",
                is_terminal=True,
                recorded_at=now,
                sink_name="out",
            )
            for step in range(STATES if branch is None else 2):
                state_id = new_id()
                yield record(
                    "node_state",
                    state_id=state_id,
                    token_id=token_id,
                    node_id="gate_2",
                    step_index=step,
                    attempt=0,
                    status="completed",
                    input_hash=digest(state_id),
                    output_hash=digest(token_id),
                    started_at=now,
                    duration_ms=round(1 + chance.random() * 250, 6) + 0.0000001,
                    completed_at=now,
                    success_reason_json='{"action":"transformed","fields_added":["x"]}',
                )
                if step < STATES - 1:
                    yield record(
                        "routing_event",
                        event_id=new_id(),
                        state_id=state_id,
                        edge_id="edge-1",
                        routing_group_id=new_id(),
                        ordinal=0,
                        mode="move",
                        created_at=now,
                    )
                for call in range(CALLS):
                    yield record(
                        "call",
                        call_id=new_id(),
                        state_id=state_id,
                        call_index=call,
                        call_type="llm",
                        status="success",
                        request_hash=digest(row_id),
                        response_hash=digest(state_id),
                        created_at=now,
                        latency_ms=round(1 + chance.random() * 900, 4) + 0.0000001,
                        request_ref=new_id() + new_id(),
                    )


def write(folder: Path, rows: int) -> None:
    """Write the package, with records.jsonl alone."""
    folder.mkdir(parents=True)
    keyed, chain, content = hmac.new(KEY, digestmod="sha256"), hashlib.sha256(), hashlib.sha256()
    counts: Counter[str] = Counter()
    size = 0
    with open(folder / "records.jsonl", "wb") as file:

        def put(line: bytes) -> None:
            nonlocal size
            file.write(line)
            content.update(line)
            size += len(line)

        for record in records(rows):
            few = record["record_type"] in ("run", "node")
            encode = rfc8785.dumps if few else lambda value: _encode(value).encode()
            signature = keyed.copy()
            signature.update(encode(record))
            record["signature"] = signature.hexdigest()
            chain.update(record["signature"].encode())
            counts[record["record_type"]] += 1
            put(encode(record) + b"\n")
        _, manifest = build.contents(small_run("run-big"), formats=())
        manifest |= {
            "record_count": counts.total(),
            "record_counts": dict(counts),
            "final_hash": chain.hexdigest(),
            "tables": {table: counts[name] for name, table in build.TABLES.items()},
        }
        last = {
            "record_type": "manifest",
            "run_id": "run-big",
            "record_count": counts.total(),
            "final_hash": chain.hexdigest(),
            "hash_algorithm": "sha256",
            "signature_algorithm": "hmac-sha256",
            "exported_at": build.EXPORTED_AT,
        }
        put(rfc8785.dumps(build.sign(last, KEY)) + b"\n")
    (folder / "VERIFY.md").write_bytes(build.GUIDE)
    build.list_files(manifest, {"VERIFY.md": build.GUIDE, "records.jsonl": b""})
    manifest["files"][1] |= {"size": size, "sha256": content.hexdigest()}
    (folder / "manifest.json").write_bytes(build.seal(manifest, KEY))


def main(folder: Path, rows: int) -> int:
    """Write the package if it is not there, verify it, and print time and memory."""
    package = folder / "run-big"
    if not package.exists():
        write(package, rows)
    key_file = folder / "key"
    key_file.write_bytes(KEY)
    started = time.monotonic()
    command = [sys.executable, "-m", "landscape_assets.verify", str(package), "--key-file", str(key_file)]
    done = subprocess.run(command, check=False)
    seconds = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    size = os.path.getsize(package / "records.jsonl")
    print(
        f"status {done.returncode}; {size / 1e6:.0f} MB in {seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of "
        f"processor time; the largest process held {used.ru_maxrss / 1024:.0f} MiB"
    )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100_000))
