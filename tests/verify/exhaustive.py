"""The whole tampering matrix over a small signed package, as one command:
`python -m tests.verify.exhaustive [--generation v1|v071]`.

Belongs here: every bit of every file, every truncation, every edit of `tampering.py`, and the counts. The test suite
does a spread-out part of it.

The package has both signatures of its manifest. What counts is twofold: what is noticed with both keys, which is all,
and what with the HMAC key alone, which is all but other bytes in `manifest.json.sig`: only the public key can tell them
from the signature, and the report says that they were not checked. A verdict with the HMAC key alone that is bad stays
so with both (`test_tampering.py`): a second key only adds checks. So the second verdict is asked for where the first is
good.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import Pool, cpu_count
from pathlib import Path

import rfc8785

from landscape_assets.verify import verify_package

from . import build, generations, tampering
from .build import KEY, OTHER_KEY
from .make_corpus import PRIVATE_KEY
from .small import small_run
from .tampering import Restored

PEM = (Path(__file__).parent / "corpus" / "public.pem").read_bytes()

BLIND = ("manifest.json.sig",)
"""The files whose content the HMAC key does not cover."""

Verdicts = tuple[int, int]
"""With the HMAC key alone, and with both keys."""
Result = tuple[str, str, Verdicts]
"""Group, what was done, the verdicts."""


def sound_package(parent: Path, generation: str, run_id: str = "run-small") -> Path:
    """A package in which nothing is wrong."""
    if generation == "v1":
        return build.build(parent, small_run(run_id), private_key=PRIVATE_KEY)
    records = [{**record, "run_id": run_id} if "run_id" in record else record for record in _few(generation)]
    return generations.build_package(parent, records, generation, private_key=PRIVATE_KEY)


def _few(generation: str) -> list[dict]:
    """The run, its policy, an operation with its node and the first of its calls: small, so that every bit of a package
    can be flipped, and with a manifest record that all of them lead to."""
    records = generations.data_records(generation, small=True)
    calls = [record for record in records if record["record_type"] == "call" and record["operation_id"]]
    (operation,) = (
        record
        for record in records
        if record["record_type"] == "operation" and record["operation_id"] == calls[0]["operation_id"]
    )
    return [
        record
        for record in records
        if record["record_type"] in ("run", "web_plugin_policy")
        or (record["record_type"] == "node" and record["node_id"] == operation["node_id"])
        or record in (operation, calls[0])
    ]


def verdict(package: Path) -> Verdicts:
    """In this process."""
    report = verify_package(package, key=KEY, processes=1)
    alone = int(report.status)
    if alone not in (0, 10):
        return alone, alone
    signed = (package / "manifest.json.sig").exists()
    if signed and not report.notices:
        raise AssertionError("What was not checked was not said.")
    return alone, int(verify_package(package, key=KEY, public_key=PEM, processes=1).status)


def bits_and_truncations(part: int, parts: int, parent: Path, generation: str) -> Iterator[Result]:
    """This part of every single-bit change, every truncation and some lengthenings."""
    copy = Restored(sound_package(parent / f"bits-{part}", generation))
    for name, content in copy.sound.items():
        for bit in range(part, len(content) * 8, parts):
            with copy.with_content(name, tampering.flipped(content, bit)) as package:
                yield f"bit flips in {name}", f"bit {bit}", verdict(package)
        for length in range(part, len(content), parts):
            with copy.with_content(name, content[:length]) as package:
                yield f"truncations of {name}", f"to {length}", verdict(package)
        for byte in range(part, 256, parts):
            with copy.with_content(name, content + bytes([byte])) as package:
                yield f"appended bytes to {name}", f"byte {byte}", verdict(package)


def edits(part: int, parts: int, parent: Path, generation: str) -> Iterator[Result]:
    """This part of the edits of files, records and the manifest."""
    base = sound_package(parent / f"edits-{part}", generation)
    copy = Restored(base)
    for number, (what, tamper) in enumerate(tampering.file_tamperings(base)):
        if number % parts == part:
            touched = parent / f"touched-{part}" / base.name
            shutil.copytree(base, touched)
            moved = tamper(touched)
            yield (
                "files",
                what,
                verdict(moved if isinstance(moved, Path) and moved.parent == touched.parent else touched),
            )
            shutil.rmtree(touched.parent)

    other = sound_package(parent / f"other-{part}", generation, "run-other")
    foreign = (other / "records.jsonl").read_bytes().splitlines()
    lines = copy.sound["records.jsonl"].splitlines()
    for number, (what, edited) in enumerate(tampering.line_edits(lines, foreign)):
        if number % parts == part:
            content = b"".join(line + b"\n" for line in edited)
            with copy.with_content("records.jsonl", content) as package:
                yield "records", what, verdict(package)
            files = tampering.resealed({**copy.sound, "records.jsonl": content}, KEY)
            sealed = build.write(parent / f"sealed-{part}" / base.name, files)
            status = int(verify_package(sealed, key=KEY, processes=1).status)  # it has no public-key signature
            yield "records, manifest signed anew with the key", what, (status, status)
            shutil.rmtree(sealed)

    manifest = json.loads(copy.sound["manifest.json"])
    for number, (what, edited) in enumerate(tampering.manifest_edits(manifest)):
        if number % parts == part:
            for group, content in (
                ("manifest values", rfc8785.dumps(edited)),
                ("manifest values, signed with another key", rfc8785.dumps(build.sign(edited, OTHER_KEY))),
                ("manifest values, signature stripped", tampering.without_signature(rfc8785.dumps(edited))),
            ):
                if json.loads(content) == manifest:
                    continue  # only the signature was edited, and was made anew
                with copy.with_content("manifest.json", content) as package:
                    yield group, what, verdict(package)


def work(job: tuple[int, int, str, str]) -> tuple[Counter, list[Result]]:
    """One process's part: counts by group and verdicts, and what was not noticed with the one key or with both."""
    part, parts, parent, generation = job
    counts: Counter = Counter()
    missed: list[Result] = []
    for source in (bits_and_truncations, edits):
        for result in source(part, parts, Path(parent), generation):
            counts[result[0], result[2]] += 1
            if not {0, 10}.isdisjoint(result[2]):
                missed.append(result)
    return counts, missed


def main() -> int:
    """Do all of it and print the counts. Gives 0 when nothing was missed but what is named in BLIND."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.verify.exhaustive", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("--generation", choices=("v1", "v071"), default="v1", help="of the package (v1)")
    generation = parser.parse_args().generation
    started = time.monotonic()
    processes = cpu_count()
    counts: Counter = Counter()
    missed: list[Result] = []
    with tempfile.TemporaryDirectory() as parent:
        sound = sound_package(Path(parent) / "sound", generation)
        if verdict(sound) != (0, 0):
            print("The untouched package does not verify.")
            return 1
        sizes = {name: (sound / name).stat().st_size for name in tampering.files_of(sound)}
        print(f"{len(sizes)} files, {sum(sizes.values())} bytes")
        with Pool(processes) as pool:
            for some, more in pool.imap_unordered(
                work, [(part, processes, parent, generation) for part in range(processes)]
            ):
                counts += some
                missed += more
    print("   count  status with the HMAC key alone, with both keys")
    for (group, (alone, both)), count in sorted(counts.items()):
        print(f"{count:8}  {alone:2}  {both:2}  {group}")
    with_both = [result for result in missed if result[2][1] in (0, 10)]
    print(f"{counts.total():8}  in {time.monotonic() - started:.0f} s")
    print(f"{len(with_both):8}  not noticed with both keys")
    print(f"{len(missed):8}  not noticed with the HMAC key alone, which does not cover {', '.join(BLIND)}")
    blind = {f"bit flips in {name}" for name in BLIND}
    faults = [result for result in missed if result in with_both or result[0] not in blind]
    for result in faults[:50]:
        print("NOT NOTICED:", *result)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
