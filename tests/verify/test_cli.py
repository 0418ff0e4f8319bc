"""The command line: exit statuses, key files, the JSON report; and that the verifier runs with nothing but itself.

Belongs here: the command as an auditor uses it.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from landscape_assets import verify
from landscape_assets.verify import UsageError, main, verify_package

from . import build
from .build import KEY, OTHER_KEY
from .make_corpus import PRIVATE_KEY
from .small import small_run

ROOM = Path(verify.__file__).parent
PEM = Path(__file__).parent / "corpus" / "public.pem"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(KEY)
    return path


def test_exit_statuses(package: Path, key_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    def status(*arguments: object) -> int:
        return main([str(argument) for argument in arguments])

    broken = build.build(tmp_path / "broken", small_run(), after=lambda files: files.pop("VERIFY.md"))
    unsealed = build.build(tmp_path / "unsealed", small_run(), after=lambda files: files.pop("manifest.json"))
    given = ("--key-file", key_file)
    assert status(package, *given) == 0
    assert status(package) == 10
    assert status(unsealed, *given) == 20
    assert status(broken, *given) == 40
    assert status(tmp_path / "nothing", *given) == 2
    assert status(package, *given, "--run-id", "run-small") == 0
    assert status(package, *given, "--run-id", "run-other") == 40
    assert "VERIFIED" in capsys.readouterr().out

    # The worst counts: 2, 40, 20, 10, 0.
    assert status(package, package, *given) == 0
    assert status(package, unsealed, *given) == 20
    assert status(unsealed, package) == 20
    assert status(unsealed, broken, package, *given) == 40
    assert status(broken, tmp_path / "nothing", package, *given) == 2


@pytest.mark.parametrize(
    "arguments",
    [[], ["--nonsense"], ["x", "--key-file"], ["x", "--key-file", "/nonexistent/key"], ["x", "--key", str(PEM)]],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture):
    assert main(arguments) == 2
    assert capsys.readouterr().err


def test_help_is_no_failure(capsys: pytest.CaptureFixture):
    assert main(["--help"]) == 0
    assert "exit status" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (KEY, 0),
        (KEY + b"\n", 0),
        (KEY + b"\r\n", 0),
        (KEY + b"\n\n", 40),
        (KEY + b" ", 40),
        (b"", 2),
        (b"\n", 2),
        (b" \t ", 2),
        (OTHER_KEY, 40),
    ],
)
def test_one_line_end_is_not_part_of_the_key(package: Path, tmp_path: Path, content: bytes, status: int):
    (tmp_path / "key").write_bytes(content)
    assert main([str(package), "--key-file", str(tmp_path / "key")]) == status


def test_no_key_is_taken_from_the_environment(package: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LANDSCAPE_SIGNING_KEY", KEY.decode())
    monkeypatch.setenv("LANDSCAPE_SIGNING_KEY_FILE", str(key_file))
    assert main([str(package)]) == 10


def test_the_json_report(package: Path, key_file: Path, capsys: pytest.CaptureFixture):
    (package / "extra\x1b[2J").write_bytes(b"")
    assert main([str(package), "--key-file", str(key_file), "--json"]) == 40
    result = json.loads(capsys.readouterr().out)
    assert result["status"] == 40
    (report,) = result["packages"]
    assert (report["status"], report["verdict"], report["run_id"], report["record_count"]) == (
        40,
        "invalid",
        "run-small",
        31,
    )
    (finding,) = report["findings"]
    assert (finding["code"], finding["file"], finding["record"]) == ("E202", "extra\x1b[2J", None)
    assert {check["outcome"] for check in report["checks"]} == {"passed", "failed", "not done"}
    assert report["facts"]["key_id"] == build.key_id(KEY)
    assert report["not_proven"]
    assert KEY.decode() not in json.dumps(result)


def test_text_from_a_package_does_not_steer_the_terminal(package: Path, capsys: pytest.CaptureFixture):
    (package / "extra\x1b[2J\n").write_bytes(b"")
    main([str(package)])
    assert "\x1b" not in capsys.readouterr().out


def test_what_could_not_be_checked_is_said(tmp_path: Path):
    for formats, words in (
        (("csv",), "records.jsonl is not among the formats"),
        (("jsonl", "parquet"), "only their size and SHA-256 are checked"),
    ):
        report = verify_package(build.build(tmp_path / formats[0], small_run(), formats=formats), key=KEY)
        assert report.status == 0
        assert any(check.outcome == "not done" and words in check.detail for check in report.checks)


def test_a_terminal_that_cannot_show_every_character(package: Path, monkeypatch: pytest.MonkeyPatch):
    """What it cannot show is escaped; the verdict stands."""
    (package / "é−\U0001f525").write_bytes(b"")
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding="ascii"))
    assert main([str(package)]) == 40
    assert rb"\xe9\u2212\U0001f525" in output.getvalue()


def run(*command: object, cwd: Path, **more: object) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        **more,
    )


def test_as_a_module(package: Path, key_file: Path):
    done = run(sys.executable, "-m", "landscape_assets.verify", package, "--key-file", key_file, cwd=ROOM.parents[1])
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_who_leaves_early_does_not_change_the_verdict(package: Path):
    command = f'"{sys.executable}" -m landscape_assets.verify "{package}" | true; exit "${{PIPESTATUS[0]}}"'
    done = run("bash", "-c", command, cwd=ROOM.parents[1])
    assert (done.returncode, done.stderr) == (10, "")


def test_as_a_folder(package: Path, key_file: Path, tmp_path: Path):
    """In the project, and alone under any name, with no installed package in sight."""
    done = run(sys.executable, ROOM, package, "--key-file", key_file, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    shutil.copytree(ROOM, tmp_path / "alone" / "checker", ignore=shutil.ignore_patterns("__pycache__"))
    done = run(
        sys.executable, "-S", "-E", tmp_path / "alone" / "checker", package, "--key-file", key_file, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_as_a_folder_with_several_processes(tmp_path: Path, key_file: Path):
    """The other processes find the package too."""
    records = small_run()
    records += [{**records[-1], "artifact_id": f"a{number:06}", "path_or_uri": "x" * 700} for number in range(9000)]
    folder = build.build(tmp_path, records, formats=("jsonl",))
    assert (folder / "records.jsonl").stat().st_size > verify.records_file.SINGLE_PROCESS_BELOW
    done = run(sys.executable, ROOM, folder, "--key-file", key_file, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-500:]


def test_it_imports_the_standard_library_alone(package: Path, key_file: Path):
    program = (
        "import sys; before = set(sys.modules)\n"
        "from landscape_assets.verify import main\n"
        "status = main(sys.argv[1:])\n"
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "others = names - sys.stdlib_module_names - {'landscape_assets', '__mp_main__'}\n"
        "mine = {name for name in sys.modules if name.startswith('landscape_assets.') and '.verify' not in name}\n"
        "assert not others and not mine, (others, mine)\n"
        "sys.exit(status)"
    )
    done = run(sys.executable, "-c", program, package, "--key-file", key_file, cwd=ROOM.parents[1])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("size", [64, 63, 65])
def test_a_public_key_signature_that_was_not_checked(
    tmp_path: Path, key_file: Path, capsys: pytest.CaptureFixture, size: int
):
    """Without the public key the bytes of manifest.json.sig may be anybody's, and whoever reads the report is told."""
    folder = build.build(
        tmp_path,
        small_run(),
        private_key=PRIVATE_KEY,
        after=lambda files: files.update({"manifest.json.sig": b"x" * size}),
    )
    sound = size == 64
    for arguments, status in ((["--key-file", str(key_file)], 0), ([], 10)):
        assert main([str(folder), *arguments]) == (status if sound else 40)
        verdict, notice, *_ = capsys.readouterr().out.splitlines()
        assert ("VERIFIED" if status == 0 else "CONSISTENT") in verdict or not sound
        assert notice.startswith("  NOTICE: manifest.json.sig is there, but it was NOT CHECKED")
        assert main([str(folder), *arguments, "--json"]) == (status if sound else 40)
        (report,) = json.loads(capsys.readouterr().out)["packages"]
        assert [notice.startswith("manifest.json.sig is there") for notice in report["notices"]] == [True]
        (check,) = [check for check in report["checks"] if check["name"].startswith("Ed25519")]
        assert (check["outcome"], "manifest.json.sig is there" in check["detail"]) == ("not done", True)
    assert main([str(folder), "--key-file", str(key_file), "--public-key", str(PEM)]) == 40
    assert "NOTICE" not in capsys.readouterr().out


def test_no_notice_where_there_is_no_public_key_signature(package: Path, tmp_path: Path, key_file: Path):
    removed = build.build(
        tmp_path / "removed",
        small_run(),
        private_key=PRIVATE_KEY,
        after=lambda files: files.pop("manifest.json.sig"),
    )
    for folder, status in ((package, 0), (removed, 40)):
        report = verify_package(folder, key=KEY)
        assert (report.status, report.notices) == (status, [])


def test_another_key_is_told_of_in_few_lines(package: Path, capsys: pytest.CaptureFixture, tmp_path: Path):
    """One line for the signatures of all records where the manifest's is wrong too; the JSON report has each."""
    (tmp_path / "other").write_bytes(OTHER_KEY)
    assert main([str(package), "--key-file", str(tmp_path / "other")]) == 40
    lines = [line for line in capsys.readouterr().out.splitlines() if "E132" in line or "E322" in line]
    assert len(lines) == 2
    assert "of 32 records" in lines[1]
    assert main([str(package), "--key-file", str(tmp_path / "other"), "--json"]) == 40
    (report,) = json.loads(capsys.readouterr().out)["packages"]
    assert [one["record"] for one in report["findings"] if one["code"] == "E322"] == list(range(1, 33))


def test_wrong_signatures_of_records_are_listed_where_the_manifests_holds(tmp_path: Path):
    records = [build.sign(one, OTHER_KEY) for one in small_run()]
    report = verify_package(build.build(tmp_path, records), key=KEY)
    assert report.to_text().count("E322") == 31


def test_more_wrong_signatures_than_are_kept(tmp_path: Path):
    records = small_run()
    records += [{**records[-1], "artifact_id": f"artifact-{number:04}"} for number in range(1200)]
    report = verify_package(build.build(tmp_path, records, formats=("jsonl",)), key=OTHER_KEY)
    assert report.omitted == {"E322": 232}
    (line,) = [line for line in report.to_text().splitlines() if "E322" in line]
    assert "of 1232 records" in line


@pytest.mark.parametrize("tool", ["cryptography", "openssl"])
def test_public_keys(tmp_path: Path, tool: str, monkeypatch: pytest.MonkeyPatch):
    if tool == "openssl":
        if shutil.which("openssl") is None:
            pytest.skip("the command openssl is not installed")
        monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    folder = build.build(tmp_path, small_run(), private_key=PRIVATE_KEY)
    assert main([str(folder), "--public-key", str(PEM)]) == 0
    content = bytearray((folder / "manifest.json.sig").read_bytes())
    content[0] ^= 1
    (folder / "manifest.json.sig").write_bytes(content)
    assert main([str(folder), "--public-key", str(PEM)]) == 40


def test_both_keys_must_hold(tmp_path: Path):
    folder = build.build(tmp_path, small_run(), private_key=PRIVATE_KEY)
    pem = PEM.read_bytes()
    assert verify_package(folder, key=KEY, public_key=pem).status == 0
    assert verify_package(folder, key=OTHER_KEY, public_key=pem).status == 40
    other = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert verify_package(folder, key=KEY, public_key=other).status == 40


def test_no_tool_for_public_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    folder = build.build(tmp_path, small_run(), private_key=PRIVATE_KEY)
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([str(folder), "--public-key", str(PEM)]) == 2
    assert "neither is here" in capsys.readouterr().err


def test_public_keys_that_are_none(package: Path):
    private = PRIVATE_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for pem in (b"", b"x", private, PEM.read_bytes().replace(b"MCow", b"MCov")):
        with pytest.raises(UsageError):
            verify_package(package, public_key=pem)
    with pytest.raises(UsageError, match="blank"):
        verify_package(package, key=b"  ")
