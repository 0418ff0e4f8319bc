"""The offline verifier: an independent judgement of an export package.

Belongs here: everything that checks a package, with nothing but the standard library (and, for Ed25519, `cryptography`
or the `openssl` command when a public key is given). Does not belong here: an import of any other part of the project,
a database, a network. What is checked is stated in docs/package.md and docs/records.md; the codes of the findings are
in `codes.py`.

Runs as a folder: `python -I landscape_assets/verify`; as the one file that `landscape-assets verifier-file` makes; as
`python -m landscape_assets.verify`.
"""

_HOMES = {
    "CODES": "codes",
    "Check": "report",
    "Code": "codes",
    "Finding": "report",
    "Report": "report",
    "Status": "codes",
    "UsageError": "signatures",
    "main": "cli",
    "verify_disclosure": "disclosure",
    "verify_log": "log",
    "verify_package": "package",
}
"""Each public name, and the module that has it."""

__all__ = [
    "CODES",
    "Check",
    "Code",
    "Finding",
    "Report",
    "Status",
    "UsageError",
    "main",
    "verify_disclosure",
    "verify_log",
    "verify_package",
]


TYPE_CHECKING = False
if TYPE_CHECKING:  # for a type checker alone, which takes it for true
    from .cli import main
    from .codes import CODES, Code, Status
    from .disclosure import verify_disclosure
    from .log import verify_log
    from .package import verify_package
    from .report import Check, Finding, Report
    from .signatures import UsageError


def __getattr__(name):  # type: ignore[no-untyped-def]
    # Nothing is imported before it is asked for: `python -m landscape_assets.verify` runs this module while the working
    # folder, in which there may be a hostile package, is still on the module path. Any Python must be able to read it.
    if name not in _HOMES:
        raise AttributeError("module %r has no attribute %r" % (__name__, name))  # noqa: UP031 - Python 2.7 reads it
    import importlib

    return getattr(importlib.import_module("." + _HOMES[name], __name__), name)
