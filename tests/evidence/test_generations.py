"""Disclosures of runs that newer generations of ELSPETH recorded.

Belongs here: what differs from v1. Does not belong here: disclosures as such (`test_disclosures.py`).
"""

import json
from pathlib import Path

import pytest
from support.exporter import Exporter
from support.generations import GENERATIONS, SUBJECT, database

from landscape_assets.evidence import Choice
from landscape_assets.evidence.disclose import disclose
from landscape_assets.verify import Status, verify_disclosure, verify_package

from .conftest import KEY, Signer


@pytest.fixture(scope="module", params=GENERATIONS)
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Path:
    """The package of a run with rows in every table."""
    exporter = Exporter(tmp_path_factory.mktemp(request.param))
    outcome = exporter.outcome(database(request.param), SUBJECT[request.param], **signer.settings)
    assert outcome["log_index"] == 0, outcome
    return Path(outcome["package"])


def test_each_record_of_a_run(package: Path, signer: Signer, tmp_path: Path):
    """All records are disclosed and verify, the manifest record left out, which is none of the tree."""
    report = verify_package(package, key=KEY.encode(), public_key=signer.public_key)
    assert report.status is Status.VERIFIED, report.to_text()
    run_id = str(report.run_id)
    lines = (package / "records.jsonl").read_bytes().splitlines()
    made = disclose(package, Choice(records=(("run", run_id),)))
    assert list(made.records) == [0]
    tokens = {record["token_id"] for record in _records(package) if record["record_type"] == "token"}
    rows = {record["row_id"] for record in _records(package) if record["record_type"] == "row"}
    for choice in (Choice(tokens=tuple(tokens)), Choice(rows=tuple(rows))):
        made = disclose(package, choice)
        file = tmp_path / "disclosure.json"
        file.write_bytes(made.data)
        verdict = verify_disclosure(file, key=KEY.encode(), public_key=signer.public_key, run_id=run_id)
        assert verdict.status is Status.VERIFIED, verdict.to_text()
        assert 0 < verdict.record_count < len(lines)
        assert max(made.records) < len(lines) - 1


def test_what_a_sink_wrote_of_a_token(package: Path):
    """With the token come its effects, their attempts, artifacts and operations; the effects of others do not."""
    every = _records(package)
    members = [record for record in every if record["record_type"] == "sink_effect_member"]
    if not members:
        assert SUBJECT["v071"] != package.name
        return
    for token in {record["token_id"] for record in members}:
        effects = {record["effect_id"] for record in members if record["token_id"] == token}
        found = list(disclose(package, Choice(tokens=(token,))).records.values())
        for kind, name in (
            ("sink_effect", "effect_id"),
            ("sink_effect_attempt", "effect_id"),
            ("artifact", "sink_effect_id"),
            ("operation", "sink_effect_id"),
        ):
            wanted = [one for one in every if one["record_type"] == kind and one[name] in effects]
            assert [one for one in found if one["record_type"] == kind and one[name] is not None] == wanted
        assert [one for one in found if one["record_type"] == "sink_effect"]
        mine = [one["token_id"] for one in found if one["record_type"] == "sink_effect_member"]
        assert set(mine) == {token}


def _records(package: Path) -> list[dict]:
    return [json.loads(line) for line in (package / "records.jsonl").read_bytes().splitlines()[:-1]]
