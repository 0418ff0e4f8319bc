"""The command line of the verifier.

Belongs here: arguments, reading key files, printing. Does not belong here: any check.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .codes import Status
from .disclosure import verify_disclosure
from .log import verify_log, verify_proof
from .note import is_proof
from .package import verify_package
from .report import SENTENCES, Report
from .signatures import UsageError

_EPILOG = (
    "exit status: "
    + "; ".join(f"{int(status)} {SENTENCES[status]}" for status in Status)
    + ". Of several packages the worst counts, in the order 2, 40, 30, 20, 10, 0. Only keys given here count: none is "
    "taken from the environment or the package."
)


def main(argv: list[str] | None = None, prog: str = "verify") -> int:
    """Run the command.

    Args:
        argv: the arguments, without the command's name; None for those of the process.
        prog: what the command is called in its help.

    Returns:
        The exit status, a value of `Status`.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Verify export packages, without the database and without a network.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument(
        "packages",
        nargs="*",
        metavar="PACKAGE",
        help="the folder of a package; or a file: a disclosure, or the proof that a package was logged (.tlog-proof)",
    )
    parser.add_argument("--log", metavar="DIR", help="verify the log of an export folder, and every package in it")
    parser.add_argument("--checkpoint", metavar="F", help="an earlier checkpoint of the log, as you kept it")
    parser.add_argument(
        "--timestamp-ca", metavar="F", help="PEM file with the certificates of the authority that gave the time stamps"
    )
    parser.add_argument(
        "--timestamp", metavar="F", help="a time stamp over manifest.json of the one package (`log timestamp`)"
    )
    parser.add_argument("--origin", metavar="NAME", help="the origin that the log must have")
    parser.add_argument(
        "--witness", metavar="KEY", action="append", default=[], help="NAME+ID+KEY of a witness; may be repeated"
    )
    parser.add_argument(
        "--key-file", metavar="F", help="file with the signing key; one line end at its end is not part of the key"
    )
    parser.add_argument("--public-key", metavar="F", help="PEM file with the Ed25519 public key")
    parser.add_argument("--run-id", metavar="ID", help="the run that each package must be of")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    try:
        options = parser.parse_args(argv)
        if (options.log is None) == (not options.packages):
            parser.error("give packages, or --log")
        if options.checkpoint is not None and options.log is None:
            parser.error("--checkpoint is of a log: give --log")
        if options.timestamp is not None and (len(options.packages) != 1 or options.timestamp_ca is None):
            parser.error("--timestamp is of one package: give that, and --timestamp-ca")
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        with _safe_path():
            reports = _reports(options)
    except UsageError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return int(Status.UNUSABLE)
    status = max((report.status for report in reports), key=lambda one: one.severity)
    if options.json:
        text = json.dumps({"status": int(status), "packages": [report.as_dict() for report in reports]})
    else:
        not_proven = dict.fromkeys(sentence for report in reports for sentence in report.not_proven)
        texts = [report.to_text() for report in reports]
        text = "\n".join([*texts, "Not proven by any verdict: " + " ".join(not_proven)])
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        # The reader has seen enough (`| head`); the verdict stands. Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(status)


def _reports(options: argparse.Namespace) -> list[Report]:
    """What each of the arguments gives."""
    key = _key(options.key_file) if options.key_file is not None else None
    public_key = _content(options.public_key) if options.public_key is not None else None
    authority = None if options.timestamp_ca is None else _content(options.timestamp_ca, "certificate file")
    stamp = None if options.timestamp is None else _content(options.timestamp, "time stamp")
    of_log = {"public_key": public_key, "origin": options.origin, "witnesses": options.witness}
    if options.log is not None:
        checkpoint = None if options.checkpoint is None else _content(options.checkpoint)
        return [verify_log(options.log, key=key, checkpoint=checkpoint, authority=authority, **of_log)]
    reports: list[Report] = []
    for path in options.packages:
        if not os.path.isfile(path):
            given = {"key": key, "public_key": public_key, "run_id": options.run_id}
            reports.append(verify_package(path, **given, timestamp=stamp, authority=authority))
        elif stamp is not None:
            raise UsageError(f"--timestamp is of the folder of a package, and {path} is a file.")
        elif is_proof(_content(path, "file")):
            reports.append(verify_proof(path, run_id=options.run_id, **of_log))
        else:
            reports.append(verify_disclosure(path, key=key, public_key=public_key, run_id=options.run_id))
    return reports


@contextmanager
def _safe_path() -> Iterator[None]:
    """Within it, a Python that is started does not look for modules in the working folder, where a package may lie."""
    name = "PYTHONSAFEPATH"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _key(name: str) -> bytes:
    content = _content(name)
    for line_end in (b"\r\n", b"\n"):
        if content.endswith(line_end):
            return content.removesuffix(line_end)
    return content


def _content(name: str, what: str = "key file") -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"The {what} {name} cannot be read: {error.strerror or error}.") from None
