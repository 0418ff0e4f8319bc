"""The offline verifier: an independent second opinion on an export package.

Belongs here: everything that checks a package, with nothing but the standard library (and, for Ed25519, `cryptography`
or the `openssl` command when a public key is given). Does not belong here: an import of any other part of the project,
a database, a network. What is checked is stated in docs/package.md and docs/records.md; the codes of the findings are
in `codes.py`.

Runs as `python -m landscape_assets.verify`, or as a folder: `python landscape_assets/verify`.
"""

from .cli import main
from .codes import CODES, Code, Status
from .package import UsageError, verify_package
from .report import Check, Finding, Report

__all__ = ["CODES", "Check", "Code", "Finding", "Report", "Status", "UsageError", "main", "verify_package"]
