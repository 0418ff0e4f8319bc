"""The files of a log of some hundred entries, at every edge of a tile, and what another implementation reads of them.

Belongs here: logs larger than one tile, of packages that are no more than manifests. Does not belong here: exports.
"""

import json
import time
from pathlib import Path

import pytest
import rfc8785
from support.sample_v1 import COMPLETED_RUN
from tlog_scales import tiles as their_tiles
from tlog_scales.tlog import Checkpoint as TheirCheckpoint

from landscape_assets.evidence import LogSettings, export_log, tiles
from landscape_assets.records.sign import ManifestKey
from landscape_assets.verify import Status
from landscape_assets.verify.log import verify_log

from .conftest import ORIGIN, Signer

SIZES = (1, 2, 255, 256, 257, 511, 512, 600)


def add_manifests(folder: Path, template: Path, start: int, stop: int) -> None:
    """Packages of which there is only the manifest, each of its own run."""
    manifest = json.loads(template.read_bytes())
    for number in range(start, stop):
        package = folder / f"run-{number:05d}"
        package.mkdir(parents=True)
        (package / "manifest.json").write_bytes(rfc8785.dumps(manifest | {"run_id": package.name}))


def log_settings(signer: Signer) -> LogSettings:
    return LogSettings(ManifestKey.load(signer.private), ORIGIN)


@pytest.fixture(scope="module")
def template(exports: Path) -> Path:
    return exports / COMPLETED_RUN / "manifest.json"


def test_a_log_grows_from_tile_to_tile(template: Path, tmp_path: Path, signer: Signer):
    """At each size the log verifies against the checkpoint before; partial tiles go when they are full."""
    settings, before, size = log_settings(signer), None, 0
    for wanted in SIZES:
        add_manifests(tmp_path, template, size, wanted)
        done = export_log.sync(tmp_path, settings)
        assert (done.size, done.added) == (wanted, wanted - size)
        checkpoint = (tmp_path / ".log" / "checkpoint").read_bytes()
        kept = before or checkpoint
        report = verify_log(tmp_path, public_key=signer.public_key, checkpoint=kept, packages=False)
        assert report.status is Status.VERIFIED, report.to_text()
        before, size = checkpoint, wanted
    log = tmp_path / ".log"
    assert sorted(path.name for path in (log / "tile" / "0").iterdir()) == ["000", "001", "002.p"]
    assert sorted(path.name for path in (log / "tile" / "entries").iterdir()) == ["000", "001", "002.p"]
    assert (log / "tile" / "1" / "000.p" / "2").stat().st_size == 64
    assert (log / "tile" / "0" / "000").stat().st_size == 8192
    for earlier in SIZES[:-1]:  # each checkpoint that was ever signed is one that the log goes on from
        checkpoint = (log / "checkpoints" / str(earlier)).read_bytes()
        report = verify_log(tmp_path, public_key=signer.public_key, checkpoint=checkpoint, packages=False)
        assert report.status is Status.VERIFIED


@pytest.mark.parametrize("index", [0, 999, 1000, 1_234_067, 999_999, 1_000_000])
@pytest.mark.parametrize("width", [1, 255, 256])
def test_paths_are_those_of_another_implementation(index: int, width: int):
    partial = 0 if width == 256 else width
    assert tiles.tile_path(2, index, width) == "/".join(their_tiles.tile_path(2, index, partial))
    assert tiles.entries_path(index, width) == "/".join(their_tiles.tile_path(-1, index, partial))


def test_the_published_example_of_a_path():
    """tlog-tiles: index 1234067 is x001/x234/067."""
    assert tiles.tile_path(0, 1_234_067) == "tile/0/x001/x234/067"


def test_another_implementation_reads_the_checkpoint(template: Path, tmp_path: Path, signer: Signer):
    """And makes the same root of the entries."""
    from pymerkle import InmemoryTree

    add_manifests(tmp_path, template, 0, 300)
    export_log.sync(tmp_path, log_settings(signer))
    log = tmp_path / ".log"
    theirs = TheirCheckpoint.from_text((log / "checkpoint").read_text())
    assert (theirs.origin, theirs.size) == (ORIGIN, 300)
    tree = InmemoryTree(algorithm="sha256")
    for entry in tiles.read_entries(log, 300):
        tree.append_entry(entry)
    assert tree.get_root() == theirs.root_hash


def test_a_crash_before_the_checkpoint(template: Path, tmp_path: Path, signer: Signer):
    """What an append left that did not come to its checkpoint is overwritten by the next one, with other entries."""
    settings = log_settings(signer)
    add_manifests(tmp_path, template, 0, 250)
    export_log.sync(tmp_path, settings)
    log = tmp_path / ".log"
    before = (log / "checkpoint").read_bytes()
    add_manifests(tmp_path, template, 250, 270)
    export_log.sync(tmp_path, settings)
    (log / "checkpoint").write_bytes(before)  # as if the last rename had not been
    report = verify_log(tmp_path, public_key=signer.public_key, checkpoint=before, packages=False)
    assert {one.code for one in report.findings} == {"E610"}, report.to_text()
    assert any("left by an append that did not finish" in notice for notice in report.notices)
    add_manifests(tmp_path, template, 270, 271)
    assert export_log.sync(tmp_path, settings).added == 21
    report = verify_log(tmp_path, public_key=signer.public_key, checkpoint=before, packages=False)
    assert report.status is Status.VERIFIED, report.to_text()


def test_a_long_run_id(template: Path, tmp_path: Path, signer: Signer):
    """An entry has room for 64 KiB: where the run_id takes half of it, its folder stands for it."""
    from landscape_assets.storage.names import folder_name

    manifest = json.loads(template.read_bytes())
    for run_id in ("é" * 16_384, "é" * 16_385, "\x1f" * 10_000):
        package = tmp_path / folder_name(run_id)
        package.mkdir()
        (package / "manifest.json").write_bytes(rfc8785.dumps(manifest | {"run_id": run_id}))
    done = export_log.sync(tmp_path, log_settings(signer))
    assert (done.size, done.problems) == (3, ())
    checkpoint = (tmp_path / ".log" / "checkpoint").read_bytes()
    report = verify_log(tmp_path, public_key=signer.public_key, checkpoint=checkpoint, packages=False)
    assert report.status is Status.VERIFIED, report.to_text()


@pytest.mark.slow
def test_ten_thousand_entries(template: Path, tmp_path: Path, signer: Signer):
    """They are verified in seconds, besides the packages."""
    settings = log_settings(signer)
    add_manifests(tmp_path, template, 0, 10_000)
    assert export_log.sync(tmp_path, settings).added == 10_000
    checkpoint = (tmp_path / ".log" / "checkpoint").read_bytes()
    started = time.process_time()
    report = verify_log(tmp_path, public_key=signer.public_key, checkpoint=checkpoint, packages=False)
    seconds = time.process_time() - started
    assert report.status is Status.VERIFIED, report.to_text()
    print(f"10,000 entries and manifests verified in {seconds:.1f} s of processor time")
