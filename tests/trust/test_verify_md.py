"""VERIFY.md: its commands run as they stand, by a shell that finds nothing but sha256sum, find and openssl.

Belongs here: what the commands say of a whole package and of a changed one. Does not belong here: the verifier
(`../verify/`).
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from support.exporter import Exporter
from support.sample_v1 import COMPLETED_RUN

from landscape_assets.keygen import make_key_pair

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "sha256sum", "find", "openssl"))),
    reason="bash, sha256sum, find or openssl is not there",
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
    """Runs the commands of a package's VERIFY.md one after the other; none after the first where that prints anything,
    as the page says."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sha256sum", "find", "openssl"):
        (tools / name).symlink_to(shutil.which(name))
    bash = shutil.which("bash")

    def run(package: Path, page: str | None = None) -> list[subprocess.CompletedProcess[str]]:
        page = page or (package / "VERIFY.md").read_text()
        done = []
        for block in re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
            command = [bash, "-c", block]
            done.append(
                subprocess.run(
                    command,
                    cwd=package,
                    env={"PATH": str(tools)},
                    check=False,
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
            )
            if done[0].stdout:
                break
        return done

    return run


def is_accepted(package: Path, done: list[subprocess.CompletedProcess[str]]) -> bool:
    """Whether someone who does as the page says finds nothing wrong."""
    if done[0].stdout:
        return False
    manifest = json.loads((package / "manifest.json").read_text("utf-8", "replace"))
    sums = {file["path"]: file["sha256"] for file in manifest["files"]}
    _, key, signature, page, files = done
    return (
        all(one.returncode == 0 for one in done)
        and key.stdout.split()[0] == manifest["public_key"]["key_id"]
        and "Signature Verified Successfully" in signature.stdout
        and page.stdout.split()[0] == sums["VERIFY.md"]
        and {line.removesuffix(": OK") for line in files.stdout.splitlines()} == set(sums) - {"VERIFY.md"}
    )


def test_the_commands_accept_a_whole_package(package, shell):
    """Five commands: what is there, the key's id, the signature, the page's own sum, and the sums of all other files;
    all are well."""
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


@pytest.mark.parametrize(
    "name",
    ["evil.txt", ".hidden", "csv/more.csv", "manifest.json ", "folder/", "csv/folder/", "parquet/fifo|", "link@"],
)
def test_the_commands_refuse_an_added_file(package, shell, name):
    """A file, a folder, a FIFO or a link, at the top or further down, is listed."""
    path = package / name.rstrip("/|@")
    if name.endswith("/"):
        path.mkdir()
    elif name.endswith("|"):
        os.mkfifo(path)
    elif name.endswith("@"):
        path.symlink_to("records.jsonl")
    else:
        path.write_bytes(b"")
    done = shell(package)
    assert not is_accepted(package, done)
    assert [one.stdout for one in done] == [f"./{path.relative_to(package)}\n"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in ("records.jsonl", "manifest.json", "manifest.json.sig", "VERIFY.md", "csv/token.csv", "csv")
        for kind in ("link", "fifo", "folder", "socket")
        if (name, kind) != ("csv", "folder")
    ],
)
@pytest.mark.timeout(60)
def test_what_only_looks_like_a_file_is_listed_before_anything_is_opened(package, shell, name, kind):
    """A link, a FIFO, a folder or a socket in the place of any file, and of a folder: the first step names it, and
    nothing was opened, which for a FIFO would never have ended."""
    page = (package / "VERIFY.md").read_text()
    path = package / name
    path.rename(package.parent / "elsewhere")
    if kind == "link":
        path.symlink_to(package.parent / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(path.parent):
            listener.bind(path.name)
    done = shell(package, page)
    assert [one.stdout for one in done] == [f"./{name}\n"]
    assert not is_accepted(package, done)


def test_the_commands_refuse_another_key(package, shell, tmp_path):
    """Another public key has another id than the page names, and the signature is not its."""
    other, _ = make_key_pair(tmp_path / "other.pem")
    shutil.copy(other, package.parent / "public-key.pem")
    _, key, signature, *_ = shell(package)
    assert key.stdout.split()[0] not in (package / "VERIFY.md").read_text()
    assert signature.returncode != 0


def test_the_page_of_an_unsigned_package_names_no_key(sample, exporter, shell):
    """Without a public-key signature there are three commands, none of openssl, and all are well."""
    done = shell(Path(exporter.outcome(sample, COMPLETED_RUN, "--no-sign")["package"]))
    assert [one.returncode for one in done] == [0, 0, 0]
    assert done[0].stdout == ""
