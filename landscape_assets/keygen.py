"""Making an Ed25519 key pair for manifest.json.sig.

Belongs here: that, and nothing else. Reading keys is `records/sign.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .records.sign import ManifestKey


def make_key_pair(private_key: Path) -> tuple[Path, str]:
    """Writes a new pair as PEM files (PKCS #8 and SubjectPublicKeyInfo); never over a file that is there.

    Args:
        private_key: where the private key goes, readable by its owner alone; the public key goes beside it, with
            `.pub`.

    Returns:
        The file of the public key, and the key's id as packages name it.

    Raises:
        OSError: a file is there already, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    public_key = private_key.with_name(private_key.name + ".pub")
    if public_key.exists():
        raise FileExistsError(17, "File exists", str(public_key))
    descriptor = os.open(private_key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    with public_key.open("xb") as file:
        file.write(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    return public_key, ManifestKey(key).key_id
