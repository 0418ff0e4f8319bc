"""The command `export`: results, packages, and what becomes of a package that is there already; on both databases.

Belongs here: behaviour of one command at a time. Does not belong here: settings and usage (`test_settings.py`), what is
in the files (`../formats/`), corrupt data (`test_corrupt_runs.py`), processes that end early (`test_interruption.py`).
"""

import hashlib
import hmac
import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import rfc8785
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.exporter import KEY, Exporter, content
from support.pipeline import jsonl
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN, RUNNING_RUN

from landscape_assets import __version__


@pytest.fixture(scope="module")
def exported(sample_database, tmp_path_factory):
    """The completed run of the sample exported once, and what was said of it; not to be changed."""
    exporter = Exporter(tmp_path_factory.mktemp("exported"))
    return exporter.outcome(sample_database.url, COMPLETED_RUN), exporter.output


@pytest.fixture
def package(exported, exporter):
    """A copy of that package, in the exporter's export folder."""
    shutil.copytree(exported[1], exporter.output)
    return exporter.output / COMPLETED_RUN


def manifest_of(package: Path) -> dict:
    return json.loads((package / "manifest.json").read_bytes())


def test_an_export_is_reported_with_its_package(exported):
    """`--json`: run_id, package, status, record_count and final_hash, and no error."""
    outcome, output = exported
    manifest = manifest_of(output / COMPLETED_RUN)
    assert outcome == {
        "run_id": COMPLETED_RUN,
        "package": str(output / COMPLETED_RUN),
        "status": "exported",
        "record_count": manifest["record_count"],
        "final_hash": manifest["final_hash"],
    }
    assert [path.name for path in output.iterdir()] == [COMPLETED_RUN]


def test_the_manifest_says_what_is_in_the_package(exported, sample_database, kind):
    """Run, counts, tables and every file with its true size and hash; nothing else is in the folder. Times are as the
    database keeps them: with their offset on PostgreSQL, without one on SQLite."""
    package = exported[1] / COMPLETED_RUN
    manifest = manifest_of(package)
    records = jsonl(package / "records.jsonl")
    counts: dict[str, int] = {}
    for record in records[:-1]:
        counts[record["record_type"]] = counts.get(record["record_type"], 0) + 1
    assert (manifest["format"], manifest["format_version"]) == ("landscape-export", 2)
    assert (manifest["contract"], manifest["run_id"], manifest["status"]) == ("v1", COMPLETED_RUN, "completed")
    assert (manifest["started_at"], manifest["completed_at"]) == (records[0]["started_at"], records[0]["completed_at"])
    assert manifest["started_at"] == "2026-11-03T06:00:00" + ("+00:00" if kind == "postgresql" else "")
    assert manifest["record_counts"] == counts
    assert manifest["record_count"] == len(records) - 1 == 202
    assert manifest["exporter"] == {"name": "landscape-assets", "version": __version__}
    assert "supersedes" not in manifest
    ((rows,),) = sample_database.execute(f"SELECT count(*) FROM node_states WHERE run_id = '{COMPLETED_RUN}'")
    assert manifest["tables"]["node_states"] == rows
    assert sum(manifest["tables"].values()) == 202

    listed = {file["path"]: file for file in manifest["files"]}
    on_disk = {name: data for name, data in content(package).items() if data is not None}
    assert set(on_disk) == {"manifest.json", *listed}
    assert list(listed) == sorted(listed, key=str.encode)
    for name, file in listed.items():
        assert (file["size"], file["sha256"]) == (len(on_disk[name]), hashlib.sha256(on_disk[name]).hexdigest())
    assert listed["VERIFY.md"]["records"] is None
    assert listed["records.jsonl"]["records"] == 202
    assert {name: listed[f"csv/{name}.csv"]["records"] for name in counts} == counts
    assert {name: listed[f"parquet/{name}.parquet"]["records"] for name in counts} == counts
    assert {file["media_type"] for file in listed.values()} == {
        "application/jsonl",
        "text/csv; charset=utf-8; header=present",
        "application/vnd.apache.parquet",
        "text/markdown; charset=utf-8",
        "text/html; charset=utf-8",
    }


def test_the_manifest_and_the_last_record_are_signed(exported):
    """The signatures can be made by hand with hmac; the manifest is canonical bytes; both carry the one time stamp."""
    package = exported[1] / COMPLETED_RUN
    data = (package / "manifest.json").read_bytes()
    manifest, last = json.loads(data), jsonl(package / "records.jsonl")[-1]
    assert rfc8785.dumps(manifest) == data
    assert last["exported_at"] == manifest["exported_at"]
    assert abs((datetime.now(UTC) - datetime.fromisoformat(last["exported_at"])).total_seconds()) < 600
    assert last["exported_at"].endswith("+00:00")
    assert {name: last[name] for name in last if name not in ("signature", "exported_at")} == {
        "record_type": "manifest",
        "run_id": COMPLETED_RUN,
        "record_count": 202,
        "final_hash": manifest["final_hash"],
        "hash_algorithm": "sha256",
        "signature_algorithm": "hmac-sha256",
    }
    for signed in (manifest, last):
        signature = signed.pop("signature")
        assert signature == hmac.new(KEY.encode(), rfc8785.dumps(signed), hashlib.sha256).hexdigest()
    chained = "".join(record["signature"] for record in jsonl(package / "records.jsonl")[:-1])
    assert manifest["final_hash"] == hashlib.sha256(chained.encode()).hexdigest()
    assert manifest["chain"] == "sha256-of-record-signatures"
    assert manifest["signing"]["algorithm"] == "hmac-sha256"


def test_an_unsigned_export_says_so(database, exporter):
    """Without signatures there is no manifest record, and the chain is over the records' own hashes."""
    outcome = exporter.outcome(
        database.url, COMPLETED_RUN, "--no-sign", "--format", "jsonl", LANDSCAPE_SIGNING_KEY=None
    )
    package = exporter.output / COMPLETED_RUN
    manifest, records = manifest_of(package), jsonl(package / "records.jsonl")
    assert len(records) == manifest["record_count"] == 202
    assert not any("signature" in record for record in records)
    assert (manifest["signing"], manifest["public_key"]) == (None, None)
    assert "signature" not in manifest
    hashes = "".join(hashlib.sha256(rfc8785.dumps(record)).hexdigest() for record in records)
    assert outcome["final_hash"] == manifest["final_hash"] == hashlib.sha256(hashes.encode()).hexdigest()
    assert sorted(path.name for path in package.iterdir()) == ["VERIFY.md", "manifest.json", "records.jsonl"]


def test_formats_are_chosen(database, exporter):
    """`--format` leaves the others out, in the option or in the environment."""
    exporter.outcome(database.url, COMPLETED_RUN, "--format", "csv")
    assert sorted(path.name for path in (exporter.output / COMPLETED_RUN).iterdir()) == [
        "VERIFY.md",
        "csv",
        "manifest.json",
    ]
    exporter.outcome(database.url, FAILED_RUN, LANDSCAPE_FORMATS="parquet, jsonl")
    names = sorted(path.name for path in (exporter.output / FAILED_RUN).iterdir())
    assert names == ["VERIFY.md", "manifest.json", "parquet", "records.jsonl"]


def test_a_public_key_signature_covers_the_manifest(database, exporter, tmp_path):
    """With a private key set, manifest.json.sig is the Ed25519 signature of the manifest's bytes."""
    private = Ed25519PrivateKey.generate()
    path = tmp_path / "private.pem"
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    exporter.outcome(database.url, COMPLETED_RUN, "--format", "jsonl", LANDSCAPE_SIGNING_PRIVATE_KEY_FILE=str(path))
    package = exporter.output / COMPLETED_RUN
    signature = (package / "manifest.json.sig").read_bytes()
    assert len(signature) == 64
    private.public_key().verify(signature, (package / "manifest.json").read_bytes())
    assert manifest_of(package)["public_key"]["algorithm"] == "ed25519"
    assert "manifest.json.sig" not in [file["path"] for file in manifest_of(package)["files"]]


def test_an_export_again_is_unchanged(database, exporter, package, exported):
    """The same run, key and options: `unchanged`, the same result, and not one byte or time of the package touched."""
    before = {path: path.stat().st_mtime_ns for path in package.rglob("*")}
    bytes_before = content(exporter.output)
    outcome = exporter.outcome(database.url, COMPLETED_RUN)
    assert outcome["status"] == "unchanged"
    assert outcome["final_hash"] == exported[0]["final_hash"]
    assert outcome["record_count"] == 202
    assert content(exporter.output) == bytes_before
    assert {path: path.stat().st_mtime_ns for path in package.rglob("*")} == before


def test_two_exports_differ_in_one_time_stamp(database, exporter, exported):
    """Same run, key and options: the same bytes, but for the time in the manifest, the last record and the report, and
    what follows from it: the hashes of these in VERIFY.md."""
    exporter.outcome(database.url, COMPLETED_RUN)
    old, new = content(exported[1] / COMPLETED_RUN), content(exporter.output / COMPLETED_RUN)
    changed = {name for name in old if old[name] != new.get(name)}
    assert changed == {"manifest.json", "records.jsonl", "report.html", "VERIFY.md"}
    assert set(old) == set(new)
    guides = []
    for data in (old, new):
        guide = data["VERIFY.md"]
        for name in ("records.jsonl", "report.html"):
            guide = guide.replace(hashlib.sha256(data[name]).hexdigest().encode(), b"")
        guides.append(guide)
    assert guides[0] == guides[1]
    old_lines, new_lines = (data["records.jsonl"].splitlines() for data in (old, new))
    assert old_lines[:-1] == new_lines[:-1]
    stamps = [manifest_of(path / COMPLETED_RUN) for path in (exported[1], exporter.output)]
    old_report, new_report = (
        data["report.html"].replace(manifest["exported_at"].encode(), b"")
        for data, manifest in zip((old, new), stamps, strict=True)
    )
    assert old_report == new_report
    for manifest in stamps:
        for name in ("exported_at", "signature"):
            del manifest[name]
        for file in manifest["files"]:
            if file["path"] in ("records.jsonl", "report.html", "VERIFY.md"):
                del file["sha256"]
    assert stamps[0] == stamps[1]


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE rows SET source_data_hash = 'x' WHERE row_id = 'c1103-row-00'", "final_hash is "),
        (
            "DELETE FROM artifacts WHERE artifact_id = (SELECT min(artifact_id) FROM artifacts)",
            "record_count is 201 and was 202",
        ),
        ("UPDATE runs SET status = 'failed'", "status is failed and was completed"),
    ],
)
def test_a_run_that_changed_since_is_an_error(database, exporter, package, statement, says):
    """The error says what differs, and the old package stays as it is."""
    database.execute(statement)
    before = content(exporter.output)
    outcome = exporter.outcome(database.url, COMPLETED_RUN)
    assert outcome["status"] == "failed"
    assert outcome["package"] is None
    assert str(package) in outcome["error"]
    assert says in outcome["error"]
    assert "--supersede" in outcome["error"]
    assert content(exporter.output) == before


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        ((), {"LANDSCAPE_SIGNING_KEY": "another key of the tests"}, "signing key_id is hmac:"),
        ((), {"LANDSCAPE_SIGNING_KEY_ID": "renamed"}, "signing key_id is renamed and was hmac:"),
        (("--no-sign",), {}, "signing is None and was"),
        (("--format", "jsonl"), {}, "the formats are jsonl and were csv, html, jsonl, parquet"),
    ],
)
def test_other_options_are_a_difference(database, exporter, package, arguments, environment, says):
    """Another key, key id, no signature, or other formats: an error that says so, and the old package stays."""
    before = content(exporter.output)
    outcome = exporter.outcome(database.url, COMPLETED_RUN, *arguments, **environment)
    assert outcome["status"] == "failed"
    assert says in outcome["error"]
    assert KEY not in outcome["error"]
    assert content(exporter.output) == before


def test_superseding_keeps_the_old_package(database, exporter, package):
    """`--supersede` puts the new package in place, names the old manifest's hash in it, and keeps the old one aside,
    whole."""
    old = content(package)
    database.execute("UPDATE rows SET source_data_hash = 'x' WHERE row_id = 'c1103-row-00'")
    outcome = exporter.outcome(database.url, COMPLETED_RUN, "--supersede")
    assert outcome["status"] == "exported"
    manifest = manifest_of(package)
    assert manifest["supersedes"] == {"manifest_sha256": hashlib.sha256(old["manifest.json"]).hexdigest()}
    (aside,) = (exporter.output / ".superseded").glob(f"*/{COMPLETED_RUN}")
    assert content(aside) == old
    # Its folder is the time of its export, readable, sortable, and with its zone.
    exported_at = json.loads(old["manifest.json"])["exported_at"]
    assert aside.parent.name == exported_at.replace(":", "-").removesuffix("+00-00") + "Z"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{6}Z", aside.parent.name)
    assert sorted(path.name for path in exporter.output.iterdir()) == [".superseded", COMPLETED_RUN]
    again = exporter.outcome(database.url, COMPLETED_RUN, "--supersede")
    assert again["status"] == "unchanged", "there is nothing to supersede any more"
    assert len(list((exporter.output / ".superseded").iterdir())) == 1


def damage_file(package: Path) -> None:
    path = package / "csv" / "row.csv"
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))


def damage_manifest(package: Path) -> None:
    path = package / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"exported_at":"2', b'"exported_at":"3'))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_file, "csv/row.csv: The file's content is not what the manifest lists"),
        (lambda package: (package / "records.jsonl").unlink(), "records.jsonl: The file is missing"),
        (damage_manifest, "signature"),
        (lambda package: (package / "manifest.json").write_bytes(b"{"), "manifest.json cannot be read"),
        (lambda package: (package / "manifest.json").unlink(), "not a complete package"),
    ],
    ids=["file", "missing file", "manifest", "broken manifest", "no manifest"],
)
def test_a_damaged_package_is_an_error(database, exporter, package, damage, says):
    """A package that is there and not whole is neither taken for the export nor written over."""
    damage(package)
    before = content(exporter.output)
    outcome = exporter.outcome(database.url, COMPLETED_RUN)
    assert outcome["status"] == "failed"
    assert says in outcome["error"]
    assert content(exporter.output) == before


@pytest.mark.parametrize("damage", [damage_file, lambda package: (package / "manifest.json").unlink()])
def test_a_damaged_package_can_be_superseded(database, exporter, package, damage):
    """As the error says: the damaged one is kept aside as it is, and a whole one takes its place."""
    damage(package)
    damaged = content(package)
    assert exporter.outcome(database.url, COMPLETED_RUN, "--supersede")["status"] == "exported"
    (aside,) = (exporter.output / ".superseded").glob(f"*/{COMPLETED_RUN}")
    assert content(aside) == damaged
    assert ("supersedes" in manifest_of(package)) == ("manifest.json" in damaged)
    assert exporter.outcome(database.url, COMPLETED_RUN)["status"] == "unchanged"


@pytest.mark.parametrize("what", ["folder", "file"])
def test_something_else_under_the_name_is_left_alone(database, exporter, what):
    """A folder of somebody's, or a file, where the package would be is an error, and is not touched."""
    exporter.output.mkdir()
    place = exporter.output / COMPLETED_RUN
    if what == "folder":
        place.mkdir()
        (place / "mine.txt").write_text("mine")
    else:
        place.write_text("mine")
    before = content(exporter.output)
    outcome = exporter.outcome(database.url, COMPLETED_RUN)
    assert outcome["status"] == "failed"
    assert str(place) in outcome["error"]
    assert content(exporter.output) == before


@pytest.mark.parametrize(
    ("run_id", "change", "says"),
    [
        ("nowhere", None, "There is no run 'nowhere'"),
        ("", None, "There is no run ''"),
        (COMPLETED_RUN.upper(), None, "There is no run"),
        (RUNNING_RUN, None, "has not finished (its status is 'running'"),
        (COMPLETED_RUN, "UPDATE runs SET completed_at = NULL", "has no completed_at"),
        (COMPLETED_RUN, "UPDATE runs SET status = 'interrupted'", "was interrupted and may be resumed"),
    ],
)
def test_a_run_that_is_not_there_or_not_finished_is_refused(database, exporter, run_id, change, says):
    """Only a run that has ended, and says when, is exported."""
    if change:
        database.execute(change)
    outcome = exporter.outcome(database.url, run_id)
    assert outcome["status"] == "failed"
    assert says in outcome["error"]
    assert content(exporter.output) == {}


def test_all_exports_every_finished_run(database, exporter):
    """Completed and failed ones, the oldest first. The running one is left; a damaged one does not stop others."""
    database.execute("UPDATE rows SET row_index = -1 WHERE row_id = 'c1103-row-00'")
    result = exporter.export(database.url, "--all")
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{FAILED_RUN}: exported, ")
    assert result.stderr.startswith(f"{COMPLETED_RUN}: failed: Corrupt audit data: table rows, row_id ")
    assert [path.name for path in exporter.output.iterdir()] == [FAILED_RUN]
    assert exporter.outcome(database.url, FAILED_RUN)["status"] == "unchanged"
