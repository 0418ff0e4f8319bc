"""The command line `landscape-assets`.

Belongs here: options, output and exit status of each command. Does not belong here: anything that is done with them;
and no import of Dagster or Polars at the top, so that `--help` answers at once.

Exit status: 0 all went well, 1 a run failed or damage was found, 2 wrong usage, a wrong setting, an unusable database,
or output that cannot be written.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from . import __version__
from .errors import NO_MEMORY, ExportError
from .printable import printable

if TYPE_CHECKING:
    from .database import AuditDatabase
    from .pipeline import ExportSettings, Outcome

_FORMATS = ("jsonl", "csv", "parquet")

LIBRARY_ENVIRONMENT = {
    # The allocators of Arrow and of Polars. Arrow's keeps freed memory for a second unless told otherwise, and a step
    # that works through batches then holds several that are not used; in less than a tenth of one it gives away what
    # the next batch takes (measured: 510 MB with 1,000 ms, 482 with 100, 476 and a quarter more page faults with 10).
    # That of Polars keeps some for each of eight arenas; one is as fast for the few threads of an export (measured: 20
    # MB less).
    "MIMALLOC_PURGE_DELAY": "100",
    "_RJEM_MALLOC_CONF": "narenas:1",
    # NumPy's linear algebra, which is not used here, would start threads that wait for work in a loop.
    "OPENBLAS_NUM_THREADS": "1",
}
"""What Arrow, Polars and NumPy read from the environment as they are loaded; deploy/Dockerfile has the same."""


_OPEN_FILES = 256
"""Files that an export may have open at a time: tables, databases, and what libraries open as they are loaded."""

_ADDRESSES_KB = 4_000_000
"""Address space that an export needs: libraries and the stacks of threads reserve far more than they use."""


class _Text(click.ParamType):
    """Text that is not empty: an unset variable of a shell gives the empty text, and was meant to be something."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value:
            self.fail("it is empty.", param, ctx)
        return value


class _Path(click.Path):
    """A path that is not empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty.", param, ctx)
        return super().convert(value, param, ctx)


_database_option = click.option(
    "--database",
    metavar="URL",
    type=_Text(),
    envvar="LANDSCAPE_DATABASE_URL",
    show_envvar=True,
    help="The audit database, as a SQLAlchemy URL: sqlite:///FILE, or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE "
    "(with a password better in the variable: others can see arguments).",
)
_output_option = click.option(
    "--output",
    metavar="DIR",
    envvar="LANDSCAPE_EXPORT_DIR",
    show_envvar=True,
    type=_Path(path_type=Path),
    help="The export folder, in which each run gets its package.",
)
_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on standard output, and nothing else."
)


class _Commands(click.Group):
    """The commands; an output that cannot be written ends each with a sentence."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            # What is done with files and folders says itself what went wrong; this comes of printing alone.
            _stop(_unwritten(error))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="landscape-assets")
def main() -> None:
    """Complete, ordered, signed exports of ELSPETH audit trails."""
    for name, value in LIBRARY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@main.command(
    epilog="Exit status: 0 all went well, 1 a run failed, 2 wrong usage, a wrong setting, an unusable database, or a "
    "report that could not be written."
)
@_database_option
@_output_option
@click.option(
    "--run-id",
    "run_ids",
    metavar="ID",
    multiple=True,
    callback=lambda context, option, given: _texts(given),
    help="A run to export; may be given several times.",
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
    help="A format to write; may be given several times. All three by default.  "
    "[env var: LANDSCAPE_FORMATS=FORMAT,...]",
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
    with _stopping():
        _require_limits()
        _use_settings(database, output, sign, formats)
        from . import settings

        chosen = settings.export_settings(supersede=supersede)
        with _open(chosen.database_url) as audit:
            if every:
                # A damaged one is not passed over: it fails with a message of its own.
                known = audit.contract.tables["runs"].column("status").values
                run_ids = tuple(
                    run.run_id
                    for run in audit.runs.values()
                    if run.is_finished(audit.contract) or run.damage or run.status not in known
                )
        settings.require_folders()
        if chosen.key is not None and chosen.key.is_short:
            _say("Warning: the signing key is shorter than 16 bytes and may be guessed; use a longer one.")
        with _stopping(f"The export folder or another ({settings.EXPORT_DIR}, {settings.SCRATCH_DIR}) cannot be used"):
            if every and not run_ids:
                _say("Nothing to export: the audit database has no finished run.")
            report = _Report()
            outcomes = _export_all(tuple(dict.fromkeys(run_ids)), chosen, report, quiet=as_json) if run_ids else []
    if as_json:
        report.line(json.dumps([_as_json(outcome) for outcome in outcomes], indent=2, ensure_ascii=False))
    if report.error is not None:
        counts = Counter(outcome.status for outcome in outcomes)
        done = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "nothing to export"
        _stop(
            ExportError(f"{report.error} The work itself is done: {done}. `landscape-assets runs` lists the packages.")
        )
    sys.exit(1 if any(outcome.status == "failed" for outcome in outcomes) else 0)


@main.command()
@_database_option
@_output_option
@_json_option
def runs(database: str | None, output: Path | None, as_json: bool) -> None:
    """List the runs of the audit database, and whether each has a complete package.

    A table on a terminal. Elsewhere one line a run, with tabs between run_id, status, start, end and package.
    """
    with _stopping("The export folder (--output or LANDSCAPE_EXPORT_DIR) cannot be read"):
        _require_limits()
        _use_settings(database, output, None, ())
        rows, packages = _list_runs()
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    if not rows:
        _say("The audit database has no runs.")
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


def _list_runs() -> tuple[list[dict[str, Any]], list[str]]:
    """The runs as `--json` gives them, and what the table says of the package of each."""
    from . import settings
    from .package.publish import is_complete, package_path

    try:
        folder = settings.export_dir()
    except ExportError:
        if settings.EXPORT_DIR in os.environ:
            raise  # it is set, and cannot be used
        folder = None  # without an export folder there is nothing to say of packages
    with _open(settings.database_url()) as audit:
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
            for run in audit.runs.values()
        ]
    absent = ("", "") if folder is None else ("not finished", "none")
    return rows, [row["package"] or absent[row["exportable"]] for row in rows]


@main.command(epilog="Exit status: 0 nothing found, 1 damage found, 2 wrong usage or an unusable database.")
@_database_option
@_json_option
def check(database: str | None, as_json: bool) -> None:
    """Look through the whole audit database for damage that belongs to no run, or to two.

    That is rows without a run or a parent, rows whose parents are of another run, and ids that occur more than once. An
    export reads the rows of its run alone, and does not see them. One line each on standard output, by table, id and
    column.
    """
    with _stopping():
        _use_settings(database, None, None, ())
        from . import settings
        from .database.integrity import find_damage

        count = 0
        with _open(settings.database_url()) as audit:
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
        _say(f"{count:,} finding(s); {looked_at}")
    else:
        click.echo(f"Nothing found; {looked_at}")
    sys.exit(1 if count else 0)


@main.command()
@click.argument("directory", metavar="[DIR]", default="demo", type=_Path(file_okay=False, path_type=Path))
def demo(directory: Path) -> None:
    """Make a sample audit database in DIR (./demo), export it signed, and say what to look at."""
    from .demo import run_demo

    with _stopping("The sample cannot be written"):
        _require_limits()
        report = _Report()
        succeeded = run_demo(
            directory,
            lambda outcome: report.line(_line(outcome), err=outcome.published is None),
            report.line,
        )
    if report.error is not None:
        _stop(report.error)
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


@main.command(epilog="Exit status: 0 written, 2 wrong usage, or records cannot be disclosed: the message says why.")
@click.argument("package", metavar="PACKAGE", type=_Path(file_okay=False, path_type=Path))
@click.option(
    "--output",
    "-o",
    "output",
    metavar="FILE",
    required=True,
    type=_Path(dir_okay=False, path_type=Path),
    help="Where the disclosure is written.",
)
@click.option("--record", "records", metavar="TYPE:ID", multiple=True, help="One record; may be given several times.")
@click.option("--row", "rows", metavar="ROW_ID", multiple=True, help="A row, and everything that happened to it.")
@click.option(
    "--token", "tokens", metavar="TOKEN_ID", multiple=True, help="A token, and everything that happened to it."
)
@click.option(
    "--markdown", metavar="FILE", type=_Path(dir_okay=False, path_type=Path), help="Write a text for people, too."
)
def disclose(
    package: Path,
    output: Path,
    records: tuple[str, ...],
    rows: tuple[str, ...],
    tokens: tuple[str, ...],
    markdown: Path | None,
) -> None:
    """Write some records of a package to FILE, with proofs that they are records of it, and nothing else of it.

    `landscape-assets verify FILE --public-key KEY` checks the file without the package.
    """
    if not (records or rows or tokens):
        raise click.UsageError("Say which records: with --record, --row or --token.")
    with _stopping("The disclosure cannot be written"):
        from .evidence.disclose import Choice, disclose_to, parse_record

        named = tuple(parse_record(text) for text in _texts(records))
        made = disclose_to(package, Choice(named, _texts(rows), _texts(tokens)), output, markdown)
    click.echo(printable(f"{len(made.records):,} of {made.manifest['record_count']:,} records, {output}"))


@main.group()
def log() -> None:
    """The log of an export folder: of all its publications, so that none can be taken away unseen."""


@log.command(epilog="Exit status: 0 all is logged, 1 a package could not be logged, 2 the log cannot be appended to.")
@_output_option
def sync(output: Path | None) -> None:
    """Log what exports left out, and packages that were there before the log; each once."""
    with _stopping("The log cannot be written"):
        _use_settings(None, output, None, ())
        from . import settings
        from .evidence.export_log import sync as sync_log

        chosen = settings.log_settings()
        if chosen is None:
            raise ExportError(
                "There is no log without a private key, which signs it. Name one in LANDSCAPE_SIGNING_PRIVATE_KEY_FILE."
            )
        done = sync_log(settings.export_dir(), chosen.key, chosen.origin)
    for problem in done.problems:
        _say(f"Not logged: {problem}")
    click.echo(printable(f"{done.added:,} added; {done.origin} has {done.size:,} entries, root {done.root}"))
    sys.exit(1 if done.problems else 0)


@log.command(epilog="Exit status: 0 written, 2 the package is not in the log, or the log is damaged.")
@click.argument("package", metavar="PACKAGE", type=_Path(file_okay=False, path_type=Path))
@click.option(
    "--output",
    "-o",
    "output",
    metavar="FILE",
    type=_Path(dir_okay=False, path_type=Path),
    help="Where the proof goes; PACKAGE.tlog-proof in the working folder unless given.",
)
def prove(package: Path, output: Path | None) -> None:
    """Write the proof that a package was logged; `landscape-assets verify FILE --public-key KEY` checks it."""
    with _stopping("The proof cannot be written"):
        from .evidence.export_log import prove as prove_logged

        proof = prove_logged(package)
        output = output or Path(f"{package.absolute().name}.tlog-proof")
        output.write_bytes(proof)
    click.echo(printable(str(output)))


@log.command(epilog="Exit status: 0 kept, 2 it is of another checkpoint, or is not a cosignature.")
@click.argument("file", metavar="FILE", type=_Path(dir_okay=False, path_type=Path))
@_output_option
def cosign(file: Path, output: Path | None) -> None:
    """Add a witness's cosignature, that was made elsewhere, to the present checkpoint."""
    with _stopping("The cosignature cannot be kept"):
        _use_settings(None, output, None, ())
        from . import settings
        from .evidence.export_log import cosign as add_cosignature

        added = add_cosignature(settings.export_dir(), file.read_bytes())
    click.echo(f"{added} added")


@main.command("verifier-file")
@click.argument("file", metavar="[FILE]", default="landscape-verify.pyz", type=click.Path(path_type=Path))
def verifier_file(file: Path) -> None:
    """Write the verifier as one file (./landscape-verify.pyz), to hand to an auditor, and print its SHA-256.

    It needs Python 3.11 or newer and nothing else. The same version always gives the same bytes.
    """
    from .package.verifier_file import write_verifier_file

    with _stopping("The verifier cannot be written"):
        click.echo(f"{write_verifier_file(file)}  {file}")


@main.command()
@click.argument("private_key", metavar="PRIVATE_KEY", type=_Path(dir_okay=False, path_type=Path))
def keygen(private_key: Path) -> None:
    """Make an Ed25519 key pair for signing manifests: PRIVATE_KEY, and PRIVATE_KEY.pub to hand out.

    Set LANDSCAPE_SIGNING_PRIVATE_KEY_FILE to the first, keep it secret, and give the second to auditors by a way of its
    own.
    """
    from .keygen import make_key_pair

    try:
        public_key, key_id = make_key_pair(private_key)
    except OSError as error:
        _stop(ExportError(f"The key cannot be written: {error.strerror or error} ({error.filename or private_key})."))
    click.echo(f"private key  {private_key}\npublic key   {public_key}\nkey id       {key_id}")


def _require_limits() -> None:
    """Makes sure that the limits of this process let libraries load and threads start; where they fail, they end the
    process or wait for ever.

    Raises:
        ExportError: a limit is too low.
    """
    import resource  # not everywhere, and of no use to `verify`

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < _OPEN_FILES:
        if 0 <= hard < _OPEN_FILES:
            raise ExportError(
                f"This process may have {hard} files open at a time, and needs {_OPEN_FILES}. Raise the limit "
                f"(ulimit -n)."
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, hard))
    addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
    if 0 <= addresses // 1024 < _ADDRESSES_KB:
        raise ExportError(
            f"This process may have {addresses // 1024:,} KB of address space, and needs {_ADDRESSES_KB:,}. Raise the "
            f"limit (ulimit -v)."
        )


def _use_settings(database: str | None, output: Path | None, sign: bool | None, formats: tuple[str, ...]) -> None:
    """Puts options into the environment, where assets and resources read all settings."""
    given = {
        "LANDSCAPE_DATABASE_URL": database,
        "LANDSCAPE_EXPORT_DIR": None if output is None else str(output),
        "LANDSCAPE_SIGN": None if sign is None else "yes" if sign else "no",
        "LANDSCAPE_FORMATS": ",".join(formats) or None,
    }
    os.environ.update({name: value for name, value in given.items() if value is not None})


def _texts(given: tuple[str, ...]) -> tuple[str, ...]:
    """The values of an option, which must be UTF-8: Python keeps other bytes as surrogates."""
    for text in given:
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise click.BadParameter(f"{text!r} is not UTF-8 text.")
    return given


def _open(url: str) -> AuditDatabase:
    from .database import AuditDatabase

    return AuditDatabase(url)


class _Report:
    """Lines on standard output. One that cannot be written does not stop the exports; `error` then says why."""

    def __init__(self) -> None:
        self.error: ExportError | None = None

    def line(self, text: str, *, err: bool = False) -> None:
        """Prints a line."""
        try:
            click.echo(text, err=err)
        except BrokenPipeError:
            raise  # as in `_stopping`
        except OSError as error:
            self.error = _unwritten(error)


def _unwritten(error: OSError) -> ExportError:
    """An error of printing. What is left to be printed is dropped: Python would try it again as it ends."""
    if error.errno in (errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return ExportError(f"The output could not be written: {error.strerror or error}.")


def _export_all(run_ids: tuple[str, ...], chosen: ExportSettings, report: _Report, *, quiet: bool) -> list[Outcome]:
    """Exports runs, with a progress bar on a terminal and plain lines otherwise; what became of each, in their order."""
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
            run_ids, chosen, lambda done, total: progress.update(task, completed=done, total=total)
        ):
            outcomes[outcome.run_id] = outcome
            progress.update(task, description=f"{len(outcomes)} of {len(run_ids)} runs")
            if not quiet:
                report.line(_line(outcome), err=outcome.status == "failed")
    for problem in dict.fromkeys(one.log_problem for one in outcomes.values() if one.log_problem is not None):
        _say(f"Warning: packages are published and not in the log: {problem} `landscape-assets log sync` appends them.")
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


def _say(text: str) -> None:
    click.echo(printable(text), err=True)


@contextmanager
def _stopping(what: str = "The file system refused") -> Iterator[None]:
    """Within it, what a person can act on ends the command with one sentence.

    Args:
        what: what an error of the file system means.
    """
    try:
        yield
    except ExportError as error:
        _stop(error)
    except MemoryError:
        _stop(ExportError(NO_MEMORY))
    except BrokenPipeError:
        raise  # whoever read the output has gone; click ends quietly
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        _stop(ExportError(f"{what}{where}: {error.strerror or error}."))


def _stop(error: ExportError) -> NoReturn:
    with suppress(OSError):  # the exit status says it, too
        _say(f"Error: {error}")
    sys.exit(2)


if __name__ == "__main__":
    main()
