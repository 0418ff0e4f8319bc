"""What a command takes and says on a terminal, and how it ends.

Belongs here: options that several commands have, and their types; lines and messages; errors as one sentence and an
exit status. Does not belong here: the commands (`cli.py`).
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import click

from .errors import NO_MEMORY, ExportError
from .printable import printable


class NonEmptyText(click.types.StringParamType):
    """Text that is not empty: an unset variable of a shell gives the empty text, and was meant to be something."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text."""
        if value == "":
            self.fail("it is empty.", param, ctx)
        return super().convert(value, param, ctx)


class NonEmptyPath(click.Path):
    """A path that is not empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        if value == "":
            self.fail("it is empty.", param, ctx)
        return super().convert(value, param, ctx)


database_option = click.option(
    "--database",
    metavar="URL",
    type=NonEmptyText(),
    envvar="LANDSCAPE_DATABASE_URL",
    show_envvar=True,
    help="The audit database, as a SQLAlchemy URL: sqlite:///FILE, or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE "
    "(with a password better in the variable: others can see arguments).",
)
output_option = click.option(
    "--output",
    metavar="DIR",
    envvar="LANDSCAPE_EXPORT_DIR",
    show_envvar=True,
    type=NonEmptyPath(path_type=Path),
    help="The export folder, in which each run gets its package.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on standard output, and nothing else."
)


def texts(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """The values of an option, which must be UTF-8: Python keeps other bytes as surrogates."""
    for text in given:
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise click.BadParameter(f"{text!r} is not UTF-8 text.")
    return given


class Report:
    """Lines on standard output. One that cannot be written does not stop the exports; `error` then says why."""

    def __init__(self) -> None:
        self.error: ExportError | None = None

    def line(self, text: str, *, err: bool = False) -> None:
        """Prints a line."""
        try:
            click.echo(text, err=err)
        except BrokenPipeError:
            raise  # as in `ending_with_errors`
        except OSError as error:
            self.error = output_error(error)


def output_error(error: OSError) -> ExportError:
    """An error of printing. What is left to be printed is dropped: Python would try it again as it ends."""
    if error.errno in (errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return ExportError(f"The output could not be written: {error.strerror or error}.")


def say(text: str) -> None:
    """Prints a line on standard error."""
    click.echo(printable(text), err=True)


@contextmanager
def ending_with_errors(what: str = "The file system refused") -> Iterator[None]:
    """Within it, what a person can act on ends the command with one sentence.

    Args:
        what: what an error of the file system means.
    """
    try:
        yield
    except ExportError as error:
        stop(error)
    except MemoryError:
        stop(ExportError(NO_MEMORY))
    except BrokenPipeError:
        raise  # the reader of the output has gone; click ends quietly
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        stop(ExportError(f"{what}{where}: {error.strerror or error}."))


def stop(error: ExportError) -> NoReturn:
    """Ends the command with a sentence and the exit status 2."""
    with suppress(OSError):  # the exit status says it, too
        say(f"Error: {error}")
    sys.exit(2)
