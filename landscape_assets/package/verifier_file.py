"""The verifier as one file to hand to an auditor, `landscape-verify.pyz`, which any Python 3.11 or newer runs.

Belongs here: packing the package `verify`, so that the same source always gives the same bytes. Does not belong here:
anything that the file does (`verify/__main__.py`).
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path

from .. import verify

_SHEBANG = b"#!/usr/bin/env python3\n"
_SOURCE = Path(verify.__file__).parent


def verifier_file() -> bytes:
    """The file: a Python zip application (PEP 441) of the verifier's modules, sorted, stored, and without times."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for path in sorted(_SOURCE.glob("*.py")):
            entry = zipfile.ZipInfo(path.name, (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, wherever it is made
            entry.external_attr = 0o100644 << 16
            # Git may have given the lines another end, as it does on Windows.
            packed.writestr(entry, path.read_bytes().replace(b"\r\n", b"\n"))
    return _SHEBANG + archive.getvalue()


def write_verifier_file(path: Path) -> str:
    """Write the file, where there is none yet, and make it executable.

    Args:
        path: of the file.

    Returns:
        Its SHA-256, in lower-case hex.

    Raises:
        OSError: it cannot be written, or there is a file already.
    """
    content = verifier_file()
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o755)
    return hashlib.sha256(content).hexdigest()
