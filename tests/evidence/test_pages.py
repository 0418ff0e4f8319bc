"""The commands of docs/auditors.md under "Three questions", as they are printed there.

Belongs here: running them, on what is sound and on what is not. Does not belong here: VERIFY.md (`tests/trust/`).
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from support.exporter import Exporter
from support.sample_v1 import COMPLETED_RUN

from landscape_assets.evidence.disclose import Choice, disclose

from .conftest import Signer, packages, records_of

PAGE = (Path(__file__).parents[2] / "docs" / "auditors.md").read_text("utf-8")
SECTION = PAGE.partition("## Three questions\n")[2].partition("\n## ")[0]
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
SCRIPT = re.findall(r"^```bash\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
TOOLS = ("bash", "jq", "openssl", "sha256sum", "base64", "sed", "cut")


@pytest.fixture
def disclosure(exports: Path, tmp_path: Path) -> Path:
    """Of the first and the last record, and of some between."""
    package = packages(exports)[COMPLETED_RUN]
    row = next(record["row_id"] for record in records_of(package) if record["record_type"] == "row")
    last = records_of(package)[-1]
    choice = Choice(records=(("run", COMPLETED_RUN), (last["record_type"], last["artifact_id"])), rows=(row,))
    made = disclose(package, choice)
    assert min(made.records) == 0
    assert max(made.records) == 201
    path = tmp_path / "disclosure.json"
    path.write_bytes(made.data)
    return path


def test_the_commands_of_the_verifier(
    exports: Path, disclosure: Path, exporter: Exporter, signer: Signer, tmp_path: Path
):
    """Each of the four is as printed but for the names of the files, and answers 0."""
    verifier, proof = tmp_path / "landscape-verify.pyz", tmp_path / "package.tlog-proof"
    assert exporter.run("verifier-file", verifier).exit_code == 0
    assert exporter.run("log", "prove", exports / COMPLETED_RUN, "-o", proof).exit_code == 0
    names = {
        "FILE.tlog-proof": proof,
        "DISCLOSURE": disclosure,
        "EXPORT_DIR": exports,
        "KEPT": exports / ".log" / "checkpoint",
        "PACKAGE": exports / COMPLETED_RUN,
        "public-key.pem": signer.public,
        "landscape-verify.pyz": verifier,
        "python3": sys.executable,
    }
    assert len(COMMANDS) == 4
    for command in COMMANDS:
        words = [str(names.get(word, word)) for word in command.split()]
        ended = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
        assert (ended.returncode, ended.stderr) == (0, ""), (words, ended.stdout, ended.stderr)
        assert "VERIFIED with the key given" in ended.stdout


def by_hand(disclosure: Path, key: Path) -> subprocess.CompletedProcess[str]:
    (script,) = SCRIPT
    bash = shutil.which("bash")
    assert bash is not None
    variables = {"disclosure": str(disclosure), "key": str(key), "PATH": os.environ["PATH"]}
    return subprocess.run([bash, "-c", script], env=variables, capture_output=True, text=True, timeout=300, check=False)


needs_tools = pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"one of {', '.join(TOOLS)} is not there")


@needs_tools
def test_stock_tools(disclosure: Path, signer: Signer):
    """The script of the page comes to the same verdict, record by record."""
    ended = by_hand(disclosure, signer.public)
    assert ended.returncode == 0, ended.stderr
    count = len(json.loads(disclosure.read_bytes())["records"])
    assert ended.stdout.count("of 202: in the tree") == count > 5


def _first(document: dict[str, Any]) -> dict[str, Any]:
    return document["records"][0]


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a line": lambda one: _first(one).update(line=_first(one)["line"].replace("completed", "failed")),
    "a place": lambda one: _first(one).update(index=1),
    "a place beyond": lambda one: _first(one).update(index=202),
    "a hash": lambda one: _first(one)["proof"].__setitem__(0, "00" * 32),
    "a hash too many": lambda one: _first(one)["proof"].append("00" * 32),
    "a hash too few": lambda one: _first(one)["proof"].pop(),
    "the manifest": lambda one: one.update(manifest=one["manifest"].replace('"size":202', '"size":201')),
    "the signature": lambda one: one.update(manifest_signature="A" + one["manifest_signature"][1:]),
    "no records": lambda one: one.update(records=[]),
}


@needs_tools
@pytest.mark.parametrize("name", CHANGES)
def test_stock_tools_refuse_what_was_changed(name: str, disclosure: Path, signer: Signer):
    document = json.loads(disclosure.read_bytes())
    CHANGES[name](document)
    changed = rfc8785.dumps(document)
    assert changed != disclosure.read_bytes()
    disclosure.write_bytes(changed)
    assert by_hand(disclosure, signer.public).returncode != 0


@needs_tools
def test_stock_tools_refuse_another_key(disclosure: Path, other_signer: Signer):
    assert by_hand(disclosure, other_signer.public).returncode != 0
