"""The command `export`: settings, results, packages, and what becomes of a package that is there already.

Belongs here: behaviour of one command at a time. Does not belong here: what is in the files (`../export/`), corrupt data
(`test_corrupt_runs.py`), processes that end early (`test_interruption.py`).
"""

import hashlib
import hmac
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import rfc8785
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.databases import changing
from support.exporter import KEY, Exporter, content
from support.pipeline import jsonl, url

from landscape_assets import __version__
from landscape_assets.sample import COMPLETED_RUN, FAILED_RUN, RUNNING_RUN


@pytest.fixture(scope="module")
def exported(sample_file, tmp_path_factory):
    """The completed run of the sample exported once, and what was said of it; not to be changed."""
    exporter = Exporter(tmp_path_factory.mktemp("exported"))
    return exporter.outcome(sample_file, COMPLETED_RUN), exporter.output


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


def test_the_manifest_says_what_is_in_the_package(exported, sample_file):
    """Run, counts, tables and every file with its true size and hash; nothing else is in the folder."""
    package = exported[1] / COMPLETED_RUN
    manifest = manifest_of(package)
    records = jsonl(package / "records.jsonl")
    counts: dict[str, int] = {}
    for record in records[:-1]:
        counts[record["record_type"]] = counts.get(record["record_type"], 0) + 1
    assert manifest["format"], manifest["format_version"] == ("landscape-export", 1)
    assert (manifest["contract"], manifest["run_id"], manifest["status"]) == ("v1", COMPLETED_RUN, "completed")
    assert (manifest["started_at"], manifest["completed_at"]) == (records[0]["started_at"], records[0]["completed_at"])
    assert manifest["record_counts"] == counts
    assert manifest["record_count"] == len(records) - 1 == 202
    assert manifest["exporter"] == {"name": "landscape-assets", "version": __version__}
    assert "supersedes" not in manifest
    with changing(sample_file) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM node_states WHERE run_id = ?", (COMPLETED_RUN,)).fetchone()
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


def test_an_unsigned_export_says_so(sample, exporter):
    """Without signatures there is no manifest record, and the chain is over the records' own hashes."""
    outcome = exporter.outcome(sample, COMPLETED_RUN, "--no-sign", "--format", "jsonl", LANDSCAPE_SIGNING_KEY=None)
    package = exporter.output / COMPLETED_RUN
    manifest, records = manifest_of(package), jsonl(package / "records.jsonl")
    assert len(records) == manifest["record_count"] == 202
    assert not any("signature" in record for record in records)
    assert (manifest["signing"], manifest["public_key"]) == (None, None)
    assert "signature" not in manifest
    hashes = "".join(hashlib.sha256(rfc8785.dumps(record)).hexdigest() for record in records)
    assert outcome["final_hash"] == manifest["final_hash"] == hashlib.sha256(hashes.encode()).hexdigest()
    assert sorted(path.name for path in package.iterdir()) == ["VERIFY.md", "manifest.json", "records.jsonl"]


def test_formats_are_chosen(sample, exporter):
    """`--format` leaves the others out, in the option or in the environment."""
    exporter.outcome(sample, COMPLETED_RUN, "--format", "csv")
    assert sorted(path.name for path in (exporter.output / COMPLETED_RUN).iterdir()) == [
        "VERIFY.md",
        "csv",
        "manifest.json",
    ]
    exporter.outcome(sample, FAILED_RUN, LANDSCAPE_FORMATS="parquet, jsonl")
    names = sorted(path.name for path in (exporter.output / FAILED_RUN).iterdir())
    assert names == ["VERIFY.md", "manifest.json", "parquet", "records.jsonl"]


def test_a_public_key_signature_covers_the_manifest(sample, exporter, tmp_path):
    """With a private key set, manifest.json.sig is the Ed25519 signature of the manifest's bytes."""
    private = Ed25519PrivateKey.generate()
    path = tmp_path / "private.pem"
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    exporter.outcome(sample, COMPLETED_RUN, "--format", "jsonl", LANDSCAPE_SIGNING_PRIVATE_KEY_FILE=str(path))
    package = exporter.output / COMPLETED_RUN
    signature = (package / "manifest.json.sig").read_bytes()
    assert len(signature) == 64
    private.public_key().verify(signature, (package / "manifest.json").read_bytes())
    assert manifest_of(package)["public_key"]["algorithm"] == "ed25519"
    assert "manifest.json.sig" not in [file["path"] for file in manifest_of(package)["files"]]


def test_an_export_again_is_unchanged(sample, exporter, package, exported):
    """The same run, key and options: `unchanged`, the same result, and not one byte or time of the package touched."""
    before = {path: path.stat().st_mtime_ns for path in package.rglob("*")}
    bytes_before = content(exporter.output)
    outcome = exporter.outcome(sample, COMPLETED_RUN)
    assert outcome["status"] == "unchanged"
    assert outcome["final_hash"] == exported[0]["final_hash"]
    assert outcome["record_count"] == 202
    assert content(exporter.output) == bytes_before
    assert {path: path.stat().st_mtime_ns for path in package.rglob("*")} == before


def test_two_exports_differ_in_one_time_stamp(sample, exporter, exported):
    """Same run, key and options: the same bytes, but for the time in the manifest and in the last record, and what follows from it:
    the hash of records.jsonl in VERIFY.md."""
    exporter.outcome(sample, COMPLETED_RUN)
    old, new = content(exported[1] / COMPLETED_RUN), content(exporter.output / COMPLETED_RUN)
    assert {name for name in old if old[name] != new.get(name)} == {"manifest.json", "records.jsonl", "VERIFY.md"}
    assert set(old) == set(new)
    old_page, new_page = (
        data["VERIFY.md"].replace(hashlib.sha256(data["records.jsonl"]).hexdigest().encode(), b"")
        for data in (old, new)
    )
    assert old_page == new_page
    old_lines, new_lines = (data["records.jsonl"].splitlines() for data in (old, new))
    assert old_lines[:-1] == new_lines[:-1]
    stamps = [manifest_of(path / COMPLETED_RUN) for path in (exported[1], exporter.output)]
    for manifest in stamps:
        for name in ("exported_at", "signature"):
            del manifest[name]
        for file in manifest["files"]:
            if file["path"] in ("records.jsonl", "VERIFY.md"):
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
def test_a_run_that_changed_since_is_an_error(sample, exporter, package, statement, says):
    """The error says what differs, and the old package stays as it is."""
    with changing(sample) as connection:
        connection.execute(statement)
    before = content(exporter.output)
    outcome = exporter.outcome(sample, COMPLETED_RUN)
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
        (("--format", "jsonl"), {}, "the formats are jsonl and were csv, jsonl, parquet"),
    ],
)
def test_other_options_are_a_difference(sample, exporter, package, arguments, environment, says):
    """Another key, key id, no signature, or other formats: an error that says so, and the old package stays."""
    before = content(exporter.output)
    outcome = exporter.outcome(sample, COMPLETED_RUN, *arguments, **environment)
    assert outcome["status"] == "failed"
    assert says in outcome["error"]
    assert KEY not in outcome["error"]
    assert content(exporter.output) == before


def test_superseding_keeps_the_old_package(sample, exporter, package):
    """`--supersede` puts the new package in place, names the old manifest's hash in it, and keeps the old one aside, whole."""
    old = content(package)
    with changing(sample) as connection:
        connection.execute("UPDATE rows SET source_data_hash = 'x' WHERE row_id = 'c1103-row-00'")
    outcome = exporter.outcome(sample, COMPLETED_RUN, "--supersede")
    assert outcome["status"] == "exported"
    manifest = manifest_of(package)
    assert manifest["supersedes"] == {"manifest_sha256": hashlib.sha256(old["manifest.json"]).hexdigest()}
    (aside,) = (exporter.output / ".superseded").glob(f"*/{COMPLETED_RUN}")
    assert content(aside) == old
    assert sorted(path.name for path in exporter.output.iterdir()) == [".superseded", COMPLETED_RUN]
    again = exporter.outcome(sample, COMPLETED_RUN, "--supersede")
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
        (damage_file, "the content of csv/row.csv is not what the manifest lists"),
        (lambda package: (package / "records.jsonl").unlink(), "records.jsonl cannot be read"),
        (damage_manifest, "signature"),
        (lambda package: (package / "manifest.json").write_bytes(b"{"), "manifest.json cannot be read"),
        (lambda package: (package / "manifest.json").unlink(), "not a complete package"),
    ],
    ids=["file", "missing file", "manifest", "broken manifest", "no manifest"],
)
def test_a_damaged_package_is_an_error(sample, exporter, package, damage, says):
    """A package that is there and not whole is neither taken for the export nor written over."""
    damage(package)
    before = content(exporter.output)
    outcome = exporter.outcome(sample, COMPLETED_RUN)
    assert outcome["status"] == "failed"
    assert says in outcome["error"]
    assert content(exporter.output) == before


@pytest.mark.parametrize("damage", [damage_file, lambda package: (package / "manifest.json").unlink()])
def test_a_damaged_package_can_be_superseded(sample, exporter, package, damage):
    """As the error says: the damaged one is kept aside as it is, and a whole one takes its place."""
    damage(package)
    damaged = content(package)
    assert exporter.outcome(sample, COMPLETED_RUN, "--supersede")["status"] == "exported"
    (aside,) = (exporter.output / ".superseded").glob(f"*/{COMPLETED_RUN}")
    assert content(aside) == damaged
    assert ("supersedes" in manifest_of(package)) == ("manifest.json" in damaged)
    assert exporter.outcome(sample, COMPLETED_RUN)["status"] == "unchanged"


@pytest.mark.parametrize("what", ["folder", "file"])
def test_something_else_under_the_name_is_left_alone(sample, exporter, what):
    """A folder of somebody's, or a file, where the package would be is an error, and is not touched."""
    exporter.output.mkdir()
    place = exporter.output / COMPLETED_RUN
    if what == "folder":
        place.mkdir()
        (place / "mine.txt").write_text("mine")
    else:
        place.write_text("mine")
    before = content(exporter.output)
    outcome = exporter.outcome(sample, COMPLETED_RUN)
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
        (COMPLETED_RUN, "UPDATE runs SET status = 'interrupted'", "its status is 'interrupted'"),
    ],
)
def test_a_run_that_is_not_there_or_not_finished_is_refused(sample, exporter, run_id, change, says):
    """Only a run that has ended, and says when, is exported."""
    if change:
        with changing(sample) as connection:
            connection.execute(change)
    outcome = exporter.outcome(sample, run_id)
    assert outcome["status"] == "failed"
    assert says in outcome["error"]
    assert content(exporter.output) == {}


def test_all_exports_every_finished_run(sample, exporter):
    """Completed and failed ones, the oldest first; the running one is left alone, and one with damage stops no other."""
    with changing(sample) as connection:
        connection.execute("UPDATE rows SET source_data_hash = x'00' WHERE run_id = ?", (COMPLETED_RUN,))
    result = exporter.export(sample, "--all")
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{FAILED_RUN}: exported, ")
    assert result.stderr.startswith(f"{COMPLETED_RUN}: failed: Corrupt audit data: table rows, row_id ")
    assert [path.name for path in exporter.output.iterdir()] == [FAILED_RUN]
    assert exporter.export(sample, "--run-id", FAILED_RUN).exit_code == 0


@pytest.mark.parametrize(
    ("key", "says"), [(None, "--no-sign"), ("", "blank"), ("  \n", "blank")], ids=["missing", "empty", "blank"]
)
def test_without_a_key_the_command_stops(sample, exporter, key, says):
    """Signing is the default: a missing or blank key is said before anything is read, with both ways out."""
    result = exporter.export(sample, "--all", LANDSCAPE_SIGNING_KEY=key)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "LANDSCAPE_SIGNING_KEY" in result.stderr
    assert result.stdout == ""
    assert not exporter.output.exists()


def test_a_short_key_is_warned_of(sample, exporter):
    """It signs, and the warning goes to standard error without it."""
    result = exporter.export(
        sample, "--run-id", COMPLETED_RUN, "--format", "jsonl", "--json", LANDSCAPE_SIGNING_KEY="abcXYZ"
    )
    assert result.exit_code == 0
    assert "shorter than 16 bytes" in result.stderr
    assert "abcXYZ" not in result.output
    assert json.loads(result.stdout)[0]["status"] == "exported"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_key_file_ends_in_a_line_end_or_not(sample, exporter, exported, tmp_path, ending):
    """One line end at the end of the file is not part of the key."""
    file = tmp_path / "key"
    file.write_bytes((KEY + ending).encode())
    shutil.copytree(exported[1], exporter.output)
    outcome = exporter.outcome(sample, COMPLETED_RUN, LANDSCAPE_SIGNING_KEY=None, LANDSCAPE_SIGNING_KEY_FILE=str(file))
    assert outcome["status"] == "unchanged"


def test_other_white_space_belongs_to_the_key(sample, exporter, package, tmp_path):
    """A blank, or a second line end, is part of it."""
    file = tmp_path / "key"
    file.write_text(KEY + " \n\n")
    signs = hmac.new(f"{KEY} \n".encode(), b"landscape-assets key id", hashlib.sha256).hexdigest()
    outcome = exporter.outcome(sample, COMPLETED_RUN, LANDSCAPE_SIGNING_KEY=None, LANDSCAPE_SIGNING_KEY_FILE=str(file))
    assert f"signing key_id is hmac:{signs[:16]}" in outcome["error"]


def test_settings_come_from_the_environment(sample, exporter, tmp_path):
    """Everything that an option says can be said in the environment; the option wins."""
    environment = {
        "LANDSCAPE_DATABASE_URL": url(sample),
        "LANDSCAPE_EXPORT_DIR": str(tmp_path / "of environment"),
        "LANDSCAPE_SIGN": "no",
        "LANDSCAPE_FORMATS": "jsonl",
        "LANDSCAPE_SIGNING_KEY": None,
    }
    assert exporter.run("export", "--run-id", FAILED_RUN, **environment).exit_code == 0
    assert manifest_of(tmp_path / "of environment" / FAILED_RUN)["signing"] is None
    other = environment | {"LANDSCAPE_SIGNING_KEY": KEY, "LANDSCAPE_SIGNING_KEY_ID": "key 7"}
    assert exporter.run("export", "--run-id", FAILED_RUN, "--sign", "--output", exporter.output, **other).exit_code == 0
    assert manifest_of(exporter.output / FAILED_RUN)["signing"] == {"algorithm": "hmac-sha256", "key_id": "key 7"}


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        ([], {}, "--run-id, or take every finished run with --all"),
        (["--all", "--run-id", "x"], {}, "--run-id, or take every finished run with --all"),
        (["--all", "--format", "xml"], {}, "'xml' is not one of"),
        (["--all"], {"LANDSCAPE_SIGN": "maybe"}, "it must be yes or no"),
        (["--all"], {"LANDSCAPE_FORMATS": "jsonl,xml"}, "names 'xml'"),
        (["--all"], {"LANDSCAPE_MEMORY_MB": "much"}, "it must be a whole number"),
        (
            ["--all"],
            {"LANDSCAPE_SIGNING_KEY": None, "LANDSCAPE_SIGNING_KEY_FILE": "/nowhere/key"},
            "/nowhere/key cannot be read",
        ),
        (["--all", "--database", "sqlite:///nowhere.db"], {}, "There is no file"),
        (["--all", "--database", ""], {}, "No audit database is named"),
    ],
)
def test_wrong_usage_ends_with_2(sample, exporter, arguments, environment, says):
    """What is wrong is said on standard error, nothing is said on standard output, and nothing is made."""
    result = exporter.export(sample, *arguments, "--json", **environment)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stdout == ""
    assert not exporter.output.exists()


def test_without_an_export_folder_the_command_ends_with_2(sample, exporter):
    """There is no default for where packages go."""
    result = exporter.run("export", "--database", url(sample), "--all")
    assert result.exit_code == 2
    assert "--output" in result.stderr


def test_an_export_folder_that_cannot_be_made_is_an_error(sample, exporter):
    """The run fails with what the file system says."""
    exporter.output.write_text("a file")
    result = exporter.export(sample, "--run-id", COMPLETED_RUN)
    assert result.exit_code in (1, 2)
    assert str(exporter.output) in result.output


def test_the_key_is_nowhere(sample, tmp_path, monkeypatch):
    """Neither what is printed nor any file of the package or of Dagster's storage holds the key."""
    monkeypatch.chdir(tmp_path)
    exporter = Exporter(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    key = "needle-in-a-haystack-0123456789"
    environment = {"LANDSCAPE_SIGNING_KEY": key, "DAGSTER_HOME": str(home)}
    result = exporter.export(sample, "--run-id", FAILED_RUN, **environment)
    assert result.exit_code == 0
    failing = exporter.export(
        sample, "--run-id", FAILED_RUN, "--run-id", "nowhere", "--format", "csv", "--json", **environment
    )
    assert failing.exit_code == 1
    assert key not in result.output + failing.output
    files = [path for path in (*home.rglob("*"), *exporter.output.rglob("*")) if path.is_file()]
    assert len(files) > 40
    assert not [path for path in files if key.encode() in path.read_bytes()]
