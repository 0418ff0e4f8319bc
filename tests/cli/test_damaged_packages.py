"""The command `export` where a package is that the verifier does not accept: it is never taken for the export.

Belongs here: each way in which a package that is there can be wrong, and superseding it. Does not belong here: a
package that differs (`test_export.py`), and the verifier's own tests (`../verify/`).
"""

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.exporter import Exporter, content
from support.sample_v1 import COMPLETED_RUN

from landscape_assets.keygen import make_key_pair
from landscape_assets.verify import Status, verify_package

JSONL = ("--format", "jsonl")


@pytest.fixture(scope="module")
def made(sample_file, tmp_path_factory) -> tuple[Path, str]:
    """An export folder with a package signed with both kinds of key, one with an unsigned one, and the private key; not
    to be changed."""
    folder = tmp_path_factory.mktemp("made")
    make_key_pair(folder / "private.pem")
    exporter = Exporter(folder)
    private = str(folder / "private.pem")
    assert exporter.outcome(sample_file, COMPLETED_RUN, LANDSCAPE_SIGNING_PRIVATE_KEY_FILE=private)["package"]
    exporter.output.rename(folder / "signed")
    assert exporter.outcome(sample_file, COMPLETED_RUN, "--no-sign", *JSONL)["package"]
    exporter.output.rename(folder / "unsigned")
    return folder, private


@pytest.fixture
def signed(made, exporter) -> Path:
    """A copy of the signed package in the exporter's export folder."""
    shutil.copytree(made[0] / "signed", exporter.output)
    return exporter.output / COMPLETED_RUN


@pytest.fixture
def unsigned(made, exporter) -> Path:
    """A copy of the unsigned package in the exporter's export folder."""
    shutil.copytree(made[0] / "unsigned", exporter.output)
    return exporter.output / COMPLETED_RUN


def names(folder: Path) -> list[str]:
    """Every path below a folder, whatever is there."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def change_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def link_elsewhere(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda package: (package / "evil.txt").write_text(""), "evil.txt: The manifest does not list this file"),
        (lambda package: (package / ".git").mkdir(), ".git: The manifest does not list this folder"),
        (lambda package: os.mkfifo(package / "csv" / "x"), "csv/x: The manifest does not list this FIFO"),
        (lambda package: (package / "a\x1b[2J").mkdir(), "a\\x1b[2J: The manifest does not list this folder"),
        (lambda package: change_a_byte(package / "manifest.json.sig"), "manifest.json.sig: This is not the given key"),
        (lambda package: (package / "manifest.json.sig").unlink(), "manifest.json.sig: The file is missing"),
        (lambda package: link_elsewhere(package / "records.jsonl"), "records.jsonl: This is a symbolic link"),
        (lambda package: link_elsewhere(package / "manifest.json"), "manifest.json is a symbolic link"),
        (lambda package: os.link(package / "VERIFY.md", package.parent / "twin"), "VERIFY.md: The file has 2 names"),
        (lambda package: change_a_byte(package / "records.jsonl"), "records.jsonl: "),
    ],
    ids=["file", "folder", "FIFO", "terminal", "signature", "no signature", "link", "manifest", "hard link", "records"],
)
def test_what_the_verifier_refuses_is_not_unchanged(
    made, sample, exporter, signed, damage: Callable[[Path], object], says
):
    """The run fails with what the verifier finds, and the package is left alone."""
    damage(signed)
    before = names(exporter.output)
    assert verify_package(signed).status not in (Status.VERIFIED, Status.CONSISTENT) or "given key" in says
    outcome = exporter.outcome(sample, COMPLETED_RUN, LANDSCAPE_SIGNING_PRIVATE_KEY_FILE=made[1])
    assert outcome["status"] == "failed"
    assert str(signed) in outcome["error"]
    assert says in outcome["error"]
    assert "supersede" in outcome["error"]
    assert len(outcome["error"]) < 1000
    assert names(exporter.output) == before


def test_a_whole_package_with_both_signatures_is_unchanged(made, sample, exporter, signed):
    """The same command finds nothing wrong with what it was not done to."""
    outcome = exporter.outcome(sample, COMPLETED_RUN, LANDSCAPE_SIGNING_PRIVATE_KEY_FILE=made[1])
    assert outcome["status"] == "unchanged"


def with_manifest(**values: object) -> Callable[[Path], None]:
    """Puts other values into the manifest; None takes a key out."""

    def damage(package: Path) -> None:
        path = package / "manifest.json"
        manifest = json.loads(path.read_bytes()) | values
        kept = {
            name: value for name, value in manifest.items() if value is not None or name in ("signing", "public_key")
        }
        path.write_text(json.dumps(kept, sort_keys=True, separators=(",", ":")))

    return damage


def without_sha256(package: Path) -> None:
    files = json.loads((package / "manifest.json").read_bytes())["files"]
    del files[0]["sha256"]
    with_manifest(files=files)(package)


without_exporter = with_manifest(exporter=7)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (with_manifest(files=[{}]), "files[0] is not an object with a path"),
        (with_manifest(files="x"), 'files is "x"; it must be an array'),
        (without_sha256, "files[0] is not an object with exactly the keys"),
        (with_manifest(exported_at=5), "exported_at is 5; it must be text"),
        (with_manifest(exported_at="x"), 'exported_at is "x"; it must be a UTC time'),
        (with_manifest(exported_at=None), "it has no exported_at"),
        (without_exporter, "exporter is 7; it must be an object"),
        (lambda package: (package / "manifest.json").write_text("[]"), "manifest.json cannot be read"),
        (lambda package: (package / "manifest.json").write_text("[" * 100_000), "manifest.json cannot be read"),
        (lambda package: (package / "manifest.json").write_bytes(b" " * 5_000_000), "no manifest has"),
    ],
    ids=["entry", "files", "sha256", "number", "no time", "missing", "exporter", "array", "deep", "large"],
)
def test_a_manifest_of_another_form_is_said_once_and_can_be_superseded(sample, exporter, unsigned, damage, says):
    """What is wrong with it is said, and not tried again; superseded, it is kept aside as it is."""
    damage(unsigned)
    damaged = content(unsigned)
    outcome = exporter.outcome(sample, COMPLETED_RUN, "--no-sign", *JSONL)
    assert outcome["status"] == "failed"
    assert says in outcome["error"]
    assert "max_retries" not in outcome["error"]
    assert content(unsigned) == damaged
    before = datetime.now(UTC)
    assert exporter.outcome(sample, COMPLETED_RUN, "--no-sign", *JSONL, "--supersede")["status"] == "exported"
    (aside,) = (exporter.output / ".superseded").glob(f"*/{COMPLETED_RUN}")
    assert content(aside) == damaged
    # It is kept under the time of its export where the manifest can be read, and else under that of its replacement.
    time = datetime.strptime(aside.parent.name, "%Y-%m-%dT%H-%M-%S.%fZ").replace(tzinfo=UTC)
    if damage in (without_sha256, without_exporter):
        assert time.isoformat() == json.loads((aside / "manifest.json").read_bytes())["exported_at"]
    else:
        assert before <= time <= datetime.now(UTC)
    assert verify_package(unsigned).status is Status.CONSISTENT
    assert exporter.outcome(sample, COMPLETED_RUN, "--no-sign", *JSONL)["status"] == "unchanged"


def empty_folder(place: Path) -> None:
    place.mkdir(parents=True)


def fifo_for_manifest(place: Path) -> None:
    place.mkdir(parents=True)
    os.mkfifo(place / "manifest.json")


def link_to_nowhere(place: Path) -> None:
    place.parent.mkdir()
    place.symlink_to("nowhere")


@pytest.mark.parametrize("make", [empty_folder, fifo_for_manifest, link_to_nowhere])
def test_no_package_in_its_place_is_said_to_be_none(sample, exporter, make):
    """It does not «differ»; superseded, it is put aside."""
    place = exporter.output / COMPLETED_RUN
    make(place)
    before = names(exporter.output)
    outcome = exporter.outcome(sample, COMPLETED_RUN, *JSONL)
    assert outcome["status"] == "failed"
    assert "not a complete package" in outcome["error"]
    assert "differs" not in outcome["error"]
    assert names(exporter.output) == before
    assert exporter.outcome(sample, COMPLETED_RUN, *JSONL, "--supersede")["status"] == "exported"
    assert verify_package(place).status is Status.CONSISTENT
