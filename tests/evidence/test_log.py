"""The export log: what exports append, what verifies, and what others make of it.

Belongs here: the log of a folder as it is meant to be, made by the command line. Does not belong here: attacks
(`test_log_attacks.py`).
"""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.exporter import KEY, Exporter
from support.sample_v1 import COMPLETED_RUN
from tlog_scales import signing
from tlog_scales.tlog import Checkpoint as TheirCheckpoint

from landscape_assets.evidence import export_log, note
from landscape_assets.records.sign import ManifestKey
from landscape_assets.verify import Status
from landscape_assets.verify.log import verify_log, verify_proof
from landscape_assets.verify.note import read_checkpoint, require_signature
from landscape_assets.verify.signatures import PublicKey

from .conftest import ORIGIN, Signer, packages

VERIFIER = Path(__file__).parents[2] / "landscape_assets" / "verify"


def entries(folder: Path) -> list[dict]:
    """What the log says, read as the specification has it."""
    size = int((folder / ".log" / "checkpoint").read_text().split("\n")[1])
    assert size < 256
    data = (folder / ".log" / "tile" / "entries" / "000.p" / str(size)).read_bytes()
    found = []
    while data:
        length = int.from_bytes(data[:2], "big")
        found.append(data[2 : 2 + length])
        data = data[2 + length :]
    assert [rfc8785.dumps(json.loads(entry)) for entry in found] == found
    return [json.loads(entry) for entry in found]


def sync(exporter: Exporter, folder: Path, signer: Signer, **environment: str | None):
    return exporter.run("log", "sync", "--output", folder, **(signer.settings | environment))


def test_every_export_is_logged(exports: Path, signer: Signer):
    """One entry for each package; with an earlier checkpoint the folder verifies, without one nothing is shown."""
    found = {entry["run_id"]: entry for entry in entries(exports)}
    for run_id, package in packages(exports).items():
        manifest = json.loads((package / "manifest.json").read_bytes())
        expected = {name: manifest[name] for name in ("run_id", "final_hash", "record_count", "exported_at")}
        assert {name: found[run_id][name] for name in expected} == expected
        assert found[run_id]["kind"] == "publication"
    assert len(found) == len(entries(exports)) == len(packages(exports))
    checkpoint = (exports / ".log" / "checkpoint").read_bytes()
    report = verify_log(exports, public_key=signer.public_key, checkpoint=checkpoint)
    assert report.status is Status.VERIFIED, report.to_text()
    without = verify_log(exports, public_key=signer.public_key)
    assert without.status is Status.CONSISTENT
    assert any("the newest packages may have been cut off" in notice for notice in without.notices)
    assert verify_log(exports, checkpoint=checkpoint).status is Status.CONSISTENT


def test_the_verifier_by_itself(exports: Path, signer: Signer, tmp_path: Path):
    """As an auditor runs it: as a folder of its own, in isolation, with exit statuses."""
    kept = shutil.copy(exports / ".log" / "checkpoint", tmp_path / "kept")
    command = [sys.executable, "-I", VERIFIER, "--log", exports, "--public-key", signer.public]
    for more, status, said in (
        (["--checkpoint", kept, "--origin", ORIGIN], 0, "VERIFIED"),
        ([], 10, "CONSISTENT, but not shown to be whole"),
        (["--origin", "another"], 40, "INVALID"),
    ):
        ended = subprocess.run([*command, *more], capture_output=True, text=True, timeout=300, check=False)
        assert (ended.returncode, ended.stderr) == (status, "")
        assert ended.stdout.split("\n")[0].partition(": ")[2].startswith(said)


@pytest.mark.parametrize("arguments", [[], ["--checkpoint", "x", "package"], ["--log", "folder", "package"]])
def test_wrong_usage(exporter: Exporter, arguments: list[str]):
    assert exporter.run("verify", *arguments).exit_code == 2


def test_a_supersession_is_logged(exporter: Exporter, sample: Path, signer: Signer):
    """The entry says what was replaced; both packages are accounted for."""
    first = exporter.outcome(sample, COMPLETED_RUN, **signer.settings)
    second = exporter.outcome(sample, COMPLETED_RUN, "--supersede", "--format", "jsonl", **signer.settings)
    again = exporter.outcome(sample, COMPLETED_RUN, "--format", "jsonl", **signer.settings)
    assert [one["log_index"] for one in (first, second, again)] == [0, 1, 1]
    publication, supersession = entries(exporter.output)
    assert (publication["kind"], supersession["kind"]) == ("publication", "supersession")
    assert supersession["replaced"] == publication["manifest_sha256"]
    checkpoint = (exporter.output / ".log" / "checkpoints" / "1").read_bytes()
    report = verify_log(exporter.output, public_key=signer.public_key, checkpoint=checkpoint)
    assert report.status is Status.VERIFIED, report.to_text()
    assert report.facts["packages"] == 2


def test_packages_of_before_are_taken_up(exporter: Exporter, sample: Path, signer: Signer):
    """They were exported without a public key; the log says that it found them, and vouches for their manifests."""
    assert exporter.export(sample, f"--run-id={COMPLETED_RUN}").exit_code == 0
    assert not (exporter.output / ".log").exists()
    assert sync(exporter, exporter.output, signer).exit_code == 0
    (entry,) = entries(exporter.output)
    assert (entry["kind"], entry["run_id"]) == ("existing", COMPLETED_RUN)
    checkpoint = (exporter.output / ".log" / "checkpoint").read_bytes()
    report = verify_log(exporter.output, public_key=signer.public_key, checkpoint=checkpoint, key=KEY.encode())
    assert report.status is Status.VERIFIED, report.to_text()
    assert any("shown by the log alone" in notice for notice in report.notices)


def test_what_an_export_left_out_is_appended_once(folder: Path, exporter: Exporter, sample: Path, signer: Signer):
    """By the next export, or by `log sync`: as if the append had not been missing."""
    shutil.rmtree(folder / ".log")
    exporter.output = folder
    assert exporter.export(sample, f"--run-id={COMPLETED_RUN}", **signer.settings).exit_code == 0
    assert len(entries(folder)) == len(packages(folder))
    before = (folder / ".log" / "checkpoint").read_bytes()
    result = sync(exporter, folder, signer)
    assert (result.exit_code, result.output.split(" ")[0]) == (0, "0")
    assert (folder / ".log" / "checkpoint").read_bytes() == before


def test_a_package_that_was_deleted_and_exported_again(folder: Path, exporter: Exporter, sample: Path, signer: Signer):
    """Both are in the log; the first is missing, and is named."""
    checkpoint = (folder / ".log" / "checkpoint").read_bytes()
    shutil.rmtree(folder / COMPLETED_RUN)
    exporter.output = folder
    assert exporter.export(sample, f"--run-id={COMPLETED_RUN}", **signer.settings).exit_code == 0
    assert [entry["run_id"] for entry in entries(folder)].count(COMPLETED_RUN) == 2
    report = verify_log(folder, public_key=signer.public_key, checkpoint=checkpoint)
    assert report.status is Status.DIVERGED
    (finding,) = report.findings
    assert finding.code == "E609"
    assert COMPLETED_RUN in finding.message


def test_a_log_that_cannot_be_written_never_stops_an_export(
    folder: Path, exporter: Exporter, sample: Path, signer, other_signer
):
    """The package is published, and a sentence says that it is not logged."""
    shutil.rmtree(folder / COMPLETED_RUN)
    exporter.output = folder
    result = exporter.export(sample, f"--run-id={COMPLETED_RUN}", **other_signer.settings)
    assert result.exit_code == 0
    assert "The log lacks what is published" in result.stderr
    assert "not signed with the present private key" in result.stderr
    assert (folder / COMPLETED_RUN / "manifest.json").is_file()
    assert sync(exporter, folder, other_signer).exit_code == 2
    assert sync(exporter, folder, signer).exit_code == 0
    assert sync(exporter, folder, signer, LANDSCAPE_LOG_ORIGIN="another.example").exit_code == 2
    assert sync(exporter, folder, signer, LANDSCAPE_LOG_ORIGIN="two words").exit_code == 2
    assert sync(exporter, folder, signer, LANDSCAPE_SIGNING_PRIVATE_KEY_FILE=None).exit_code == 2


def test_a_proof_that_a_package_was_logged(folder: Path, exporter: Exporter, signer: Signer, other_signer: Signer):
    """It verifies by itself; with another key, of another run or origin it does not."""
    file = exporter.folder / "package.tlog-proof"
    assert exporter.run("log", "prove", folder / COMPLETED_RUN, "-o", file).exit_code == 0
    assert exporter.run("verify", file, "--public-key", signer.public, "--run-id", COMPLETED_RUN).exit_code == 0
    report = verify_proof(file, public_key=signer.public_key)
    assert report.facts["manifest_sha256"] in report.notices[-1]
    assert verify_proof(file).status is Status.CONSISTENT
    for more, code in (
        ({"public_key": other_signer.public_key}, "E603"),
        ({"public_key": signer.public_key, "run_id": "another"}, "E121"),
        ({"public_key": signer.public_key, "origin": "another"}, "E604"),
    ):
        report = verify_proof(file, **more)
        assert (report.status, [one.code for one in report.findings]) == (Status.INVALID, [code])
    assert exporter.run("log", "prove", folder).exit_code == 2


def test_cosignatures_of_witnesses(folder: Path, exporter: Exporter, signer: Signer):
    """One that another implementation made is kept, and verified with its key; a wrong one is refused."""
    witness = Ed25519PrivateKey.generate()
    public = witness.public_key().public_bytes_raw()
    note_bytes = (folder / ".log" / "checkpoint").read_bytes()
    text = read_checkpoint(note_bytes).text
    time = 1_800_000_000
    data = time.to_bytes(8, "big") + witness.sign(f"cosignature/v1\ntime {time}\n".encode() + text)
    vkey = signing.Vkey("witness.example/w1", None, 4, public)
    line = signing.NoteSignature.from_vkey_signature(vkey, data).serialize()
    file = exporter.folder / "cosigned"
    file.write_bytes(note_bytes + line.encode() + b"\n")
    assert exporter.run("log", "cosign", file, "--output", folder).exit_code == 0
    assert exporter.run("log", "cosign", file, "--output", folder).output == "0 added\n"
    encoded = base64.b64encode(bytes([4]) + public).decode()
    key = f"{vkey.name}+{vkey.key_id:08x}+{encoded}"
    report = verify_log(folder, public_key=signer.public_key, checkpoint=note_bytes, witnesses=[key])
    assert report.status is Status.VERIFIED, report.to_text()
    assert any(c.outcome == "passed" and "witness.example/w1 on the checkpoint" in c.name for c in report.checks)
    unknown = verify_log(folder, public_key=signer.public_key, checkpoint=note_bytes)
    assert any("NOT CHECKED" in notice for notice in unknown.notices)
    wrong = bytearray(data)
    wrong[-1] ^= 1
    file.write_text(signing.NoteSignature.from_vkey_signature(vkey, bytes(wrong)).serialize() + "\n")
    assert exporter.run("log", "cosign", file, "--output", folder).exit_code == 0
    report = verify_log(folder, public_key=signer.public_key, checkpoint=note_bytes, witnesses=[key])
    assert (report.status, [one.code for one in report.findings]) == (Status.INVALID, ["E616"])
    file.write_bytes(note_bytes.replace(ORIGIN.encode(), b"another.example", 1) + line.encode() + b"\n")
    assert exporter.run("log", "cosign", file, "--output", folder).exit_code == 2
    file.write_text("hello\n")
    assert exporter.run("log", "cosign", file, "--output", folder).exit_code == 2


def test_published_notes():
    """The example of Go's sumdb/note verifies; so does what another implementation signs, and the other way round."""
    text = b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    raw = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:]
    data = base64.b64decode(
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    assert note.key_id("PeterNeumann", note.ED25519, raw).hex() == "c74f20a3" == data[:4].hex()
    assert PublicKey.of_raw(raw).verifies(data[4:], text)

    private = Ed25519PrivateKey.generate()
    theirs = TheirCheckpoint.make_signed(ORIGIN, 7, bytes(range(32)), [signing.PlainEd25519Signer(ORIGIN, private)])
    mine = note.sign_checkpoint(ORIGIN, 7, bytes(range(32)), ManifestKey(private))
    assert mine.note() == theirs.serialize()
    read = read_checkpoint(mine.note().encode())
    require_signature(read, PublicKey.of_raw(private.public_key().public_bytes_raw()))
    assert (read.origin, read.size, read.root) == (ORIGIN, 7, bytes(range(32)))


def test_processes_at_once(folder: Path, signer: Signer):
    """Some processes append at the same time: each package has one entry, and the log verifies."""
    shutil.rmtree(folder / ".log")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LANDSCAPE_")}
    command = [sys.executable, "-m", "landscape_assets.cli", "log", "sync", "--output", folder]
    running = [
        subprocess.Popen(command, env=environment | signer.settings, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert sorted(int(text.split(" ")[0]) for text in said) == [0, 0, 0, len(packages(folder))]
    checkpoint = (folder / ".log" / "checkpoint").read_bytes()
    assert verify_log(folder, public_key=signer.public_key, checkpoint=checkpoint).status is Status.VERIFIED


def test_a_folder_without_a_private_key_has_no_log(exporter: Exporter, sample: Path, signer: Signer):
    """And to verify one is never 0."""
    assert exporter.export(sample, f"--run-id={COMPLETED_RUN}").exit_code == 0
    assert [path.name for path in exporter.output.iterdir()] == [COMPLETED_RUN]
    report = verify_log(exporter.output, public_key=signer.public_key)
    assert (report.status, [one.code for one in report.findings]) == (Status.DIVERGED, ["E601"])
    assert export_log.log_folder(exporter.output).name == ".log"


def test_a_supersession_that_did_not_finish(exporter: Exporter, sample: Path, signer: Signer):
    """A crash before the exchange leaves the new package where the old one was to be kept: it is not published, and
    neither logged nor missed; the next supersession is logged."""
    assert exporter.export(sample, f"--run-id={COMPLETED_RUN}", **signer.settings).exit_code == 0
    more = [f"--run-id={COMPLETED_RUN}", "--supersede", "--format=jsonl"]
    first = exporter.folder / "first"
    shutil.copytree(exporter.output, first)
    assert exporter.export(sample, *more, **signer.settings).exit_code == 0
    (aside,) = (exporter.output / ".superseded").glob("*/*")
    left = first / aside.relative_to(exporter.output)
    left.parent.mkdir(parents=True)
    shutil.copytree(exporter.output / COMPLETED_RUN, left)
    result = sync(exporter, first, signer)
    assert (result.exit_code, result.output.split(" ")[0]) == (0, "0")
    checkpoint = (first / ".log" / "checkpoint").read_bytes()
    report = verify_log(first, public_key=signer.public_key, checkpoint=checkpoint)
    assert report.status is Status.VERIFIED, report.to_text()
    assert any("is not published" in notice for notice in report.notices)
    exporter.output = first
    assert exporter.export(sample, *more, **signer.settings).exit_code == 0
    assert [entry["kind"] for entry in entries(first)] == ["publication", "supersession"]
    assert verify_log(first, public_key=signer.public_key, checkpoint=checkpoint).status is Status.VERIFIED


@pytest.mark.parametrize(
    "changes", [{"final_hash": ...}, {"final_hash": 1}, {"exported_at": "now"}, {"record_count": -1}, {"supersedes": 1}]
)
def test_a_damaged_manifest_stops_no_export(
    folder: Path, exporter: Exporter, sample: Path, signer: Signer, changes: dict[str, object]
):
    """It cannot be logged, and `log sync` says so; others are."""
    manifest = json.loads((folder / COMPLETED_RUN / "manifest.json").read_bytes()) | {"run_id": "other"} | changes
    (folder / "other").mkdir()
    document = {name: value for name, value in manifest.items() if value is not ...}
    (folder / "other" / "manifest.json").write_bytes(rfc8785.dumps(document))
    shutil.rmtree(folder / COMPLETED_RUN)
    exporter.output = folder
    result = exporter.export(sample, f"--run-id={COMPLETED_RUN}", **signer.settings)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [entry["run_id"] for entry in entries(folder)].count(COMPLETED_RUN) == 2
    result = sync(exporter, folder, signer)
    assert result.exit_code == 1
    assert "Not logged: " in result.stderr
    assert "other/manifest.json" in result.stderr
