"""What can be done to a log, or to the folder that it speaks of, and what the verifier says then.

Belongs here: every attack, with the finding that it must lead to. Does not belong here: the log as it should be
(`test_log.py`).
"""

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import rfc8785
from support.bits import flip_bits
from support.exporter import Exporter
from support.sample_v1 import COMPLETED_RUN, write_sample

from landscape_assets.evidence import prove, tiles
from landscape_assets.evidence.note import sign_checkpoint
from landscape_assets.merkle import Tree, hashes_of
from landscape_assets.records.sign import ManifestKey
from landscape_assets.verify import Status
from landscape_assets.verify.log import LogReport, verify_log, verify_proof

from .conftest import ORIGIN, Signer, packages


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Path:
    """An export folder with four entries: two publications in one append, and two supersessions."""
    folder = tmp_path_factory.mktemp("busy")
    write_sample(folder / "landscape.db")
    exporter = Exporter(folder)
    assert exporter.export(folder / "landscape.db", "--all", **signer.settings).exit_code == 0
    for formats in (["--format=jsonl"], ["--format=jsonl", "--format=csv"]):
        more = [f"--run-id={COMPLETED_RUN}", "--supersede", *formats]
        assert exporter.export(folder / "landscape.db", *more, **signer.settings).exit_code == 0
    return exporter.output


@pytest.fixture
def folder(busy: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(busy, tmp_path / "exports", symlinks=True))


def rewrite(folder: Path, edit: Callable[[list[bytes]], list[bytes]], signer: Signer, origin: str = ORIGIN) -> None:
    """The log written anew with other entries, validly signed: what the holder of the key alone can do."""
    log = folder / ".log"
    size = int((log / "checkpoint").read_text().split("\n")[1])
    entries = edit(tiles.read_entries(log, size))
    shutil.rmtree(log)
    tree = Tree(hashes_of(entries))
    log.mkdir()
    tiles.write_tiles(log, entries, tree, 0)
    checkpoint = sign_checkpoint(origin, len(entries), tree.root(), ManifestKey.load(signer.private))
    (log / "checkpoint").write_text(checkpoint.note())


def bundle(folder: Path) -> Path:
    size = (folder / ".log" / "checkpoint").read_text().split("\n")[1]
    return folder / ".log" / "tile" / "entries" / "000.p" / size


def logged_first(entries: list[bytes]) -> bytes:
    """The publication of the run whose package was superseded since."""
    return next(one for one in entries if json.loads(one)["run_id"] == COMPLETED_RUN)


def reordered(entries: list[bytes]) -> list[bytes]:
    return [entries[1], entries[0], *entries[2:]]


def changed(entries: list[bytes], **changes: object) -> list[bytes]:
    return [rfc8785.dumps({**json.loads(entries[0]), **changes}), *entries[1:]]


def rewrite_bundle(folder: Path, edit: Callable[[list[bytes]], list[bytes]]) -> None:
    """The entries alone, with neither hashes nor a signature made anew."""
    path = bundle(folder)
    some = edit(tiles.read_entries(folder / ".log", int(path.name)))
    path.write_bytes(b"".join(len(entry).to_bytes(2, "big") + entry for entry in some))


def forge_entry(folder: Path, signer: Signer, **changes: object) -> None:
    rewrite(folder, lambda entries: changed(entries, **changes), signer)


def replace_package(folder: Path) -> None:
    """A package's manifest with something changed in it."""
    path = folder / COMPLETED_RUN / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"completed"', b'"failed"'))


ATTACKS: dict[str, tuple[Callable[[Path, Signer, Signer], object], Status, set[str]]] = {
    "no log": (lambda folder, mine, other: shutil.rmtree(folder / ".log"), Status.DIVERGED, {"E601"}),
    "no checkpoint": (lambda folder, mine, other: (folder / ".log" / "checkpoint").unlink(), Status.DIVERGED, {"E601"}),
    "empty checkpoint": (
        lambda folder, mine, other: (folder / ".log" / "checkpoint").write_bytes(b""),
        Status.INVALID,
        {"E602"},
    ),
    "no entries": (lambda folder, mine, other: bundle(folder).unlink(), Status.DIVERGED, {"E605", "E610"}),
    "no tiles": (lambda folder, mine, other: shutil.rmtree(folder / ".log" / "tile" / "0"), Status.DIVERGED, {"E605"}),
    "first entry deleted": (
        lambda folder, mine, other: rewrite(folder, lambda some: some[1:], mine),
        Status.DIVERGED,
        {"E613", "E610"},
    ),
    "middle entry deleted": (
        lambda folder, mine, other: rewrite(folder, lambda some: [some[0], *some[2:]], mine),
        Status.DIVERGED,
        {"E613", "E610"},
    ),
    "last entry deleted": (
        lambda folder, mine, other: rewrite(folder, lambda some: some[:-1], mine),
        Status.DIVERGED,
        {"E613", "E610"},
    ),
    "all entries deleted": (
        lambda folder, mine, other: rewrite(folder, lambda some: [], mine),
        Status.DIVERGED,
        {"E601", "E613", "E610"},
    ),
    "last entry and its package deleted": (
        lambda folder, mine, other: (
            rewrite(folder, lambda some: some[:-1], mine),
            remove_unlogged(folder),
        ),
        Status.DIVERGED,
        {"E613"},
    ),
    "forked: another history of the same length": (
        lambda folder, mine, other: forge_entry(folder, mine, record_count=1),
        Status.INVALID,
        {"E611", "E614"},
    ),
    "reordered, and signed anew": (
        lambda folder, mine, other: rewrite(folder, reordered, mine),
        Status.DIVERGED,
        {"E614"},
    ),
    "reordered": (
        lambda folder, mine, other: rewrite_bundle(folder, reordered),
        Status.INVALID,
        {"E606", "E607", "E614"},
    ),
    "replayed: an entry twice": (
        lambda folder, mine, other: rewrite(folder, lambda some: [*some, logged_first(some)], mine),
        Status.INVALID,
        {"E615", "E619"},
    ),
    "a shorter checkpoint that was signed": (
        lambda folder, mine, other: shutil.copy(folder / ".log" / "checkpoints" / "2", folder / ".log" / "checkpoint"),
        Status.DIVERGED,
        {"E610", "E613"},
    ),
    "checkpoint of another origin": (
        lambda folder, mine, other: rewrite(folder, lambda some: some, mine, "another.example/log"),
        Status.INVALID,
        {"E604"},
    ),
    "checkpoint of another key": (
        lambda folder, mine, other: rewrite(folder, lambda some: some, other),
        Status.INVALID,
        {"E603"},
    ),
    "a package deleted with its entry left": (
        lambda folder, mine, other: shutil.rmtree(folder / COMPLETED_RUN),
        Status.DIVERGED,
        {"E609"},
    ),
    "all packages deleted": (
        lambda folder, mine, other: [shutil.rmtree(path) for path in packages(folder).values()],
        Status.DIVERGED,
        {"E609"},
    ),
    "a package's manifest deleted": (
        lambda folder, mine, other: (folder / COMPLETED_RUN / "manifest.json").unlink(),
        Status.DIVERGED,
        {"E609"},
    ),
    "a package changed": (
        lambda folder, mine, other: replace_package(folder),
        Status.INVALID,
        {"E609", "E610", "E612"},
    ),
    "a record of a package changed": (
        lambda folder, mine, other: (folder / COMPLETED_RUN / "records.jsonl").write_bytes(
            (folder / COMPLETED_RUN / "records.jsonl").read_bytes().replace(b"row", b"rov", 1)
        ),
        Status.INVALID,
        {"E612"},
    ),
    "a package renamed": (
        lambda folder, mine, other: (folder / COMPLETED_RUN).rename(folder / "another"),
        Status.INVALID,
        {"E611", "E612"},
    ),
    "an entry that is not canonical": (
        lambda folder, mine, other: rewrite(folder, lambda some: [some[0] + b" ", *some[1:]], mine),
        Status.INVALID,
        {"E608", "E610", "E614"},
    ),
    "an entry of another kind": (
        lambda folder, mine, other: forge_entry(folder, mine, kind="rumour"),
        Status.INVALID,
        {"E608", "E610", "E614"},
    ),
    "an entry of a package that never was": (
        lambda folder, mine, other: rewrite(
            folder, lambda some: [*some, *changed(some, manifest_sha256="0" * 64, run_id="never")[:1]], mine
        ),
        Status.DIVERGED,
        {"E609"},
    ),
    "a file in the log that is not of it": (
        lambda folder, mine, other: (folder / ".log" / "notes.txt").write_text("hello"),
        Status.INVALID,
        {"E618"},
    ),
    "lengths that are not those of the entries": (
        lambda folder, mine, other: bundle(folder).write_bytes(bundle(folder).read_bytes() + b"\0"),
        Status.INVALID,
        {"E605", "E606", "E610"},
    ),
    "a tile that is cut": (
        lambda folder, mine, other: [
            path.write_bytes(path.read_bytes()[:-1]) for path in (folder / ".log" / "tile" / "0" / "000.p").iterdir()
        ],
        Status.INVALID,
        {"E606"},
    ),
}


def remove_unlogged(folder: Path) -> None:
    """Removes the packages of which the log does not speak."""
    size = int((folder / ".log" / "checkpoint").read_text().split("\n")[1])
    logged = {json.loads(entry)["manifest_sha256"] for entry in tiles.read_entries(folder / ".log", size)}
    for path in packages(folder).values():
        if hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest() not in logged:
            shutil.rmtree(path)


def verified(folder: Path, signer: Signer, checkpoint: bytes) -> LogReport:
    return verify_log(folder, public_key=signer.public_key, checkpoint=checkpoint)


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks(name: str, folder: Path, signer: Signer, other_signer: Signer):
    """Each is refused, for what it is; the auditor has the checkpoint of before."""
    attack, status, expected = ATTACKS[name]
    checkpoint = (folder / ".log" / "checkpoint").read_bytes()
    attack(folder, signer, other_signer)
    report = verified(folder, signer, checkpoint)
    found = {one.code for one in report.findings}
    assert (report.status, found) == (status, expected), report.to_text()
    for finding in report.findings:
        assert finding.message.endswith(".")
        if finding.code in ("E609", "E612") and name != "an entry of a package that never was":
            assert COMPLETED_RUN in finding.message or name == "all packages deleted", finding


def test_what_only_an_earlier_checkpoint_shows(folder: Path, signer: Signer):
    """The last entry and its package deleted, validly signed: without a kept checkpoint the verdict is 10, and says
    why; never 0."""
    rewrite(folder, lambda some: some[:-1], signer)
    remove_unlogged(folder)
    report = verify_log(folder, public_key=signer.public_key)
    assert report.status is Status.CONSISTENT
    assert any("the newest packages may have been cut off" in notice for notice in report.notices)


@pytest.mark.timeout(900)
def test_every_bit_of_a_log(exporter: Exporter, sample: Path, signer: Signer):
    """Of each checkpoint, of every entry, of every hash: no bit can be flipped unseen."""
    folder = exporter.output
    for key_id in ("first", "second"):  # small manifests: most of the time is theirs
        more = [f"--run-id={COMPLETED_RUN}", "--supersede", "--format=jsonl"]
        result = exporter.export(sample, *more, LANDSCAPE_SIGNING_KEY_ID=key_id, **signer.settings)
        assert result.exit_code == 0
    checkpoint = (folder / ".log" / "checkpoint").read_bytes()
    files = [path for path in sorted((folder / ".log").rglob("*")) if path.is_file()]
    count = 0
    for path in files:
        for bit in flip_bits(path):
            report = verify_log(folder, public_key=signer.public_key, checkpoint=checkpoint, packages=False)
            assert report.status in (Status.INVALID, Status.DIVERGED), (path, bit)
            count += 1
    assert verified(folder, signer, checkpoint).status is Status.VERIFIED
    assert count == 8 * sum(len(path.read_bytes()) for path in files) > 5_000
    print(f"{count} bits flipped, each refused")


def test_every_bit_of_a_proof(folder: Path, signer: Signer, tmp_path: Path):
    """And every hash too many or too few, and the place of another entry."""
    data, path, count = prove(folder / COMPLETED_RUN), tmp_path / "package.tlog-proof", 0
    path.write_bytes(data)
    for bit in flip_bits(path):
        assert verify_proof(path, public_key=signer.public_key).status is Status.INVALID, bit
        count += 1
    lines = data.decode().split("\n")
    end = lines.index("")
    index = int(lines[2].removeprefix("index "))
    surplus = base64.b64encode(bytes(32)).decode()
    wrong = [
        [*lines[:end], surplus, *lines[end:]],
        [*lines[:3], surplus, *lines[3:]],
        [*lines[:3], *lines[4:]],
        [*lines[:2], f"index {index + 1}", *lines[3:]],
        [*lines[:2], f"index {index}0", *lines[3:]],
        [lines[0], *lines[2:]],
        [*lines[:end]],
        [*lines[:1], lines[1], *lines[1:]],
    ]
    for case in wrong:
        path.write_text("\n".join(case))
        assert verify_proof(path, public_key=signer.public_key).status is Status.INVALID, case
    print(f"{count} bits flipped, {len(wrong)} other changes, each refused")


def test_a_log_of_another_folder(folder: Path, exporter: Exporter, sample: Path, signer: Signer):
    """A log validly signed with the same key and origin, of other packages."""
    checkpoint = (folder / ".log" / "checkpoint").read_bytes()
    exporter.output = exporter.folder / "others"
    assert exporter.export(sample, f"--run-id={COMPLETED_RUN}", **signer.settings).exit_code == 0
    shutil.rmtree(folder / ".log")
    shutil.copytree(exporter.output / ".log", folder / ".log")
    report = verified(folder, signer, checkpoint)
    assert {one.code for one in report.findings} >= {"E609", "E610", "E613"}
    assert report.status is Status.DIVERGED
