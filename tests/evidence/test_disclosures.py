"""Disclosures: what is in them, what verifies, and that nothing else does.

Belongs here: `landscape-assets disclose`, and `verify` of what it writes. Does not belong here: trees by themselves
(`tests/merkle/`).
"""

import base64
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from support.bits import flip_bits
from support.exporter import KEY, Exporter
from support.sample_v1 import COMPLETED_RUN

from landscape_assets.evidence.disclose import Choice, disclose
from landscape_assets.verify import Status
from landscape_assets.verify.disclosure import verify_disclosure

from .conftest import Signer, packages, records_of

VERIFIER = Path(__file__).parents[2] / "landscape_assets" / "verify"


@pytest.fixture(scope="module")
def package(exports: Path) -> Path:
    return packages(exports)[COMPLETED_RUN]


@pytest.fixture(scope="module")
def token(package: Path) -> str:
    """A token of which more is told than of most."""
    named = Counter(record["token_id"] for record in records_of(package) if "token_id" in record)
    return named.most_common(1)[0][0]


@pytest.fixture
def disclosed(package: Path, token: str, tmp_path: Path) -> Path:
    """A disclosure of all that happened to a token."""
    return written(disclose(package, Choice(tokens=(token,))).data, tmp_path)


def written(data: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "disclosure.json"
    path.write_bytes(data)
    return path


def verify(path: Path, *arguments: object) -> tuple[int, dict[str, Any]]:
    """What the verifier's command, by itself, says."""
    command = [sys.executable, "-I", VERIFIER, path, "--json", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert not ended.stderr, ended.stderr
    return ended.returncode, json.loads(ended.stdout)["packages"][0]


def test_a_disclosure_verifies_and_holds_nothing_else(package: Path, disclosed: Path, token: str, signer: Signer):
    """The records are the package's own lines; beside them, the manifest and its signature, there is nothing."""
    status, report = verify(disclosed, "--public-key", signer.public)
    assert (status, report["verdict"], report["findings"]) == (0, "verified", [])
    document = json.loads(disclosed.read_bytes())
    assert set(document) == {"format", "format_version", "manifest", "manifest_signature", "records"}
    assert document["manifest"].encode() == (package / "manifest.json").read_bytes()
    assert base64.b64decode(document["manifest_signature"]) == (package / "manifest.json.sig").read_bytes()
    lines = (package / "records.jsonl").read_text().split("\n")
    assert [one["line"] for one in document["records"]] == [lines[one["index"]] for one in document["records"]]
    assert report["record_count"] == len(document["records"]) < len(lines) / 2
    with_hmac, _ = verify(disclosed, "--public-key", signer.public, "--run-id", COMPLETED_RUN)
    assert with_hmac == 0


def test_everything_that_happened_to_a_token(package: Path, token: str):
    """Its row, its states, what they routed, called and wrote, its outcomes, its batches; nothing of another token."""
    made = disclose(package, Choice(tokens=(token,)))
    every = records_of(package)
    states = {record["state_id"] for record in every if record["record_type"] == "node_state"} & {
        record["state_id"] for record in every if record.get("token_id") == token and "state_id" in record
    }
    row = next(r["row_id"] for r in every if r["record_type"] == "token" and r["token_id"] == token)
    batches = {r["batch_id"] for r in every if r.get("token_id") == token and r.get("batch_id")}
    expected = {
        at: record
        for at, record in enumerate(every)
        if token in (record.get("token_id"), record.get("parent_token_id"))
        or record.get("state_id") in states
        or record.get("produced_by_state_id") in states
        or (record["record_type"] == "row" and record["row_id"] == row)
        or (record["record_type"] == "batch" and record["batch_id"] in batches)
    }
    assert made.records == expected
    assert len({record["record_type"] for record in expected.values()}) >= 4


def test_everything_that_happened_to_a_row(package: Path):
    """All its tokens, as if each had been asked for."""
    every = records_of(package)
    tokens = Counter(record["row_id"] for record in every if record["record_type"] == "token")
    row, count = tokens.most_common(1)[0]
    assert count > 1
    mine = tuple(r["token_id"] for r in every if r["record_type"] == "token" and r["row_id"] == row)
    assert disclose(package, Choice(rows=(row,))).records == disclose(package, Choice(tokens=mine)).records


def test_single_records(package: Path, tmp_path: Path, signer: Signer):
    """One of each type, by its id; the first and the last of all."""
    ids: dict[str, str] = {}
    for record in records_of(package):
        kind = record["record_type"]
        own = {
            "run": "run_id",
            "secret_resolution": "resolution_id",
            "node_state": "state_id",
            "token_outcome": "outcome_id",
        }
        own |= {"routing_event": "event_id"}
        names = {"token_parent": "token_id,parent_token_id", "batch_member": "batch_id,token_id"}
        fields = names.get(kind, own.get(kind, f"{kind}_id")).split(",")
        ids.setdefault(kind, ",".join(record[name] for name in fields))
    for kind, own_id in ids.items():
        made = disclose(package, Choice(records=((kind, own_id),)))
        assert [record["record_type"] for record in made.records.values()] == [kind]
        path = written(made.data, tmp_path)
        assert verify_disclosure(path, public_key=signer.public_key).status is Status.VERIFIED
    assert len(ids) >= 12


def test_the_command_and_its_text_for_people(exporter: Exporter, package: Path, token: str, signer: Signer):
    """The command writes both files; `verify` takes the one; the other says what is proved and what is not."""
    file, text = exporter.folder / "for the court.json", exporter.folder / "for the court.md"
    result = exporter.run("disclose", package, "-o", file, "--token", token, "--markdown", text)
    assert result.exit_code == 0, result.output
    assert "of 202 records" in result.output
    assert exporter.run("verify", file, "--public-key", signer.public).exit_code == 0
    said = text.read_text()
    assert "That these are **all** records on the matter: who made this file chose them." in said
    assert token in said
    assert COMPLETED_RUN in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--token", "nothing"], "has no token 'nothing'"),
        (["--row", "nothing"], "has no row 'nothing'"),
        (["--record", "node:nothing"], "has no node 'nothing'"),
        (["--record", "nothing:x"], "is not TYPE:ID"),
        (["--record", "node"], "is not TYPE:ID"),
        ([], "Say which records"),
    ],
)
def test_what_is_not_there_is_said(exporter: Exporter, package: Path, arguments: list[str], said: str):
    """Nothing is written then."""
    file = exporter.folder / "disclosure.json"
    result = exporter.run("disclose", package, "-o", file, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not file.exists()


def edit_manifest(package: Path, **changes: object) -> None:
    path = package / "manifest.json"
    manifest = json.loads(path.read_bytes()) | changes
    path.write_bytes(rfc8785.dumps({name: value for name, value in manifest.items() if value is not ...}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda package: (package / "manifest.json.sig").unlink(), "shows nothing to a third party"),
        (lambda package: (package / "records.jsonl").unlink(), "from which records are disclosed"),
        (lambda package: edit_manifest(package, merkle=..., format_version=1), "is of format version 1"),
        (
            lambda package: (package / "records.jsonl").write_bytes(
                (package / "records.jsonl").read_bytes().replace(b"row", b"rov", 1)
            ),
            "does not hold the records of which the manifest speaks",
        ),
        (lambda package: (package / "manifest.json").unlink(), "not a complete package"),
    ],
)
def test_a_package_that_cannot_be_disclosed_from(
    exporter: Exporter, folder: Path, token: str, damage: Callable[[Path], object], said: str
):
    """The reason is said, and nothing is written."""
    package, file = packages(folder)[COMPLETED_RUN], exporter.folder / "disclosure.json"
    damage(package)
    result = exporter.run("disclose", package, "-o", file, "--token", token)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not file.exists()


def test_an_unsigned_package_is_not_disclosed_from(exporter: Exporter, sample: Path, signer: Signer, token: str):
    """Its leaves could be guessed, and a proof would confirm the guesses."""
    arguments = ("--no-sign", f"--run-id={COMPLETED_RUN}")
    assert exporter.export(sample, *arguments, **signer.settings).exit_code == 0
    result = exporter.run("disclose", exporter.output / COMPLETED_RUN, "-o", "file", "--token", token)
    assert result.exit_code == 2
    assert "by guessing them and comparing hashes" in result.stderr


def test_keys(disclosed: Path, signer: Signer, other_signer: Signer):
    """No key is 10, another key 40; with the secret every record's own signature is checked, too."""
    assert verify_disclosure(disclosed).status is Status.CONSISTENT
    assert verify_disclosure(disclosed, key=KEY.encode()).status is Status.VERIFIED
    assert verify_disclosure(disclosed, key=KEY.encode(), public_key=signer.public_key).status is Status.VERIFIED
    other = verify_disclosure(disclosed, public_key=other_signer.public_key)
    assert (other.status, {one.code for one in other.findings}) == (Status.INVALID, {"E134"})
    wrong = verify_disclosure(disclosed, key=b"another key")
    assert (wrong.status, {one.code for one in wrong.findings}) == (Status.INVALID, {"E132", "E322"})
    run = verify_disclosure(disclosed, public_key=signer.public_key, run_id="another run")
    assert (run.status, {one.code for one in run.findings}) == (Status.INVALID, {"E121"})


@pytest.mark.timeout(900)
def test_every_bit(exporter: Exporter, sample: Path, token: str, tmp_path: Path, signer: Signer):
    """No bit of a disclosure can be flipped so that it still verifies."""
    outcome = exporter.outcome(sample, COMPLETED_RUN, "--format=jsonl", **signer.settings)
    package = Path(outcome["package"])  # a small manifest: most of the bits are its
    own = next(r for r in records_of(package) if r["record_type"] == "token" and r["token_id"] == token)
    data = disclose(package, Choice(records=(("token", own["token_id"]),))).data
    path, count = tmp_path / "flipped.json", 0
    path.write_bytes(data)
    for bit in flip_bits(path):
        report = verify_disclosure(path, public_key=signer.public_key)
        assert report.status is Status.INVALID, (bit, report.to_text())
        assert all(finding.message.endswith((".", "…")) for finding in report.findings)
        count += 1
    assert count == 8 * len(data) > 10_000
    print(f"{count} bits flipped, each refused")


def test_every_cut(disclosed: Path, tmp_path: Path, signer: Signer):
    """A disclosure that ends early, or late, is none."""
    data, path = disclosed.read_bytes(), tmp_path / "cut.json"
    for end in {*range(0, len(data), 97), len(data) - 1}:
        path.write_bytes(data[:end])
        assert verify_disclosure(path, public_key=signer.public_key).status is Status.INVALID
    for more in (b" ", b"\n", b"\0", b"{}", data):
        path.write_bytes(data + more)
        assert verify_disclosure(path, public_key=signer.public_key).status is Status.INVALID


Edit = Callable[[dict[str, Any], dict[str, Any]], object]


def _records(document: dict[str, Any]) -> list[dict[str, Any]]:
    return document["records"]


ATTACKS: dict[str, tuple[Edit, set[str]]] = {
    "no records": (lambda mine, other: mine.update(records=[]), {"E503"}),
    "records in another order": (lambda mine, other: _records(mine).reverse(), {"E503"}),
    "a record twice": (lambda mine, other: _records(mine).insert(0, _records(mine)[0]), {"E503"}),
    "proof of another index": (
        lambda mine, other: _records(mine)[0].update(index=_records(mine)[0]["index"] - 1),
        {"E504"},
    ),
    "index beyond the tree": (lambda mine, other: _records(mine)[-1].update(index=202), {"E504"}),
    "proof of another record": (
        lambda mine, other: _records(mine)[0].update(proof=_records(mine)[1]["proof"]),
        {"E504"},
    ),
    "no proof": (lambda mine, other: _records(mine)[0].update(proof=[]), {"E504"}),
    "a hash too many at the end": (lambda mine, other: _records(mine)[0]["proof"].append("00" * 32), {"E504"}),
    "a hash too many at the start": (lambda mine, other: _records(mine)[0]["proof"].insert(0, "00" * 32), {"E504"}),
    "a hash too few": (lambda mine, other: _records(mine)[0]["proof"].pop(), {"E504"}),
    "the record of another tree": (
        lambda mine, other: mine.update(records=_records(other)),
        {"E318", "E504"},
    ),
    "the manifest of another run": (
        lambda mine, other: mine.update(manifest=other["manifest"]),
        {"E135", "E318", "E504"},
    ),
    "manifest and signature of another run": (
        lambda mine, other: mine.update(manifest=other["manifest"], manifest_signature=other["manifest_signature"]),
        {"E318", "E504"},
    ),
    "the signature of another manifest": (
        lambda mine, other: mine.update(manifest_signature=other["manifest_signature"]),
        {"E135"},
    ),
    "no signature": (lambda mine, other: mine.update(manifest_signature=""), {"E136"}),
    "a line of two records": (
        lambda mine, other: _records(mine)[0].update(line="\n".join(one["line"] for one in _records(mine)[:2])),
        {"E305", "E504"},
    ),
    "a key more": (lambda mine, other: mine.update(note="hello"), {"E501"}),
    "a key of a record more": (lambda mine, other: _records(mine)[0].update(note="hello"), {"E501"}),
    "a key less": (lambda mine, other: mine.pop("manifest_signature"), {"E501"}),
    "another format": (lambda mine, other: mine.update(format="landscape-export"), {"E501"}),
    "another version": (lambda mine, other: mine.update(format_version=2), {"E501"}),
    "version true": (lambda mine, other: mine.update(format_version=True), {"E501"}),
    "hashes in capitals": (
        lambda mine, other: _records(mine)[0].update(proof=[one.upper() for one in _records(mine)[0]["proof"]]),
        {"E501"},
    ),
    "an array": (lambda mine, other: _records(mine)[0].update(index=[]), {"E501"}),
    "a fraction": (lambda mine, other: _records(mine)[0].update(index=0.5), {"E501"}),
    "a negative index": (lambda mine, other: _records(mine)[0].update(index=-1), {"E501"}),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks(name: str, exports: Path, package: Path, token: str, tmp_path: Path, signer: Signer):
    """Parts of one disclosure in another, and every other deceit, are found for what they are."""
    edit, expected = ATTACKS[name]
    theirs = next(path for run_id, path in packages(exports).items() if run_id != COMPLETED_RUN)
    other_token = next(r["token_id"] for r in records_of(theirs) if r["record_type"] == "token")
    mine = json.loads(disclose(package, Choice(tokens=(token,))).data)
    other = json.loads(disclose(theirs, Choice(tokens=(other_token,))).data)
    edit(mine, other)
    report = verify_disclosure(written(rfc8785.dumps(mine), tmp_path), public_key=signer.public_key)
    assert report.status is Status.INVALID
    assert {finding.code for finding in report.findings} == expected, report.to_text()


def test_a_node_is_not_taken_for_a_leaf(package: Path, tmp_path: Path, signer: Signer):
    """The 64 bytes under an inner node are no record, and could not be a line; as hex they hash to something else."""
    first = json.loads(disclose(package, Choice(records=(("run", COMPLETED_RUN),))).data)
    record = first["records"][0]
    record["line"] = bytes.fromhex(record["proof"][0]).decode("latin-1")
    record["proof"] = record["proof"][1:]
    report = verify_disclosure(written(rfc8785.dumps(first), tmp_path), public_key=signer.public_key)
    assert report.status is Status.INVALID
    assert "E504" in {finding.code for finding in report.findings}


@pytest.mark.parametrize("name", ["missing.json", "folder"])
def test_what_is_no_file(name: str, tmp_path: Path):
    """Something is said, and never a traceback."""
    (tmp_path / "folder").mkdir()
    status, report = verify(tmp_path / name)
    assert status in (2, 20)
    assert report["findings"]


def test_the_reader_of_a_fifo_is_not_kept_waiting(tmp_path: Path):
    """What took a file's place is named."""
    os.mkfifo(tmp_path / "fifo")
    status, _ = verify(tmp_path / "fifo")
    assert status == 2
