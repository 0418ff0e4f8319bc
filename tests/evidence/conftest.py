"""What the tests of disclosures and of the log have in common.

Belongs here: keys, and packages to work with. Does not belong here: what is done with them.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.exporter import KEY, Exporter
from support.sample_v1 import write_sample

from landscape_assets.keygen import make_key_pair
from landscape_assets.storage.names import folder_name

ORIGIN = "exports.example.org/audit"


@dataclass(frozen=True)
class Signer:
    """A key pair, and the settings that make an export use it."""

    private: Path
    public: Path

    @property
    def settings(self) -> dict[str, str]:
        return {"LANDSCAPE_SIGNING_PRIVATE_KEY_FILE": str(self.private), "LANDSCAPE_LOG_ORIGIN": ORIGIN}

    @property
    def public_key(self) -> bytes:
        return self.public.read_bytes()


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """The key pair of the exports."""
    private = tmp_path_factory.mktemp("keys") / "private.pem"
    public, _ = make_key_pair(private)
    return Signer(private, public)


@pytest.fixture(scope="session")
def other_signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """Another key pair."""
    private = tmp_path_factory.mktemp("keys") / "other.pem"
    public, _ = make_key_pair(private)
    return Signer(private, public)


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Path:
    """An export folder with every finished run of the sample; not to be changed."""
    folder = tmp_path_factory.mktemp("exports")
    write_sample(folder / "landscape.db")
    exporter = Exporter(folder)
    result = exporter.export(folder / "landscape.db", "--all", **signer.settings)
    assert result.exit_code == 0, result.output
    return exporter.output


@pytest.fixture
def folder(exports: Path, tmp_path: Path) -> Path:
    """A copy of that export folder."""
    return Path(shutil.copytree(exports, tmp_path / "exports", symlinks=True))


def packages(folder: Path) -> dict[str, Path]:
    """run_id → package."""
    found = {}
    for path in sorted(folder.iterdir()):
        if not path.name.startswith("."):
            run_id = json.loads((path / "manifest.json").read_bytes())["run_id"]
            assert path.name == folder_name(run_id)
            found[run_id] = path
    return found


def records_of(package: Path) -> list[dict[str, Any]]:
    """The data records of a package."""
    return [json.loads(line) for line in (package / "records.jsonl").read_bytes().splitlines()[:-1]]


Run = Callable[..., Any]

__all__ = ["KEY", "ORIGIN", "Signer", "packages", "records_of"]
