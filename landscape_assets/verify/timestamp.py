"""The check of a time stamp (RFC 3161) by the command `openssl`, which has it; the standard library does not.

Belongs here: one token over some bytes. Does not belong here: what was stamped.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from .signatures import openssl_command

_TIME = re.compile(rb"^Time stamp: (\w{3} +\d+ \d\d:\d\d:\d\d)(?:\.\d+)? (\d{4}) GMT$", re.MULTILINE)


def stamped_at(token: bytes, data: bytes, authority: bytes) -> datetime | None:
    """When an authority stamped some data; None when it is not its token over them.

    The certificates need to be valid at that time, not at present: a token outlives them.

    Args:
        token: the authority's answer (DER).
        data: what was stamped.
        authority: certificates of the authority that are trusted, PEM.

    Raises:
        UsageError: there is no `openssl`.
    """
    openssl = openssl_command("A time stamp can be checked only with the command `openssl`, and it is not here.")
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {"token": token, "data": data, "authority": authority}.items():
            Path(folder, name).write_bytes(content)

        def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
            return subprocess.run([openssl, "ts", *arguments], cwd=folder, capture_output=True, check=False)

        found = _TIME.search(run("-reply", "-in", "token", "-text").stdout)
        if found is None:
            return None
        text = " ".join(b" ".join(found.groups()).decode("ascii").split())
        time = datetime.strptime(text, "%b %d %H:%M:%S %Y").replace(tzinfo=UTC)
        at = str(int(time.timestamp()))
        checked = run("-verify", "-data", "data", "-in", "token", "-CAfile", "authority", "-attime", at)
        return time if checked.returncode == 0 else None
