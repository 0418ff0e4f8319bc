"""The sample: an audit database, a key, an export of it, and what to look at.

Belongs here: what `landscape-assets demo` makes and says. Does not belong here: the sample's content (`sample/`).
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .sample import COMPLETED_RUN, FAILED_RUN, write_sample

if TYPE_CHECKING:
    from .pipeline import Outcome

_PROJECT = Path(__file__).resolve().parent.parent
"""The folder of the project, where this is a clone of it."""


def run_demo(directory: Path, report: Callable[[Outcome], None], tell: Callable[[str], None]) -> bool:
    """Makes what is not there yet, exports the sample's finished runs through Dagster, and says where everything is.

    Args:
        directory: the folder of the sample.
        report: prints what became of an export.
        tell: prints text.

    Returns:
        Whether both runs were exported.

    Raises:
        ExportError: a setting is wrong.
        OSError: the folder cannot be written to.
    """
    from .settings import MEMORY_MB, SAMPLE_DIR, SAMPLE_FILES, SCRATCH_DIR, STORAGE_DIR, Settings, sample_settings

    root = directory.absolute()
    database, exports, key = (root / file for file in SAMPLE_FILES.values())
    root.mkdir(parents=True, exist_ok=True)
    if not database.exists():
        write_sample(database)
    if not key.exists():
        descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    environment, of_sample = Settings.from_environment(), sample_settings(root)
    home = Path(environment.dagster_home or root / "dagster_home").absolute()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        instance = resources.files("landscape_assets.dagster_defs").joinpath("dagster.yaml")
        (home / "dagster.yaml").write_text(instance.read_text("utf-8"))

    # The sample is exported with its own key and no other, whole.
    kept = {
        name: environment.given[name] for name in (MEMORY_MB, SCRATCH_DIR, STORAGE_DIR) if name in environment.given
    }
    settings = Settings(kept | of_sample)
    tell("Exporting the two finished runs of the sample (a third is still running, and is left alone):")
    from .dagster_defs.in_process import export_in_process

    succeeded, compared = True, list[str]()
    for outcome in export_in_process((COMPLETED_RUN, FAILED_RUN), settings, home):
        report(outcome)
        succeeded &= outcome.published is not None
        if outcome.published is not None:
            compared += comparisons(outcome.run_id, outcome.published.manifest)
    if compared:
        tell("\nCompared with what ELSPETH exported itself, and noted in the audit database:\n" + "\n".join(compared))

    in_place = root == SAMPLE_DIR.absolute()
    variables = {"DAGSTER_HOME": str(home)}
    if not in_place:
        variables |= of_sample
    command = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    is_clone = Path.cwd() == _PROJECT and Path("pyproject.toml").is_file()
    start = "dg dev" if is_clone else "dg dev -m landscape_assets.definitions"
    activate = Path(sys.prefix, "bin", "activate")
    if activate.is_file() and shutil.which("dg") != str(activate.with_name("dg")):
        command = f". {shlex.quote(str(activate))} && {command}"  # called by its path, as the README does
    tell(
        f"""
Where everything is:
  audit database   {database}
  signing key      {key}
  packages         {exports}
  Dagster's home   {home}

See how the exports came about, in the Dagster UI:
  {command} {start}
  Open http://127.0.0.1:3000/assets/export/manifest and choose the partition {COMPLETED_RUN}: the manifest, and
  from it back to every table. The whole graph is at http://127.0.0.1:3000/asset-groups.

Look at a package:
  {exports / COMPLETED_RUN / "report.html"}      what happened in the run, as a page for people
  {exports / COMPLETED_RUN / "manifest.json"}    what makes it complete
  {exports / COMPLETED_RUN / "records.jsonl"}    every record, signed, in order
  {exports / COMPLETED_RUN / "VERIFY.md"}        how anyone can check it"""
    )
    return succeeded


def comparisons(run_id: str, manifest: Mapping[str, Any]) -> list[str]:
    """What a package says of the exports that its run made of itself, a line for each.

    Args:
        run_id: the run.
        manifest: the content of the package's manifest.json.

    Returns:
        Nothing where ELSPETH noted no export of the run.
    """
    found = {
        "equal": "what is derived from the database now equals it",
        "different": "what is derived from the database now is DIFFERENT",
        "not compared": "it could not be compared",
    }
    return [
        f"  {run_id}, export {each['snapshot_id'][:12]}…: {found[each['result']]}"
        + (f" ({each['reason']})" if each["reason"] else "")
        for each in manifest.get("elspeth_snapshots", ())
    ]
