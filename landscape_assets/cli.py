"""The command line `landscape-assets`.

Belongs here: options, output and exit status of each command. Does not belong here: anything that is done with them; and no import
of Dagster or Polars at the top, so that `--help` answers at once.

Exit status: 0 all went well, 1 a run failed, 2 wrong usage or an unusable database.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from . import __version__
from .errors import ExportError

if TYPE_CHECKING:
    from .landscape import AuditDatabase
    from .orchestration.in_process import Outcome

_FORMATS = ("jsonl", "csv", "parquet")

_database_option = click.option(
    "--database",
    metavar="URL",
    envvar="LANDSCAPE_DATABASE_URL",
    show_envvar=True,
    help="The audit database, as a SQLAlchemy URL: sqlite:///FILE.",
)
_output_option = click.option(
    "--output",
    metavar="DIR",
    envvar="LANDSCAPE_EXPORT_DIR",
    show_envvar=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The export folder, in which each run gets its package.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output, and nothing else.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="landscape-assets")
def main() -> None:
    """Complete, ordered, signed exports of ELSPETH audit trails."""


@main.command()
@_database_option
@_output_option
@click.option("--run-id", "run_ids", metavar="ID", multiple=True, help="A run to export; may be given several times.")
@click.option("--all", "every", is_flag=True, help="Export every finished run.")
@click.option(
    "--sign/--no-sign",
    default=None,
    help="Sign every record and the manifest (the default), with the key in LANDSCAPE_SIGNING_KEY or the file named by "
    "LANDSCAPE_SIGNING_KEY_FILE.",
)
@click.option(
    "--format",
    "formats",
    type=click.Choice(_FORMATS),
    multiple=True,
    help="A format to write; may be given several times. All three by default.",
)
@click.option("--supersede", is_flag=True, help="Replace a package that differs; the old one is kept aside.")
@_json_option
def export(
    database: str | None,
    output: Path | None,
    run_ids: tuple[str, ...],
    every: bool,
    sign: bool | None,
    formats: tuple[str, ...],
    supersede: bool,
    as_json: bool,
) -> None:
    """Export runs: one package each, complete when its manifest is there."""
    if bool(run_ids) == every:
        raise click.UsageError("Name runs with --run-id, or take every finished run with --all.")
    _use_settings(database, output, sign, formats)
    from .orchestration import settings

    try:
        settings.export_dir()
        key = settings.signing_key()
        settings.manifest_key()
        settings.formats()
        settings.budget()
        with _open(settings.database_url()) as audit:
            if every:
                # One of an unknown status is corrupt, and is not passed over: it fails with that message.
                known = audit.contract.tables["runs"].column("status").values
                run_ids = tuple(
                    run.run_id
                    for run in audit.runs.values()
                    if run.is_finished(audit.contract) or run.status not in known
                )
    except ExportError as error:
        _stop(error)
    if key is not None and key.is_short:
        _say("Warning: the signing key is shorter than 16 bytes and may be guessed; use a longer one.")
    outcomes = list(_export_all(tuple(dict.fromkeys(run_ids)), supersede, quiet=as_json))
    if as_json:
        click.echo(json.dumps([_as_json(outcome) for outcome in outcomes], indent=2, ensure_ascii=False))
    sys.exit(1 if any(outcome.status == "failed" for outcome in outcomes) else 0)


@main.command()
@_database_option
@_output_option
@_json_option
def runs(database: str | None, output: Path | None, as_json: bool) -> None:
    """List the runs of the audit database, and whether each has a complete package."""
    _use_settings(database, output, None, ())
    from .export.package import is_complete, package_path
    from .orchestration import settings

    try:
        folder = settings.export_dir()
    except ExportError:
        folder = None  # without an export folder there is nothing to say of packages
    try:
        with _open(settings.database_url()) as audit:
            found = list(audit.runs.values())
            rows: list[dict[str, Any]] = [
                {
                    "run_id": run.run_id,
                    "status": run.status,
                    "started_at": run.started_at,
                    "completed_at": run.completed_at,
                    "exportable": run.is_finished(audit.contract),
                    "package": str(package_path(folder, run.run_id))
                    if folder is not None and is_complete(folder, run.run_id)
                    else None,
                }
                for run in found
            ]
    except ExportError as error:
        _stop(error)
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("run", "status", "started", "completed", "package")
    for row in rows:
        package = row["package"] or ("" if folder is None else "none" if row["exportable"] else "not finished")
        table.add_row(*(escape(str(row[name] or "")) for name in ("run_id", "status", "started_at", "completed_at")), escape(package))
    Console().print(table if rows else "The audit database has no runs.")


@main.command()
@click.argument("directory", metavar="[DIR]", default="demo", type=click.Path(file_okay=False, path_type=Path))
def demo(directory: Path) -> None:
    """Make a sample audit database in DIR (./demo), export it signed, and say what to look at."""
    from .demo import run_demo

    try:
        succeeded = run_demo(directory, lambda run_ids: list(_export_all(run_ids, False, quiet=False)))
    except ExportError as error:
        _stop(error)
    except BrokenPipeError:
        raise  # whoever read the output has gone; click ends quietly
    except OSError as error:
        _stop(ExportError(f"The sample cannot be written: {error.strerror or error} ({error.filename or directory})."))
    sys.exit(0 if succeeded else 1)


@main.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def verify(arguments: tuple[str, ...]) -> None:
    """Verify packages, without database, Dagster or network; `verify --help` tells all.

    The same as `python -m landscape_assets.verify`, which needs nothing installed beside it.
    """
    from .verify import main as verify_main

    sys.exit(verify_main(list(arguments), prog="landscape-assets verify"))


@main.command()
@click.argument("private_key", metavar="PRIVATE_KEY", type=click.Path(dir_okay=False, path_type=Path))
def keygen(private_key: Path) -> None:
    """Make an Ed25519 key pair for signing manifests: PRIVATE_KEY, and PRIVATE_KEY.pub to hand out.

    Set LANDSCAPE_SIGNING_PRIVATE_KEY_FILE to the first, keep it secret, and give the second to auditors by a way of its own.
    """
    from .keygen import make_key_pair

    try:
        public_key, key_id = make_key_pair(private_key)
    except OSError as error:
        _stop(ExportError(f"The key cannot be written: {error.strerror or error} ({error.filename or private_key})."))
    click.echo(f"private key  {private_key}\npublic key   {public_key}\nkey id       {key_id}")


def _use_settings(database: str | None, output: Path | None, sign: bool | None, formats: tuple[str, ...]) -> None:
    """Puts options into the environment, where assets and resources read all settings."""
    given = {
        "LANDSCAPE_DATABASE_URL": database,
        "LANDSCAPE_EXPORT_DIR": None if output is None else str(output.absolute()),
        "LANDSCAPE_SIGN": None if sign is None else "yes" if sign else "no",
        "LANDSCAPE_FORMATS": ",".join(formats) or None,
    }
    os.environ.update({name: value for name, value in given.items() if value is not None})


def _open(url: str) -> AuditDatabase:
    from .landscape import AuditDatabase

    return AuditDatabase(url)


def _export_all(run_ids: tuple[str, ...], supersede: bool, *, quiet: bool) -> Iterable[Outcome]:
    """Exports runs, with a progress bar on a terminal and plain lines otherwise."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from .orchestration.session import session

    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
    first = run_ids[0] if run_ids else None
    with progress, session(first, lambda step: progress.advance(task)) as exports:
        task = progress.add_task("", total=exports.steps * len(run_ids))
        for number, run_id in enumerate(run_ids, 1):
            progress.update(task, description=f"run {number} of {len(run_ids)}: {run_id}")
            outcome = exports.export(run_id, supersede=supersede)
            progress.update(task, completed=exports.steps * number)
            if not quiet:
                click.echo(_line(outcome), err=outcome.status == "failed")
            yield outcome


def _line(outcome: Outcome) -> str:
    if outcome.status == "failed":
        return f"{outcome.run_id}: failed: {outcome.error}"
    return f"{outcome.run_id}: {outcome.status}, {outcome.record_count:,} records, {outcome.package}"


def _as_json(outcome: Outcome) -> dict[str, Any]:
    document: dict[str, Any] = {
        "run_id": outcome.run_id,
        "package": None if outcome.package is None else str(outcome.package),
        "status": outcome.status,
        "record_count": outcome.record_count,
        "final_hash": outcome.final_hash,
    }
    return document | ({"error": outcome.error} if outcome.error is not None else {})


def _say(text: str) -> None:
    click.echo(text, err=True)


def _stop(error: ExportError) -> NoReturn:
    _say(f"Error: {error}")
    sys.exit(2)


if __name__ == "__main__":
    main()
