"""The two signatures of a package: HMAC-SHA256 under a shared key, and Ed25519 under a public key.

Belongs here: keys and the arithmetic of signatures. Does not belong here: what is signed, and what a wrong one means.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_BLOCK = 64
_SPKI_ED25519 = bytes.fromhex("302a300506032b6570032100")
"""The DER of an Ed25519 SubjectPublicKeyInfo up to the 32 bytes of the key (RFC 8410, 4)."""
_BEGIN, _END = b"-----BEGIN PUBLIC KEY-----", b"-----END PUBLIC KEY-----"


class UsageError(ValueError):
    """What the caller gave cannot be used; the message says why. Never holds a key."""


class HmacKey:
    """An HMAC-SHA256 key (RFC 2104), with both padded hash states made once, which halves the cost of a short message.

    Args:
        key: the key's UTF-8 bytes.

    Raises:
        UsageError: the key is empty or blank.
    """

    def __init__(self, key: bytes) -> None:
        if not key.strip():
            raise UsageError("The signing key is blank.")
        block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
        self.inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self.outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def hex(self, message: bytes) -> str:
        """The lower-case hex HMAC-SHA256 of a message."""
        inner = self.inner.copy()
        inner.update(message)
        outer = self.outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()

    @property
    def default_id(self) -> str:
        """The key id that an export has when none was chosen (docs/package.md, `signing.key_id`)."""
        return "hmac:" + self.hex(b"landscape-assets key id")[:16]


class PublicKey:
    """An Ed25519 public key.

    Args:
        pem: a PEM file with one `PUBLIC KEY` (RFC 7468, 13).

    Raises:
        UsageError: it is something else.
    """

    def __init__(self, pem: bytes) -> None:
        if b"PRIVATE KEY" in pem:
            raise UsageError(
                "The public key file holds a private key; the verifier needs, and should have, only the public one."
            )
        _, begin, rest = pem.partition(_BEGIN)
        body, end, rest = rest.partition(_END)
        one = begin and end and _BEGIN not in rest
        try:
            der = base64.b64decode(b"".join(body.split()), validate=True) if one else b""
        except binascii.Error:
            der = b""
        if len(der) != len(_SPKI_ED25519) + 32 or not der.startswith(_SPKI_ED25519):
            raise UsageError("The public key file is not a PEM file with one Ed25519 public key.")
        self.pem = b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(der) + b"\n-----END PUBLIC KEY-----\n"
        self.raw = der[len(_SPKI_ED25519) :]
        self.id = hashlib.sha256(der).hexdigest()

    @classmethod
    def of_raw(cls, raw: bytes) -> PublicKey:
        """The key of 32 bytes (RFC 8032)."""
        return cls(_BEGIN + b"\n" + base64.b64encode(_SPKI_ED25519 + raw) + b"\n" + _END + b"\n")

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether this is the key's Ed25519 signature (RFC 8032, PureEdDSA) of the message.

        Raises:
            UsageError: neither the `cryptography` package nor the `openssl` command is here to tell.
        """
        try:
            from cryptography.exceptions import InvalidSignature
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        except ImportError:
            return self._verifies_with_openssl(signature, message)
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def _verifies_with_openssl(self, signature: bytes, message: bytes) -> bool:
        openssl = openssl_command(
            "An Ed25519 signature can be checked only with the Python package `cryptography` or the command "
            "`openssl`, and neither is here."
        )
        with tempfile.TemporaryDirectory() as folder:
            names = {"key": self.pem, "message": message, "signature": signature}
            for name, content in names.items():
                Path(folder, name).write_bytes(content)
            command = [openssl, "pkeyutl", "-verify", "-pubin", "-inkey", "key", "-rawin", "-in", "message"]
            done = subprocess.run([*command, "-sigfile", "signature"], cwd=folder, capture_output=True, check=False)
        if done.returncode == 0:
            return True
        if b"Signature Verification Failure" in done.stdout + done.stderr:
            return False
        raise UsageError("The command `openssl` cannot check Ed25519 signatures; version 3.0 or later can.")


def openssl_command(otherwise: str) -> str:
    """The path of the command `openssl`.

    Args:
        otherwise: what is said when there is none.

    Raises:
        UsageError: there is none.
    """
    # Not from the working folder, where a package may lie, and which an empty entry means.
    path = filter(os.path.isabs, os.environ.get("PATH", os.defpath).split(os.pathsep))
    openssl = shutil.which("openssl", path=os.pathsep.join(path))
    if openssl is None or not os.path.isabs(openssl):
        raise UsageError(otherwise)
    return openssl
