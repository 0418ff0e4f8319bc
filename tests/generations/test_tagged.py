"""v070 signs an object with one particular key in another form, and v060 and v071 do not.

Belongs here: what is signed of such records.
"""

import hashlib
import hmac
import json
from pathlib import Path

import polars as pl
import pytest
import rfc8785
from support.generations import KEY, SUBJECT, damaged
from support.pipeline import jsonl, make_all_files

from landscape_assets.records.sign import SigningKey
from landscape_assets.records.tagged import signed_texts

TAG = "__elspeth_canonical_type__"
CONFIG = {"b": [{TAG: "x", "é": 1, "a": {TAG: 2.5}}], "a": 1e20}
OTHER = {
    "b": [
        {
            TAG: "mapping",
            "entries": [
                {"key": TAG, "value": "x"},
                {"key": "a", "value": {TAG: "mapping", "entries": [{"key": TAG, "value": 2.5}]}},
                {"key": "é", "value": 1},
            ],
        }
    ],
    "a": 1e20,
}


def test_only_objects_with_the_key_are_in_the_other_form() -> None:
    """Text that looks like it is not, and numbers stay what they are."""
    plain = rfc8785.dumps({"n": f'"{TAG}":', "x": 1e20}).decode()
    texts = pl.Series([rfc8785.dumps(CONFIG).decode(), plain])
    assert signed_texts(texts, TAG).to_list() == [rfc8785.dumps(OTHER).decode(), plain]


@pytest.mark.parametrize(("generation", "signed"), [("v060", CONFIG), ("v070", OTHER), ("v071", CONFIG)])
def test_the_record_is_the_same_and_its_signature_is_not(generation: str, signed: object, tmp_path: Path) -> None:
    """The emitted record has the object as it is; the signature is that of the generation's form."""
    config = json.dumps(CONFIG | {"a": 1}, ensure_ascii=False).replace("'", "''")
    change = f"UPDATE nodes SET config_json = '{config}' WHERE run_id = '{{run}}'"
    path, run_id = damaged(generation, tmp_path, change), SUBJECT[generation]
    made = make_all_files(path, run_id, tmp_path / "out", SigningKey(KEY), "jsonl")
    nodes = [record for record in jsonl(made[run_id].files["jsonl"][0].facts.path) if record["record_type"] == "node"]
    assert nodes
    for record in nodes:
        signature = record.pop("signature")
        assert record["config"] == CONFIG | {"a": 1}
        form = rfc8785.dumps(record | {"config": signed | {"a": 1}})
        assert signature == hmac.new(KEY.encode(), form, hashlib.sha256).hexdigest()
