"""The command `landscape-assets report`.

Belongs here: its options, output and exit status. Does not belong here: the pages (`reporting.py`); and no import of
them at the top, so that `--help` answers at once.
"""

from __future__ import annotations

from pathlib import Path

import click

from .console import NonEmptyPath, NonEmptyText, ending_with_errors
from .printable import printable


@click.command()
@click.argument("folder", metavar="PACKAGE|EXPORT_DIR", type=NonEmptyPath(exists=True, file_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=NonEmptyPath(dir_okay=False, path_type=Path),
    help="The page; ./report.html for a package and ./index.html for an export folder, unless given.",
)
@click.option(
    "--database", metavar="URL", type=NonEmptyText(), help="List the runs of this audit database without a package."
)
@click.option(
    "--verify", "verifies", is_flag=True, help="Verify every package of the export folder, with the keys set."
)
def report(folder: Path, output: Path | None, database: str | None, verifies: bool) -> None:
    """Write a page for people: the report of a PACKAGE, from its records.jsonl, or the list of an EXPORT_DIR.

    The report of a package is not verified and not made part of the package.
    """
    with ending_with_errors("The page cannot be made"):
        from .reporting import is_package, keys_at_hand, overview_of, report_of, write_page

        if is_package(folder):
            if database is not None or verifies:
                raise click.UsageError("--database and --verify are for an export folder, and not for a package.")
            output = output or Path("report.html")
            page = report_of(folder)
        else:
            output = output or Path("index.html")
            key, manifest_key = keys_at_hand() if verifies else (None, None)
            page = overview_of(folder, output, database, verify=verifies, key=key, manifest_key=manifest_key)
        write_page(page, output)
    click.echo(printable(str(output)))
