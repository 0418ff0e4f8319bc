"""The command line, run in this process or in one of its own.

Belongs here: starting commands with an environment that only the test makes.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from landscape_assets.cli import main

KEY = "a key of the tests, longer than sixteen bytes"

_SETTINGS = (
    "DAGSTER_HOME",
    "LANDSCAPE_DATABASE_URL",
    "LANDSCAPE_EXPORT_DIR",
    "LANDSCAPE_SIGNING_KEY",
    "LANDSCAPE_SIGNING_KEY_FILE",
    "LANDSCAPE_SIGNING_KEY_ID",
    "LANDSCAPE_SIGNING_PRIVATE_KEY_FILE",
    "LANDSCAPE_LOG_ORIGIN",
    "LANDSCAPE_TIMESTAMP_URL",
    "LANDSCAPE_SIGN",
    "LANDSCAPE_FORMATS",
    "LANDSCAPE_MEMORY_MB",
    "LANDSCAPE_STORAGE_DIR",
    "LANDSCAPE_SCRATCH_DIR",
)


class Exporter:
    """Runs `landscape-assets` with the key KEY, unless the environment given says otherwise.

    Args:
        folder: where packages go, below `exports`; also the working folder of processes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "exports"

    def run(self, *arguments: object, **environment: str | None) -> Result:
        """A command in this process."""
        settings = dict.fromkeys(_SETTINGS) | {"LANDSCAPE_SIGNING_KEY": KEY} | environment
        return CliRunner().invoke(main, [str(argument) for argument in arguments], env=settings, catch_exceptions=False)

    def export(self, database: Path | str, *arguments: object, **environment: str | None) -> Result:
        """`export` of a SQLite file, or of the database that a URL names, into `output`."""
        url = database if isinstance(database, str) else f"sqlite:///{database}"
        return self.run("export", "--database", url, "--output", self.output, *arguments, **environment)

    def outcomes(self, database: Path | str, *arguments: object, **environment: str | None) -> list[dict[str, Any]]:
        """What `export --json` says of each run."""
        return json.loads(self.export(database, *arguments, "--json", **environment).stdout)

    def outcome(
        self, database: Path | str, run_id: str, *arguments: object, **environment: str | None
    ) -> dict[str, Any]:
        """What `export --json` says of one run."""
        (outcome,) = self.outcomes(database, f"--run-id={run_id}", *arguments, **environment)
        return outcome

    def start(self, *arguments: object, **environment: str | None) -> subprocess.Popen[str]:
        """A command in a process of its own."""
        mine = {name: value for name, value in os.environ.items() if name not in _SETTINGS}
        settings = {"LANDSCAPE_SIGNING_KEY": KEY} | environment
        return subprocess.Popen(
            [sys.executable, "-m", "landscape_assets.cli", *map(str, arguments)],
            env=mine | {name: value for name, value in settings.items() if value is not None},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def content(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder with its bytes; None for a folder."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }
