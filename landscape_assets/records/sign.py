"""Signatures: HMAC-SHA256 of records and manifests, Ed25519 of manifests (contract, section 3; docs/package.md).

Belongs here: keys in memory and what is computed with them. Does not belong here: where keys come from (`settings.py`).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import polars as pl
import polars_hash
import pyarrow as pa
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ..contract.canonical import canonical_json
from ..errors import SigningKeyError
from ..parallel import Deferred
from .ordered import Records
from .tagged import signed_texts

CHAIN_OF_SIGNATURES = "sha256-of-record-signatures"
CHAIN_OF_RECORDS = "sha256-of-record-sha256"


@dataclass(frozen=True, slots=True)
class SignedBatch:
    """A batch of records, and as many signatures: 64 digits of lower-case hex each."""

    records: Records
    signatures: pa.LargeStringArray


SHORT_KEY_BYTES = 16


@dataclass(frozen=True)
class SigningKey:
    """An HMAC key. Its text is never shown.

    Args:
        secret: the key; its UTF-8 bytes are what HMAC takes.
        given_id: the id that the operator gave it; None to derive one.

    Raises:
        SigningKeyError: the key is blank, or holds a NUL character.
    """

    secret: str = field(repr=False)
    given_id: str | None = None

    def __post_init__(self) -> None:
        if not self.secret.strip():
            raise SigningKeyError(
                "The signing key is blank. Give one with LANDSCAPE_SIGNING_KEY or LANDSCAPE_SIGNING_KEY_FILE, or "
                "choose an unsigned export with --no-sign."
            )
        if "\0" in self.secret:
            # HMAC pads keys with NUL, so that two keys that differ in NULs at the end are one (RFC 2104).
            raise SigningKeyError("The signing key holds a NUL character, which is not allowed.")

    @property
    def key_id(self) -> str:
        """What the package says of the key: the given id, or one derived from it."""
        return self.given_id or f"hmac:{self.sign(b'landscape-assets key id')[:16]}"

    @property
    def is_short(self) -> bool:
        """Whether the key is shorter than 16 bytes, and so perhaps guessable."""
        return len(self.secret.encode()) < SHORT_KEY_BYTES

    def sign(self, data: bytes) -> str:
        """The hex HMAC-SHA256 of some bytes."""
        return hmac.digest(self.secret.encode(), data, "sha256").hex()

    def sign_column(self, texts: pl.Series) -> pl.Series:
        """The hex HMAC-SHA256 of each text."""
        try:
            return texts.to_frame("text").select(signature=polars_hash.col("text").chash.hmac_sha256(key=self.secret))[
                "signature"
            ]
        except Exception as error:
            # The key is a part of the expression, and an error of the engine may quote the expression.
            raise SigningKeyError(f"Signing failed in the engine ({type(error).__name__}).") from None


@dataclass(frozen=True)
class ManifestKey:
    """An Ed25519 private key, which signs the bytes of manifest.json. Its text is never shown."""

    private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> ManifestKey:
        """The key in a PEM file.

        Raises:
            SigningKeyError: the file cannot be read, or holds no unencrypted Ed25519 private key.
        """
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise SigningKeyError(f"The private key file {path} cannot be read: {error.strerror}.") from None
        except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):
            raise SigningKeyError(f"{path} holds no unencrypted private key in PEM form.") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise SigningKeyError(
                f"{path} holds a private key of another kind than Ed25519. `landscape-assets keygen` makes one."
            )
        return cls(key)

    @property
    def key_id(self) -> str:
        """The hex SHA-256 of the public key's DER SubjectPublicKeyInfo."""
        der = self.private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return hashlib.sha256(der).hexdigest()

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of the signature (RFC 8032)."""
        return self.private.sign(data)


def now() -> str:
    """The time of an export as packages have it: UTC, with six decimals."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def manifest_record(run_id: str, record_count: int, final_hash: str, exported_at: str, key: SigningKey) -> bytes:
    """The contract's manifest record, with which a signed records.jsonl ends (contract, section 1), in canonical form.

    Args:
        run_id: the run.
        record_count: how many records there are before it.
        final_hash: what their signatures chain to.
        exported_at: when they were exported (`now`).
        key: the key.
    """
    record = {
        "record_type": "manifest",
        "run_id": run_id,
        "record_count": record_count,
        "final_hash": final_hash,
        "hash_algorithm": "sha256",
        "signature_algorithm": "hmac-sha256",
        "exported_at": exported_at,
    }
    record["signature"] = key.sign(canonical_json(record).encode())
    return canonical_json(record).encode()


def sign(
    batches: Iterable[Deferred[Records]], key: SigningKey | None, tagged_key: str | None = None
) -> Iterator[Deferred[SignedBatch]]:
    """Signs records.

    Args:
        batches: the records.
        key: the key, or None for an unsigned export.
        tagged_key: of the contract, which has some records signed in another form.

    Returns:
        Each batch with the signature of every record, or with its SHA-256 without a key.
    """

    def signed(make: Deferred[Records]) -> SignedBatch:
        batch = make()
        texts = pl.Series(batch.texts.column("canonical"))
        if key:
            hashes = key.sign_column(texts if tagged_key is None else signed_texts(texts, tagged_key))
        else:
            hashes = record_hashes(texts)
        return SignedBatch(batch, hashes.to_arrow(compat_level=pl.CompatLevel.oldest()))

    return (partial(signed, batch) for batch in batches)


def record_hashes(texts: pl.Series) -> pl.Series:
    """The hex SHA-256 of each record in canonical form, which stands for its signature in an unsigned export."""
    return texts.to_frame("text").select(hash=polars_hash.col("text").chash.sha2_256())["hash"]
