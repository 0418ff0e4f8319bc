"""Signatures and keys (docs/records.md, section 3): the contract's vector, and that a key is never shown.

Belongs here: keys and single signatures. Does not belong here: whole exports (`test_files.py`).
"""

import hashlib
import hmac

import polars as pl
import pytest
import rfc8785
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import hard_text

from landscape_assets.errors import SigningKeyError
from landscape_assets.records.sign import ManifestKey, SigningKey

VECTOR_KEY = "golden-key"
A = {
    "record_type": "run",
    "run_id": "r1",
    "status": "completed",
    "started_at": "2026-03-01T00:00:00",
    "completed_at": "2026-03-01T00:00:01.500000",
    "canonical_version": "sha256-rfc8785-v1",
    "config_hash": "0" * 64,
    "settings": {"b": 1, "a": {"z": [1.0, 2.5, None, True]}},
    "reproducibility_grade": "full_reproducible",
}
B = {
    "record_type": "row",
    "run_id": "r1",
    "row_id": "w0",
    "row_index": 0,
    "source_node_id": "src",
    "source_data_hash": "1" * 64,
}


def test_the_contract_s_vector():
    """The signatures, and the hash that they chain to, that the record contract gives."""
    key = SigningKey(VECTOR_KEY)
    texts = pl.Series([rfc8785.dumps(record).decode() for record in (A, B)])
    signatures = key.sign_column(texts).to_list()
    assert signatures == [
        "1b23db2231e1c7b9ec2b787321431a1d68a0bde1a3c534455fa419c84924bbac",
        "bc4cbf2f62a4ad088089f03f6c53a2a729f5bfe08d6bc4a3c7b673576b393964",
    ]
    chained = hashlib.sha256("".join(signatures).encode()).hexdigest()
    assert chained == "224b41f817bccf7d4b260d46ac54583d021894d8878b92659cecb224077d5de9"
    manifest = {
        "record_type": "manifest",
        "run_id": "r1",
        "record_count": 2,
        "final_hash": chained,
        "hash_algorithm": "sha256",
        "signature_algorithm": "hmac-sha256",
        "exported_at": "2026-03-01T00:00:02+00:00",
    }
    assert key.sign(rfc8785.dumps(manifest)) == "aab3f801a544d3fd5f12a1cd7948e11dbbc55f570442850a3a72a83987004cc7"


@given(
    hard_text.filter(lambda text: text.strip() and "\0" not in text) | st.text("k", min_size=60, max_size=70),
    st.lists(hard_text, min_size=1, max_size=3),
)
def test_a_column_is_signed_as_its_values_are(secret, texts):
    """Under any key, also one longer than a block of the hash, each text has the HMAC that Python's module gives."""
    key = SigningKey(secret)
    expected = [hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest() for text in texts]
    assert key.sign_column(pl.Series(texts)).to_list() == expected
    assert [key.sign(text.encode()) for text in texts] == expected


@pytest.mark.parametrize("secret", ["", " ", "\n\t ", "\u00a0"])
def test_a_blank_key_is_refused(secret):
    """Nothing but white space is no key."""
    with pytest.raises(SigningKeyError, match="blank"):
        SigningKey(secret)


def test_a_key_with_a_nul_character_is_refused():
    """HMAC takes a key that ends in NULs for the one without them."""
    assert hmac.digest(b"key", b"text", "sha256") == hmac.digest(b"key\0", b"text", "sha256")
    with pytest.raises(SigningKeyError, match="NUL"):
        SigningKey("key\0")


def test_the_key_id_is_given_or_derived():
    """The operator's id, or the first digits of an HMAC that says nothing of the key."""
    assert SigningKey("secret", "our key 7").key_id == "our key 7"
    digest = hmac.new(b"secret", b"landscape-assets key id", hashlib.sha256).hexdigest()
    assert SigningKey("secret").key_id == f"hmac:{digest[:16]}"


def test_a_key_is_short_below_sixteen_bytes():
    """It counts in bytes of UTF-8."""
    assert SigningKey("x" * 15).is_short
    assert not SigningKey("x" * 16).is_short
    assert not SigningKey("é" * 8).is_short


def test_a_key_does_not_show_itself():
    """Neither its text form nor that of what holds it has the secret."""
    key = SigningKey("do-not-show-me")
    assert "do-not-show-me" not in f"{key} {key!r} {[key]}"
    assert "PrivateKey" not in repr(ManifestKey(Ed25519PrivateKey.generate())).removeprefix("ManifestKey")


def test_a_manifest_key_is_read_from_pem(tmp_path):
    """An unencrypted Ed25519 key in PKCS 8; its id is the hash of the public key's DER form."""
    private = Ed25519PrivateKey.generate()
    path = tmp_path / "private.pem"
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    path.write_bytes(private.private_bytes(*pem, serialization.NoEncryption()))
    key = ManifestKey.load(path)
    public = private.public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert key.key_id == hashlib.sha256(der).hexdigest()
    public.verify(key.sign(b"data"), b"data")
    other = tmp_path / "other.pem"
    other.write_bytes(generate_private_key(SECP256R1()).private_bytes(*pem, serialization.NoEncryption()))
    locked = tmp_path / "locked.pem"
    locked.write_bytes(private.private_bytes(*pem, serialization.BestAvailableEncryption(b"p")))
    nothing = tmp_path / "nothing.pem"
    nothing.write_bytes(b"hello")
    for wrong, says in (
        (other, "another kind than Ed25519"),
        (locked, "no unencrypted private key"),
        (nothing, "no unencrypted private key"),
        (tmp_path / "missing", "cannot be read"),
    ):
        with pytest.raises(SigningKeyError, match=says):
            ManifestKey.load(wrong)
