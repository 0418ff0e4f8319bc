"""Time stamps of an authority (RFC 3161): asking for them, and keeping those of a log's checkpoints.

Belongs here: the request, and where its answer is kept. Does not belong here: checkpoints (`export_log.py`), and the
check of a token with the authority's certificate, which is the verifier's (`verify/timestamp.py`).

A token is asked for over the text of a checkpoint, without its signatures, so that one that is cosigned later has it
too. It shows that the log had these entries at that time: later ones cover all before them.
"""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.request
from pathlib import Path

from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response

from ..errors import ExportError
from . import tiles
from .note import read_checkpoint

FOLDER = "timestamps"

_SECONDS = 5
"""How long the authority is waited for."""
_SILENCE = 300
"""Seconds for which an authority that failed is not asked again by the same process."""
_silent_until: dict[str, float] = {}

_MOST = 100_000
"""Bytes of an answer at most."""


class TimestampError(ExportError):
    """The authority gave no token."""


def said(error: ExportError | OSError) -> str:
    """An error as a sentence."""
    if isinstance(error, ExportError):
        return str(error)
    where = f" ({error.filename})" if error.filename else ""
    return f"The file system refused{where}: {error.strerror or error}."


def request_token(url: str, data: bytes) -> bytes:
    """Asks for a token over some data.

    Args:
        url: of the authority.
        data: what is stamped.

    Returns:
        The authority's answer, as `openssl ts` takes it: it was granted, and is over the data and of this request.

    Raises:
        TimestampError: there is none.
    """
    asked = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).cert_request(cert_request=True)
    query = asked.nonce(nonce=True).build()
    headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
    try:
        request = urllib.request.Request(url, query.as_bytes(), headers, method="POST")
        if request.type not in ("http", "https"):
            raise TimestampError("LANDSCAPE_TIMESTAMP_URL is not an http or https address.")
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:
            answer: bytes = response.read(_MOST)
    except (OSError, ValueError, http.client.HTTPException) as error:
        # Not what it says: it may hold the URL, which may hold a secret.
        reason = f"HTTP {code}" if (code := getattr(error, "code", None)) else type(error).__name__
        raise TimestampError(f"The time stamping authority did not answer ({reason}).") from None
    try:
        reply = decode_timestamp_response(answer)
        token = reply.tst_info if reply.status == 0 else None
    except ValueError:
        raise TimestampError("The time stamping authority's answer is not a time stamp.") from None
    if token is None:
        raise TimestampError(f"The time stamping authority refused, with the status {reply.status}.")
    if token.message_imprint.message != hashlib.sha256(data).digest() or token.nonce != query.nonce:
        raise TimestampError("The time stamping authority stamped something else.")
    return answer


def stamp_or_say(log: Path, url: str | None) -> str | None:
    """Gets a token over the present checkpoint of a log, unless it has one.

    Args:
        log: its folder.
        url: of the authority; None for none.

    Returns:
        Why there is none, in a sentence: nothing is stopped by it. It is asked for again with the next checkpoint, or
        by `log sync`; by this process not before a while.
    """
    if url is None or time.monotonic() < _silent_until.get(url, 0):
        return None
    try:
        checkpoint = read_checkpoint((log / "checkpoint").read_bytes())
        path = log / FOLDER / f"{checkpoint.size}.tsr"
        if not checkpoint.size or path.exists():
            return None
        changed: set[Path] = set()
        tiles.write_durably(path, request_token(url, checkpoint.text.encode()), changed)
        tiles.sync_changed(changed)
    except (ExportError, OSError) as error:
        _silent_until[url] = time.monotonic() + _SILENCE
        return f"The checkpoint of the log has no time stamp: {said(error)} `landscape-assets log sync` asks again."
    return None
