"""The command line `landscape-assets`.

Belongs here: options, output and exit status of each command. Does not belong here: anything that is done with them;
and no import of Dagster or Polars at the top, so that `--help` answers at once.

Exit status: 0 all went well, 1 a run failed or damage was found, 2 wrong usage, settings, database, or output.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import __version__
from .console import (
    NonEmptyPath,
    Report,
    database_option,
    ending_with_errors,
    json_option,
    output_error,
    output_option,
    say,
    stop,
    texts,
)
from .errors import ExportError
from .evidence_commands import disclose, log
from .printable import printable
from .process import collect_seldom, prepare_libraries, require_limits
from .report_command import report as report_command

if TYPE_CHECKING:
    from .database import AuditDatabase
    from .pipeline import Outcome
    from .settings import Settings

_FORMATS = ("jsonl", "csv", "parquet", "html")


class _Commands(click.Group):
    """The commands; an output that cannot be written ends each with a sentence."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            # What is done with files and folders says itself what went wrong; this comes of printing alone.
            stop(output_error(error))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="landscape-assets")
def main() -> None:
    """Complete, ordered, signed exports of ELSPETH audit trails."""
    prepare_libraries()
    collect_seldom()


@main.command(
    epilog="Exit status: 0 all went well, 1 a run failed, 2 wrong usage, a wrong setting, an unusable database, or a "
    "report that could not be written."
)
@database_option
@output_option
@click.option(
    "--run-id",
    "run_ids",
    metavar="ID",
    multiple=True,
    callback=texts,
    help="A run to export; may be repeated.",
)
@click.option("--all", "every", is_flag=True, help="Export every finished run.")
@click.option(
    "--sign/--no-sign",
    default=None,
    help="Sign every record and the manifest (the default), with the key in LANDSCAPE_SIGNING_KEY or the file named by "
    "LANDSCAPE_SIGNING_KEY_FILE.  [env var: LANDSCAPE_SIGN=yes|no]",
)
@click.option(
    "--format",
    "formats",
    type=click.Choice(_FORMATS),
    multiple=True,
    help="A format to write; may be repeated. All by default.  [env var: LANDSCAPE_FORMATS=FORMAT,...]",
)
@click.option("--supersede", is_flag=True, help="Replace a package that differs; the old one is kept aside.")
@click.option("--interrupted", is_flag=True, help="Export runs that are named even if they may be resumed.")
@json_option
def export(
    database: str | None,
    output: Path | None,
    run_ids: tuple[str, ...],
    every: bool,
    sign: bool | None,
    formats: tuple[str, ...],
    supersede: bool,
    interrupted: bool,
    as_json: bool,
) -> None:
    """Export runs: one package each, complete when its manifest is there."""
    if bool(run_ids) == every:
        raise click.UsageError("Name runs with --run-id, or take every finished run with --all.")
    if interrupted and every:
        raise click.UsageError("An interrupted run is exported only when it is named with --run-id.")
    with ending_with_errors():
        require_limits()
        settings = _settings(database, output, sign, formats, supersede, interrupted).check()
        with _open(settings.database_url) as audit:
            if every:
                # A damaged one is not passed over: it fails with a message of its own.
                known = audit.contract.tables["runs"].column("status").values
                run_ids = tuple(
                    run.run_id
                    for run in audit.runs.values()
                    if run.is_finished(audit.contract) or run.damage or run.status not in known
                )
        settings.require_folders()
        if settings.key is not None and settings.key.is_short:
            say("Warning: the signing key is shorter than 16 bytes and may be guessed; use a longer one.")
        with ending_with_errors(
            "The export folder or another (LANDSCAPE_EXPORT_DIR, LANDSCAPE_SCRATCH_DIR) cannot be used"
        ):
            if every and not run_ids:
                say("Nothing to export: the audit database has no finished run.")
            report = Report()
            outcomes = _export_all(tuple(dict.fromkeys(run_ids)), settings, report, quiet=as_json) if run_ids else []
    if as_json:
        report.line(json.dumps([_as_json(outcome) for outcome in outcomes], indent=2, ensure_ascii=False))
    if report.error is not None:
        counts = Counter(outcome.status for outcome in outcomes)
        done = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "nothing to export"
        stop(
            ExportError(f"{report.error} The work itself is done: {done}. `landscape-assets runs` lists the packages.")
        )
    sys.exit(1 if any(outcome.status == "failed" for outcome in outcomes) else 0)


@main.command()
@database_option
@output_option
@json_option
def runs(database: str | None, output: Path | None, as_json: bool) -> None:
    """List the runs of the audit database, and whether each has a complete package.

    A table on a terminal. Elsewhere one line a run, with tabs between run_id, status, start, end and package.
    """
    with ending_with_errors("The export folder (--output or LANDSCAPE_EXPORT_DIR) cannot be read"):
        require_limits()
        from .status import list_runs

        settings = _settings(database, output)
        rows, packages = list_runs(settings.database_url, settings.export_dir_if_set)
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    if not rows:
        say("The audit database has no runs.")
        return
    shown = ("run_id", "status", "started_at", "completed_at")
    lines = [
        [printable(text or "") for text in (*(row[name] for name in shown), package)]
        for row, package in zip(rows, packages, strict=True)
    ]
    if not sys.stdout.isatty():
        for line in lines:
            click.echo("\t".join(line))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in ("run", "status", "started", "completed", "package"):
        table.add_column(name, overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))
    Console().print(table)


@main.command(epilog="Exit status: 0 nothing found, 1 damage found, 2 wrong usage or an unusable database.")
@database_option
@json_option
def check(database: str | None, as_json: bool) -> None:
    """Look through the whole audit database for damage that belongs to no run, or to two.

    That is rows without a run or a parent, rows whose parents are of another run, and ids that occur more than once. An
    export reads the rows of its run alone, and does not see them. One line each on standard output, by table, id and
    column.
    """
    with ending_with_errors():
        from .database.integrity import find_damage

        count = 0
        with _open(_settings(database).database_url) as audit:
            for count, found in enumerate(find_damage(audit), 1):
                if not as_json:
                    click.echo(printable(str(found)))
                    continue
                document = {name: getattr(found, name) for name in ("table", "id", "column", "found", "rule")}
                click.echo(("[" if count == 1 else ",") + json.dumps(document, ensure_ascii=False))
            looked_at = f"{len(audit.contract.tables)} tables of {len(audit.runs):,} run(s) were looked at."
    if as_json:
        click.echo("]" if count else "[]")
    elif count:
        say(f"{count:,} finding(s); {looked_at}")
    else:
        click.echo(f"Nothing found; {looked_at}")
    sys.exit(1 if count else 0)


@main.command(
    "status",
    epilog="Exit status: 0 all is there, 1 a package is missing or bad, 2 wrong usage or an unusable database.",
)
@database_option
@output_option
@json_option
def status_(database: str | None, output: Path | None, as_json: bool) -> None:
    """Say at one look whether every finished run has its package: the newest one, the oldest missing one, bad ones.

    Bad are packages whose manifest cannot be read, or that lack a file or have one of another size. Contents are read
    by `verify`.
    """
    with ending_with_errors():
        from .status import export_status

        settings = _settings(database, output)
        found = export_status(settings.database_url, settings.export_dir)
    for line in [json.dumps(found.document, ensure_ascii=False)] if as_json else map(printable, found.lines):
        click.echo(line)
    sys.exit(0 if found.is_good else 1)


@main.command()
@click.argument("directory", metavar="[DIR]", default="demo", type=NonEmptyPath(file_okay=False, path_type=Path))
def demo(directory: Path) -> None:
    """Make a sample audit database in DIR (./demo), export it signed, and say what to look at."""
    from .demo import run_demo

    with ending_with_errors("The sample cannot be written"):
        require_limits()
        report = Report()
        succeeded = run_demo(
            directory,
            lambda outcome: report.line(_line(outcome), err=outcome.published is None),
            report.line,
        )
    if report.error is not None:
        stop(report.error)
    sys.exit(0 if succeeded else 1)


class _Verbatim(click.Command):
    """A command whose arguments are another parser's, a `--` too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ["--", *args])


@main.command(cls=_Verbatim, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def verify(arguments: tuple[str, ...]) -> None:
    """Verify packages, without database, Dagster or network; `verify --help` tells all.

    The same as `python -m landscape_assets.verify`, which needs nothing installed beside it.
    """
    from .verify import main as verify_main

    sys.exit(verify_main(list(arguments), prog="landscape-assets verify"))


@main.command("verifier-file")
@click.argument("file", metavar="[FILE]", default="landscape-verify.pyz", type=click.Path(path_type=Path))
def verifier_file(file: Path) -> None:
    """Write the verifier as one file (./landscape-verify.pyz), to hand to an auditor, and print its SHA-256.

    It needs Python 3.11 or newer and nothing else. The same version always gives the same bytes.
    """
    from .package.verifier_file import write_verifier_file

    with ending_with_errors("The verifier cannot be written"):
        click.echo(f"{write_verifier_file(file)}  {file}")


@main.command()
@click.argument("private_key", metavar="PRIVATE_KEY", type=NonEmptyPath(dir_okay=False, path_type=Path))
def keygen(private_key: Path) -> None:
    """Make an Ed25519 key pair for signing manifests: PRIVATE_KEY, and PRIVATE_KEY.pub to hand out.

    Set LANDSCAPE_SIGNING_PRIVATE_KEY_FILE to the first, keep it secret, and give the second to auditors by a way of its
    own.
    """
    from .keygen import make_key_pair

    try:
        public_key, key_id = make_key_pair(private_key)
    except OSError as error:
        stop(ExportError(f"The key cannot be written: {error.strerror or error} ({error.filename or private_key})."))
    click.echo(f"private key  {private_key}\npublic key   {public_key}\nkey id       {key_id}")


main.add_command(report_command)


def _settings(
    database: str | None = None,
    output: Path | None = None,
    sign: bool | None = None,
    formats: tuple[str, ...] = (),
    supersede: bool = False,
    interrupted: bool = False,
) -> Settings:
    """The settings of the environment, with what options say instead."""
    from .settings import DATABASE_URL, EXPORT_DIR, FORMAT_NAMES, SIGN, Settings

    options = {
        DATABASE_URL: database,
        EXPORT_DIR: None if output is None else str(output),
        SIGN: None if sign is None else "yes" if sign else "no",
        FORMAT_NAMES: ",".join(formats) or None,
    }
    return Settings.from_environment(options, supersede=supersede, interrupted=interrupted)


def _open(url: str) -> AuditDatabase:
    from .database import AuditDatabase

    return AuditDatabase(url)


def _export_all(run_ids: tuple[str, ...], settings: Settings, report: Report, *, quiet: bool) -> list[Outcome]:
    """Exports runs, with a progress bar on a terminal and plain lines otherwise; the outcomes in their order."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from .pipeline import export_runs

    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} records"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
    outcomes: dict[str, Outcome] = {}
    with progress:
        task = progress.add_task(f"{len(run_ids)} runs", total=None)
        for outcome in export_runs(
            run_ids, settings, lambda done, total: progress.update(task, completed=done, total=total)
        ):
            outcomes[outcome.run_id] = outcome
            progress.update(task, description=f"{len(outcomes)} of {len(run_ids)} runs")
            if not quiet:
                report.line(_line(outcome), err=outcome.status == "failed")
    for problem in dict.fromkeys(one.log_problem for one in outcomes.values() if one.log_problem is not None):
        say(f"Warning: {problem}")
    return [outcomes[run_id] for run_id in run_ids]


def _line(outcome: Outcome) -> str:
    if outcome.published is None:
        return printable(f"{outcome.run_id}: failed: {outcome.error}")
    count = outcome.published.manifest["record_count"]
    return printable(f"{outcome.run_id}: {outcome.status}, {count:,} records, {outcome.published.path}")


def _as_json(outcome: Outcome) -> dict[str, Any]:
    published = outcome.published
    document: dict[str, Any] = {
        "run_id": outcome.run_id,
        "package": None if published is None else str(published.path),
        "status": outcome.status,
        "record_count": None if published is None else published.manifest["record_count"],
        "final_hash": None if published is None else published.manifest["final_hash"],
    }
    if outcome.log_index is not None:
        document["log_index"] = outcome.log_index
    return document | ({"error": outcome.error} if outcome.error is not None else {})


main.add_command(disclose)
main.add_command(log)

if __name__ == "__main__":
    main()
