"""Whatever is touched in a signed package, the verdict is never 0 or 10.

Belongs here: a fixed, spread-out part of what `python -m tests.verify.exhaustive` does in full.
"""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import pytest
import rfc8785

from landscape_assets.verify import verify_package

from . import build, tampering
from .build import KEY, OTHER_KEY
from .make_corpus import PRIVATE_KEY
from .small import small_run
from .tampering import Restored

PEM = (Path(__file__).parent / "corpus" / "public.pem").read_bytes()


def assert_bad(package: Path, what: str, *, key: bytes | None = KEY) -> None:
    report = verify_package(package, key=key)
    assert report.status not in (0, 10), what
    assert report.findings, what


@pytest.fixture
def copy(tmp_path: Path) -> Restored:
    return Restored(build.build(tmp_path / "copy", small_run(), private_key=PRIVATE_KEY))


def test_the_base_is_sound(copy: Restored):
    assert verify_package(copy.package, key=KEY, public_key=PEM).status == 0
    assert verify_package(copy.package, public_key=PEM).status == 0
    assert verify_package(copy.package).status == 10


@pytest.mark.parametrize("keyed", [True, False])
def test_bit_flips(copy: Restored, keyed: bool):
    """Without a key only what the hashes cover: manifest.json itself is proven by nothing then."""
    done = 0
    for name, content in copy.sound.items():
        if name.startswith("manifest.json") and not keyed:
            continue
        for bit in range(done % 7, len(content) * 8, 523):
            with copy.with_content(name, tampering.flipped(content, bit)) as package:
                options = {"key": KEY, "public_key": PEM} if keyed else {}
                report = verify_package(package, **options)
                assert report.status == 40, (name, bit, report.to_text())
            done += 1
    assert done > 300


def test_what_one_key_notices_both_notice(copy: Restored):
    """A further key only adds findings. With the HMAC key alone, other bytes in manifest.json.sig are not noticed; the
    report says that they were not checked."""
    missed = 0
    for name, content in copy.sound.items():
        for bit in range(0, len(content) * 8, 64 if name == "manifest.json.sig" else 2003):
            with copy.with_content(name, tampering.flipped(content, bit)) as package:
                alone, both = (verify_package(package, key=KEY, public_key=pem) for pem in (None, PEM))
            assert set(map(str, alone.findings)) <= set(map(str, both.findings)), (name, bit)
            assert both.status == 40
            if alone.status != 40:
                missed += 1
                assert (name, alone.status) == ("manifest.json.sig", 0)
                assert "manifest.json.sig is there, but it was NOT CHECKED" in alone.to_text()
    assert missed == 8


def test_truncations(copy: Restored):
    for name, content in copy.sound.items():
        for length in {*range(0, len(content), 211), len(content) - 1}:
            with copy.with_content(name, content[:length]) as package:
                report = verify_package(package, key=KEY)
                assert report.status == 40, (name, length)


def test_files(package: Path, tmp_path: Path):
    for number, (what, tamper) in enumerate(tampering.file_tamperings(package)):
        touched = tmp_path / str(number) / package.name
        shutil.copytree(package, touched)
        moved = tamper(touched)
        if isinstance(moved, Path) and moved.parent == touched.parent:
            touched = moved
        assert_bad(touched, what)
        assert_bad(touched, what, key=None)
        shutil.rmtree(tmp_path / str(number))


def test_a_package_sealed_anew_is_sound(copy: Restored, tmp_path: Path):
    """What is wrong with the packages of the next test is only what was done to their records."""
    package = build.write(tmp_path / "run-small", tampering.resealed(copy.sound, KEY))
    assert verify_package(package, key=KEY).findings == []


@pytest.mark.parametrize("sealed_with", [None, KEY])
def test_records(copy: Restored, tmp_path: Path, sealed_with: bytes | None):
    """Lines moved about. Sealed anew with the very key, the chain, the counts and the final record still tell."""
    other = build.build(tmp_path / "other", small_run("run-other"))
    foreign = (other / "records.jsonl").read_bytes().splitlines()
    lines = copy.sound["records.jsonl"].splitlines()
    for what, edited in tampering.line_edits(lines, foreign):
        content = b"".join(line + b"\n" for line in edited)
        if sealed_with is None:
            with copy.with_content("records.jsonl", content) as package:
                assert_bad(package, what)
        else:
            files = tampering.resealed({**copy.sound, "records.jsonl": content}, sealed_with)
            package = build.write(tmp_path / "sealed" / "run-small", files)
            assert_bad(package, what)
            shutil.rmtree(package)


def test_a_record_signed_anew_by_another_key(copy: Restored):
    lines = copy.sound["records.jsonl"].splitlines()
    for index, line in enumerate(lines):
        signed = rfc8785.dumps(build.sign(build.read(line), OTHER_KEY))
        content = b"".join(one + b"\n" for one in [*lines[:index], signed, *lines[index + 1 :]])
        with copy.with_content("records.jsonl", content) as package:
            assert_bad(package, f"line {index + 1}")


def test_signatures_stripped(copy: Restored, tmp_path: Path):
    bare = b"".join(tampering.without_signature(line) + b"\n" for line in copy.sound["records.jsonl"].splitlines())
    with copy.with_content("records.jsonl", bare) as package:
        assert_bad(package, "records")
    with copy.with_content("manifest.json", tampering.without_signature(copy.sound["manifest.json"])) as package:
        assert_bad(package, "manifest")
    unsigned = build.build(tmp_path / "unsigned", small_run(), None)
    assert verify_package(unsigned, key=KEY).status == 40, "a whole export without signatures"


@pytest.mark.parametrize("sealed_with", [None, OTHER_KEY, b""])
def test_manifest_fields(copy: Restored, sealed_with: bytes | None):
    """Each value changed, in canonical form: with the old signature, with another key's, and with the signature
    stripped."""
    manifest = json.loads(copy.sound["manifest.json"])
    if sealed_with is not None:
        del manifest["signature"]
    edits = tampering.manifest_edits(manifest)
    for what, edited in itertools.islice(edits, None, None, 4):
        content = rfc8785.dumps(build.sign(edited, sealed_with) if sealed_with else edited)
        with copy.with_content("manifest.json", content) as package:
            assert_bad(package, what)


def test_what_can_be_told_without_a_key(copy: Restored):
    """Changes of the manifest that contradict something else are found without any key."""
    manifest = json.loads(copy.sound["manifest.json"])
    undetectable = {"exporter.version", "signing.key_id", "public_key.key_id", "signature"}
    for what, edited in itertools.islice(tampering.manifest_edits(manifest), None, None, 2):
        name = what.split()[1]
        with copy.with_content("manifest.json", rfc8785.dumps(edited)) as package:
            if verify_package(package).status == 10:
                assert name in undetectable, what


def test_the_manifest_of_an_older_export(copy: Restored, tmp_path: Path):
    older = build.build(tmp_path / "older", small_run()[:-1])
    with copy.with_content("manifest.json", (older / "manifest.json").read_bytes()) as package:
        assert_bad(package, "older manifest")


def test_another_key(copy: Restored):
    for key in (OTHER_KEY, KEY + b"\n", KEY[:-1], KEY.upper(), KEY + b"\0"):
        report = verify_package(copy.package, key=key)
        # A zero byte at the end is the same HMAC key (RFC 2104, 2: short keys are padded with zeros).
        assert report.status == (0 if key == KEY + b"\0" else 40)


def test_a_whole_package_of_another_run(tmp_path: Path):
    other = build.build(tmp_path, small_run("run-other"))
    assert verify_package(other, key=KEY, run_id="run-small").status == 40
    renamed = other.rename(tmp_path / "run-small")
    assert verify_package(renamed, key=KEY).status == 40
