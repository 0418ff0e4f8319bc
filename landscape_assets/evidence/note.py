"""Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint), Ed25519.

Belongs here: making them, and reading those that this exporter made. Does not belong here: what is logged.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..errors import ExportError
from ..records.sign import ManifestKey

ED25519, COSIGNATURE = b"\x01", b"\x04"
"""Signature types: of the log itself, and of a witness with its time."""

_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_ORIGIN = re.compile(r"[!-*,-~]{1,255}")


class NoteError(ExportError):
    """A note is not of its form, or not signed as it must be."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The size and root of a log, as a note says them.

    Args:
        origin: which log.
        size: how many entries it has.
        root: of the tree over them.
        signatures: the lines of signatures, without line ends.
    """

    origin: str
    size: int
    root: bytes
    signatures: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def note(self) -> str:
        """The whole note."""
        return self.text + "\n" + "".join(f"{line}\n" for line in self.signatures)


def check_origin(origin: str) -> None:
    """Makes sure that a text can name a log, and its key.

    Raises:
        NoteError: it cannot.
    """
    if not _ORIGIN.fullmatch(origin):
        raise NoteError(
            f"{origin!r:.100} cannot be the origin of a log: it must be 1 to 255 ASCII characters without spaces and "
            f"`+`, such as exports.example.org/audit."
        )


def raw_public_key(key: ManifestKey) -> bytes:
    """The 32 bytes of the public key."""
    return key.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(name: str, signature_type: bytes, public_key: bytes) -> bytes:
    """The four bytes by which notes tell keys of a name apart."""
    return hashlib.sha256(name.encode() + b"\n" + signature_type + public_key).digest()[:4]


def sign_checkpoint(origin: str, size: int, root: bytes, key: ManifestKey) -> Checkpoint:
    """A checkpoint with the signature of its log."""
    check_origin(origin)
    text = Checkpoint(origin, size, root).text
    signature = key_id(origin, ED25519, raw_public_key(key)) + key.sign(text.encode())
    return Checkpoint(origin, size, root, (f"— {origin} {base64.b64encode(signature).decode()}",))


def read_checkpoint(note: bytes) -> Checkpoint:
    """A checkpoint; nothing is said of who signed it.

    Raises:
        NoteError: it is not of that form.
    """
    try:
        text, separator, signatures = note.decode().rpartition("\n\n")
        origin, size, root = text.split("\n")
        checkpoint = Checkpoint(
            origin, int(size), base64.b64decode(root, validate=True), tuple(signatures.removesuffix("\n").split("\n"))
        )
    except (ValueError, binascii.Error):
        raise NoteError("It is not a signed checkpoint of three lines.") from None
    for line in checkpoint.signatures:
        check_signature_line(line)
    if not separator or checkpoint.note().encode() != note or len(checkpoint.root) != hashlib.sha256().digest_size:
        raise NoteError("It is not a signed checkpoint of three lines.")
    return checkpoint


def check_signature_line(line: str) -> None:
    """Makes sure that a line is one of a signature.

    Raises:
        NoteError: it is not.
    """
    parts = _SIGNATURE.fullmatch(line)
    try:
        is_signature = parts is not None and len(base64.b64decode(parts[2], validate=True)) > len(b"id..")
    except binascii.Error:
        is_signature = False
    if not is_signature:
        raise NoteError(f"{line!r:.100} is not the line of a note's signature.")


def require_signature(checkpoint: Checkpoint, key: ManifestKey) -> None:
    """Makes sure that a checkpoint is signed with the key that signs the next ones.

    Raises:
        NoteError: it is not.
    """
    expected = key_id(checkpoint.origin, ED25519, raw_public_key(key))
    for line in checkpoint.signatures:
        parts = _SIGNATURE.fullmatch(line)
        data = base64.b64decode(parts[2]) if parts else b""
        if parts and parts[1] == checkpoint.origin and data[:4] == expected:
            try:
                key.private.public_key().verify(data[4:], checkpoint.text.encode())
            except InvalidSignature:
                raise NoteError("The signature is not the key's: the checkpoint was changed.") from None
            return
    raise NoteError("It is not signed with the present private key.")
