"""Signed notes, checkpoints and proofs of a log (C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof).

Belongs here: their form, and the check of their signatures. Does not belong here: the tree that a checkpoint speaks of
(`merkle.py`), and what a log holds (`log.py`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from .signatures import PublicKey, UsageError

ED25519, COSIGNATURE = b"\x01", b"\x04"
"""Signature types: of the log itself, and of a witness, with a time."""
MOST_SIGNATURES = 64
MOST_SIZE = 2**63

_DASH = "\u2014 "
_NAME = re.compile(r"[^\s+]+")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_PROOF = "c2sp.org/tlog-proof@v1"


class NoteFault(ValueError):
    """Bytes that are not what they should be; the message completes «The checkpoint ...»."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One line of signatures.

    Args:
        name: of the key.
        key_id: four bytes, by which keys of a name are told apart.
        data: the signature.
    """

    name: str
    key_id: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a signed note says of a log.

    Args:
        text: what is signed.
        origin: which log.
        size: how many entries it has.
        root: of the tree over them.
        signatures: in their order.
    """

    text: bytes
    origin: str
    size: int
    root: bytes
    signatures: tuple[Signature, ...]


def read_checkpoint(data: bytes) -> Checkpoint:
    """A checkpoint from its bytes; nothing is said of who signed it.

    Raises:
        NoteFault: it is not of that form.
    """
    try:
        note = data.decode("utf-8")
    except UnicodeDecodeError:
        raise NoteFault("is not UTF-8") from None
    if any(character < " " and character != "\n" for character in note):
        raise NoteFault("holds a control character")
    text, separator, rest = note.rpartition("\n\n")
    if not separator or not rest.endswith("\n"):
        raise NoteFault("is not a text, an empty line, and lines of signatures")
    lines = rest[:-1].split("\n")
    if len(lines) > MOST_SIGNATURES:
        raise NoteFault(f"has more than {MOST_SIGNATURES} signatures")
    signatures = tuple(map(_signature, lines))
    parts = text.split("\n")
    if len(parts) != 3 or not parts[0] or not _NUMBER.fullmatch(parts[1]) or int(parts[1]) >= MOST_SIZE:
        raise NoteFault("does not consist of an origin, a size and a root")
    root = _base64(parts[2])
    if root is None or len(root) != hashlib.sha256().digest_size:
        raise NoteFault("has a root that is not the base64 of 32 bytes")
    return Checkpoint((text + "\n").encode("utf-8"), parts[0], int(parts[1]), root, signatures)


def _signature(line: str) -> Signature:
    name, space, text = line.removeprefix(_DASH).partition(" ")
    data = _base64(text)
    if not line.startswith(_DASH) or not space or not _NAME.fullmatch(name) or data is None or len(data) <= 4:
        raise NoteFault("has a line that is not a signature")
    return Signature(name, data[:4], data[4:])


def _base64(text: str) -> bytes | None:
    """What a text is the one base64 form of."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode() == text else None


def key_id(name: str, signature_type: bytes, public_key: bytes) -> bytes:
    """The id of a key in a note: it selects a signature, and proves nothing."""
    return hashlib.sha256(name.encode("utf-8") + b"\n" + signature_type + public_key).digest()[:4]


def require_signature(checkpoint: Checkpoint, key: PublicKey) -> None:
    """Make sure that a log signed its checkpoint with a key.

    Raises:
        NoteFault: it did not.
    """
    wanted = (checkpoint.origin, key_id(checkpoint.origin, ED25519, key.raw))
    mine = [one for one in checkpoint.signatures if (one.name, one.key_id) == wanted]
    if not mine:
        raise NoteFault("is not signed with the given key")
    for one in mine:
        if len(one.data) != 64 or not key.verifies(one.data, checkpoint.text):
            raise NoteFault("has a signature that is not the given key's: it was changed")


@dataclass(frozen=True, slots=True)
class Witness:
    """A key that cosigns checkpoints.

    Args:
        name: of the key.
        key: it.
    """

    name: str
    key: PublicKey

    @classmethod
    def of(cls, text: str) -> Witness:
        """From a verifier key: NAME+ID+KEY, as witnesses give theirs out.

        Raises:
            UsageError: it is something else.
        """
        name, _, rest = text.strip().partition("+")
        short, _, encoded = rest.partition("+")
        data = _base64(encoded)
        if not _NAME.fullmatch(name) or data is None or len(data) != 33 or data[:1] != COSIGNATURE:
            raise UsageError(f"{text!r:.100} is not the key of a witness: NAME+ID+KEY, of type 4 (Ed25519 with time).")
        if key_id(name, COSIGNATURE, data[1:]).hex() != short:
            raise UsageError(f"In the key {text!r:.100} of a witness, the ID is not that of NAME and KEY.")
        return cls(name, PublicKey.of_raw(data[1:]))

    def time_of(self, checkpoint: Checkpoint) -> int | None:
        """When this witness cosigned a checkpoint, in seconds since 1970; None where it did not.

        Raises:
            NoteFault: there is a cosignature of its name and id, and it is wrong.
        """
        wanted = (self.name, key_id(self.name, COSIGNATURE, self.key.raw))
        times = []
        for one in checkpoint.signatures:
            if (one.name, one.key_id) != wanted:
                continue
            time = int.from_bytes(one.data[:8], "big")
            message = f"cosignature/v1\ntime {time}\n".encode() + checkpoint.text
            if len(one.data) != 72 or time >= MOST_SIZE or not self.key.verifies(one.data[8:], message):
                raise NoteFault(f"has a cosignature of {self.name} that is not that witness's")
            times.append(time)
        return max(times, default=None)


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that an entry is in a log.

    Args:
        entry: the entry, from the line `extra`; None without one.
        index: its place.
        path: the inclusion proof.
        checkpoint: of the log.
    """

    entry: bytes | None
    index: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint


def is_proof(data: bytes) -> bool:
    """Whether a file says of itself that it is a proof of a log."""
    return data.startswith(_PROOF.encode() + b"\n")


def read_proof(data: bytes) -> Proof:
    """A proof from the bytes of a .tlog-proof file.

    Raises:
        NoteFault: it is not of that form.
    """
    head, separator, note = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        lines = []
    if not separator or len(lines) < 2 or lines.pop(0) != _PROOF:
        raise NoteFault("is not a proof")
    entry = None
    if lines[0].startswith("extra "):
        entry = _base64(lines.pop(0).removeprefix("extra "))
        if entry is None:
            raise NoteFault("has an extra line that is not base64")
    index = lines.pop(0) if lines else ""
    number = index.removeprefix("index ")
    path = [_base64(line) for line in lines]
    if not index.startswith("index ") or not _NUMBER.fullmatch(number):
        raise NoteFault("has no index")
    hashes = tuple(one for one in path if one is not None and len(one) == hashlib.sha256().digest_size)
    if len(hashes) != len(path):
        raise NoteFault("has a line that is not the base64 of a hash")
    return Proof(entry, int(number), hashes, read_checkpoint(note))
