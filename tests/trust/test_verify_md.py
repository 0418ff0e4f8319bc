"""VERIFY.md: its commands run as they stand, by a shell that finds nothing but sha256sum and openssl.

Belongs here: what the commands say of a whole package and of a changed one. Does not belong here: the verifier
(`../verify/`).
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.exporter import Exporter

from landscape_assets.keygen import make_key_pair
from landscape_assets.sample import COMPLETED_RUN

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "sha256sum", "openssl"))), reason="bash, sha256sum or openssl is not there"
)


@pytest.fixture(scope="module")
def exported(sample_file, tmp_path_factory):
    """An export folder with a signed package and the public key beside it, as VERIFY.md wants it; not to be changed."""
    folder = tmp_path_factory.mktemp("exported")
    public, _ = make_key_pair(folder / "private.pem")
    exporter = Exporter(folder)
    private = str(folder / "private.pem")
    assert exporter.outcome(sample_file, COMPLETED_RUN, LANDSCAPE_SIGNING_PRIVATE_KEY_FILE=private)["package"]
    shutil.copy(public, exporter.output / "public-key.pem")
    return exporter.output


@pytest.fixture
def package(exported, tmp_path):
    """A copy of that package, in a copy of that folder."""
    return Path(shutil.copytree(exported, tmp_path / "exports")) / COMPLETED_RUN


@pytest.fixture
def shell(tmp_path):
    """Runs the commands of a package's VERIFY.md one after the other."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sha256sum", "openssl"):
        (tools / name).symlink_to(shutil.which(name))
    bash = shutil.which("bash")

    def run(package: Path) -> list[subprocess.CompletedProcess[str]]:
        blocks = re.findall(r"^```sh\n(.*?)^```$", (package / "VERIFY.md").read_text(), re.MULTILINE | re.DOTALL)
        return [
            subprocess.run(
                [bash, "-c", block], cwd=package, env={"PATH": str(tools)}, capture_output=True, text=True, timeout=60
            )
            for block in blocks
        ]

    return run


def is_accepted(package: Path, done: list[subprocess.CompletedProcess[str]]) -> bool:
    """Whether someone who does as the page says finds nothing wrong."""
    manifest = json.loads((package / "manifest.json").read_text("utf-8", "replace"))
    sums = {file["path"]: file["sha256"] for file in manifest["files"]}
    key, signature, page, files = done
    return (
        all(one.returncode == 0 for one in done)
        and key.stdout.split()[0] == manifest["public_key"]["key_id"]
        and "Signature Verified Successfully" in signature.stdout
        and page.stdout.split()[0] == sums["VERIFY.md"]
        and {line.removesuffix(": OK") for line in files.stdout.splitlines()} == set(sums) - {"VERIFY.md"}
    )


def test_the_commands_accept_a_whole_package(package, shell):
    """Four commands: the key's id, the signature, the page's own sum, and the sums of all other files; all are well."""
    assert is_accepted(package, shell(package))


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "manifest.json.sig", "VERIFY.md", "records.jsonl", "csv/token.csv", "parquet/call.parquet"],
)
def test_the_commands_refuse_a_changed_file(package, shell, name):
    """One bit in any kind of file is seen by some command."""
    path = package / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    try:
        accepted = is_accepted(package, shell(package))
    except ValueError:  # the manifest or the page can no longer be followed
        accepted = False
    assert not accepted


@pytest.mark.parametrize("name", ["manifest.json.sig", "records.jsonl", "csv/token.csv"])
def test_the_commands_refuse_a_missing_file(package, shell, name):
    """A file that is not there makes a command fail."""
    (package / name).unlink()
    assert not is_accepted(package, shell(package))


def test_the_commands_refuse_another_key(package, shell, tmp_path):
    """Another public key has another id than the page names, and the signature is not its."""
    other, _ = make_key_pair(tmp_path / "other.pem")
    shutil.copy(other, package.parent / "public-key.pem")
    key, signature, _, _ = shell(package)
    assert key.stdout.split()[0] not in (package / "VERIFY.md").read_text()
    assert signature.returncode != 0


def test_the_page_of_an_unsigned_package_names_no_key(sample, exporter, shell):
    """Without a public-key signature there are two commands, both of sha256sum, and both are well."""
    done = shell(Path(exporter.outcome(sample, COMPLETED_RUN, "--no-sign")["package"]))
    assert [one.returncode for one in done] == [0, 0]
