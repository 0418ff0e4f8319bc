"""The commands about evidence: `disclose`, and `log` with those below it.

Belongs here: options, output and exit status of these commands. Does not belong here: disclosures and the log
(`evidence/`), their check (`verify/`), and the other commands (`cli.py`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .console import NonEmptyPath, ending_with_errors, output_option, say, texts
from .errors import ExportError
from .printable import printable

if TYPE_CHECKING:
    from .settings import Settings

_FOLDER = NonEmptyPath(file_okay=False, path_type=Path)
_FILE = NonEmptyPath(dir_okay=False, path_type=Path)


@click.command(epilog="Exit status: 0 written, 2 wrong usage, or records cannot be disclosed: the message says why.")
@click.argument("package", metavar="PACKAGE", type=_FOLDER)
@click.option(
    "--output",
    "-o",
    "output",
    metavar="FILE",
    required=True,
    type=_FILE,
    help="Where the disclosure is written.",
)
@click.option(
    "--record",
    "records",
    metavar="TYPE:ID",
    multiple=True,
    callback=texts,
    help="One record; may be given several times.",
)
@click.option(
    "--row", "rows", metavar="ROW_ID", multiple=True, callback=texts, help="A row, and everything that happened to it."
)
@click.option(
    "--token",
    "tokens",
    metavar="TOKEN_ID",
    multiple=True,
    callback=texts,
    help="A token, and everything that happened to it.",
)
@click.option("--markdown", metavar="FILE", type=_FILE, help="Write a text for people, too.")
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
    with ending_with_errors("The disclosure cannot be written"):
        from .evidence import Choice, disclose_to, parse_record

        named = tuple(parse_record(text) for text in records)
        made = disclose_to(package, Choice(named, rows, tokens), output, markdown)
    click.echo(printable(f"{len(made.records):,} of {made.manifest['record_count']:,} records, {output}"))


@click.group()
def log() -> None:
    """The log of an export folder: of all its publications, so that none can be taken away unseen."""


@log.command(epilog="Exit status: 0 all is logged, 1 a package could not be logged, 2 the log cannot be appended to.")
@output_option
def sync(output: Path | None) -> None:
    """Log what exports left out, and packages that were there before the log; each once."""
    with ending_with_errors("The log cannot be written"):
        from .evidence import log_folder, stamp_or_say
        from .evidence import sync as sync_log

        settings = _settings(output)
        if settings.log is None:
            raise ExportError(
                "There is no log without a private key, which signs it. Name one in LANDSCAPE_SIGNING_PRIVATE_KEY_FILE."
            )
        done = sync_log(settings.export_dir, settings.log)
        unstamped = stamp_or_say(log_folder(settings.export_dir), settings.log.timestamp_url)
    for problem in done.problems:
        say(f"Not logged: {problem}")
    if unstamped is not None:
        say(f"Warning: {unstamped}")
    click.echo(printable(f"{done.added:,} added; {done.origin} has {done.size:,} entries, root {done.root}"))
    sys.exit(1 if done.problems else 0)


@log.command(epilog="Exit status: 0 written, 2 the package is not in the log, or the log is damaged.")
@click.argument("package", metavar="PACKAGE", type=_FOLDER)
@click.option(
    "--output",
    "-o",
    "output",
    metavar="FILE",
    type=_FILE,
    help="Where the proof goes; PACKAGE.tlog-proof in the working folder unless given.",
)
def prove(package: Path, output: Path | None) -> None:
    """Write the proof that a package was logged; `landscape-assets verify FILE --public-key KEY` checks it."""
    with ending_with_errors("The proof cannot be written"):
        from .evidence import prove as prove_logged

        proof = prove_logged(package)
        output = output or Path(f"{package.absolute().name}.tlog-proof")
        output.write_bytes(proof)
    click.echo(printable(str(output)))


@log.command(epilog="Exit status: 0 kept, 2 it is of another checkpoint, or is not a cosignature.")
@click.argument("file", metavar="FILE", type=_FILE)
@output_option
def cosign(file: Path, output: Path | None) -> None:
    """Add a witness's cosignature, that was made elsewhere, to the present checkpoint."""
    with ending_with_errors("The cosignature cannot be kept"):
        from .evidence import cosign as add_cosignature

        added = add_cosignature(_settings(output).export_dir, file.read_bytes())
    click.echo(f"{added} added")


@log.command(epilog="Exit status: 0 written, 2 there is no authority, or it gave no time stamp.")
@click.argument("package", metavar="PACKAGE", type=_FOLDER)
@click.option("--output", "-o", "output", metavar="FILE", required=True, type=_FILE, help="Where the token goes.")
def timestamp(package: Path, output: Path) -> None:
    """Get a time stamp (RFC 3161) over manifest.json of a package; `openssl ts -verify` checks it."""
    with ending_with_errors("The time stamp cannot be written"):
        from .evidence import request_token
        from .package.read import manifest_bytes

        if (url := _settings(None).timestamp_url) is None:
            raise ExportError("There is no time stamping authority. Name one in LANDSCAPE_TIMESTAMP_URL.")
        output.write_bytes(request_token(url, manifest_bytes(package)))
    click.echo(printable(str(output)))


def _settings(output: Path | None) -> Settings:
    """The settings of the environment, with the export folder that the option names."""
    from .settings import EXPORT_DIR, Settings

    return Settings.from_environment({EXPORT_DIR: None if output is None else str(output)})
