"""Fixtures of the tests of trust.

Belongs here: keys and signed packages. Does not belong here: damage to packages (`../verify/`) and faults
(`../faults/`).
"""

import pytest

from landscape_assets.keygen import make_key_pair


@pytest.fixture
def key_pair(tmp_path):
    """The files of an Ed25519 private key and of its public key."""
    folder = tmp_path / "keys"
    folder.mkdir()
    public, _ = make_key_pair(folder / "private.pem")
    return folder / "private.pem", public
