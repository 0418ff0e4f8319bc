"""The asset checks of published packages: when they are green, what turns them red, and what they say then."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from support.databases import changing
from support.exporter import KEY
from support.operator import Operator, checks, messages
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN

from landscape_assets.dagster_defs.checks import CHECK_KEYS, verify_published_package

NAMES = {"package_verifies", "references_resolve", "counts_match_database"}
ALL = "all_packages_verify"


@pytest.fixture(scope="module")
def exported(
    sample_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Operator, dg.ExecuteInProcessResult]]:
    """An instance that has exported both runs of the sample, and the Dagster run of the first."""
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as environment, dg.DagsterInstance.ephemeral() as instance:
        environment.setenv("LANDSCAPE_DATABASE_URL", f"sqlite:///{sample_file}")
        environment.setenv("LANDSCAPE_EXPORT_DIR", str(folder / "exports"))
        environment.setenv("LANDSCAPE_SIGNING_KEY", KEY)
        operator = Operator(instance, folder / "exports")
        result = operator.export(COMPLETED_RUN)
        operator.export(FAILED_RUN)
        yield operator, result


@pytest.fixture
def published(
    exported: tuple[Operator, dg.ExecuteInProcessResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Operator:
    """The same instance, with a copy of the packages that a test may damage."""
    monkeypatch.setenv("LANDSCAPE_EXPORT_DIR", str(tmp_path / "exports"))
    shutil.copytree(exported[0].exports, tmp_path / "exports")
    return Operator(exported[0].instance, tmp_path / "exports")


def verify(operator: Operator, run_id: str = COMPLETED_RUN) -> dict[str, dg.AssetCheckEvaluation]:
    """The job for one package: it fails when a result of that package is an error."""
    result = operator.run("verify_package", run_id)
    found = checks(result)
    errors = [found[name] for name in NAMES if found[name].severity is dg.AssetCheckSeverity.ERROR]
    assert result.success is all(check.passed for check in errors)
    return found


def overall(operator: Operator) -> dg.AssetCheckEvaluation:
    """The latest result of all_packages_verify, as the overview shows it."""
    key = dg.AssetCheckKey(CHECK_KEYS[0].asset_key, ALL)
    record = operator.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    return record.event.dagster_event.asset_check_evaluation_data


def status(operator: Operator) -> dict[str, str]:
    """The latest result of package_verifies by partition."""
    infos = operator.instance.event_log_storage.get_asset_check_partition_info([CHECK_KEYS[0]])
    return {info.partition_key: info.latest_execution_status.value for info in infos if info.partition_key}


def test_every_export_ends_with_its_checks(exported: tuple[Operator, dg.ExecuteInProcessResult]) -> None:
    """All three run after the package is published, pass, and are stamped with the run."""
    found = checks(exported[1])
    assert set(found) == NAMES | {ALL}
    assert all(found[name].passed and found[name].partition == COMPLETED_RUN for name in NAMES)
    assert found[ALL].passed and found[ALL].partition is None
    assert found["package_verifies"].metadata["verdict"].value == "verified"
    assert "202 records" in (found["references_resolve"].description or "")
    assert "| node_states | 58 | 58 |" in found["counts_match_database"].metadata["tables"].value


def test_a_changed_record_turns_the_check_red_and_is_named(published: Operator) -> None:
    """The message names file and record; the Dagster run fails after its results were given, and other runs and other
    checks stay as they are."""
    file = published.exports / COMPLETED_RUN / "records.jsonl"
    lines = file.read_bytes().split(b"\n")
    record = json.loads(lines[40])
    record["run_id"] = "another"
    lines[40] = json.dumps(record, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    file.write_bytes(b"\n".join(lines))
    found = verify(published)
    check = found["package_verifies"]
    assert not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    assert "records.jsonl: «Every file has the listed size»" in (check.description or "")
    assert "records.jsonl, record 41: «run_id is the exported run's id in every record»" in (check.description or "")
    assert "| records.jsonl, record 41 | E322 record-signature |" in check.metadata["findings"].value
    assert found["counts_match_database"].passed
    assert status(published) == {COMPLETED_RUN: "FAILED", FAILED_RUN: "SUCCEEDED"}
    assert not found[ALL].passed and COMPLETED_RUN in (found[ALL].description or "")


def test_one_dagster_run_checks_all_packages_and_fails_naming_the_bad_ones(published: Operator) -> None:
    """Each result is of its partition; the state of all is red until the package is restored and checked."""
    file = published.exports / FAILED_RUN / "records.jsonl"
    before = file.read_bytes()
    file.write_bytes(before.replace(b"a", b"b", 1))
    result = published.run("verify_package")
    (message,) = messages(result)
    assert message.startswith(f"1 package(s) did not pass the checks.\n{FAILED_RUN}: records.jsonl: ")
    assert status(published) == {COMPLETED_RUN: "SUCCEEDED", FAILED_RUN: "FAILED"}
    found = overall(published)
    assert not found.passed and found.severity is dg.AssetCheckSeverity.ERROR
    assert found.metadata["bad"].value == [FAILED_RUN]
    assert not verify(published, COMPLETED_RUN)[ALL].passed, "another package's success does not make it green"
    file.write_bytes(before)
    assert verify(published, FAILED_RUN)[ALL].passed


def test_packages_that_were_never_checked_are_named(operate: Operator) -> None:
    """Packages of export_backlog have no checks yet: the state of all says so, and the longest unchecked come first."""
    assert operate.run("export_backlog").success
    first = operate.run("verify_package", verify_published_package={"config": {"most": 1}})
    (checked,) = status(operate)
    (left,) = {COMPLETED_RUN, FAILED_RUN} - {checked}
    found = overall(operate)
    assert first.success and not found.passed and found.severity is dg.AssetCheckSeverity.WARN
    assert found.metadata["unchecked"].value == [left]
    second = operate.run("verify_package", verify_published_package={"config": {"most": 1}})
    assert second.success and overall(operate).passed
    assert set(status(operate)) == {COMPLETED_RUN, FAILED_RUN}


@pytest.mark.parametrize("path", ["csv/token.csv", "manifest.json", "VERIFY.md"])
def test_a_missing_file_turns_the_check_red_and_is_named(published: Operator, path: str) -> None:
    """A package without its manifest, too: the checks fail, or say that they cannot be made; nothing passes by
    mistake."""
    (published.exports / COMPLETED_RUN / path).unlink()
    result = published.run("verify_package", COMPLETED_RUN)
    found = checks(result)
    assert not found["package_verifies"].passed
    assert path in (found["package_verifies"].description or "")
    assert not result.success


def test_a_package_that_was_exchanged_for_a_consistent_one_is_found_out(
    published: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unsigned package that holds in itself does not pass for the signed one that Dagster knows to be published."""
    shutil.rmtree(published.exports / COMPLETED_RUN)
    with dg.DagsterInstance.ephemeral() as elsewhere, monkeypatch.context() as unsigned:
        unsigned.setenv("LANDSCAPE_SIGN", "no")
        assert Operator(elsewhere, published.exports).export(COMPLETED_RUN).success
    check = verify(published)["package_verifies"]
    assert not check.passed
    assert "not the one that Dagster knows to be published" in (check.description or "")


def test_a_package_signed_before_the_key_was_changed_is_not_called_wrong(
    published: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its manifest is the one that was published, so that it passes, and the check says that signatures were not
    checked."""
    monkeypatch.setenv("LANDSCAPE_SIGNING_KEY", "another key, of more than sixteen bytes")
    check = verify(published)["package_verifies"]
    assert check.passed and "signatures were not checked" in (check.description or "")
    with dg.DagsterInstance.ephemeral() as fresh:  # with Dagster's storage lost, nothing speaks for it
        check = verify(Operator(fresh, published.exports))["package_verifies"]
        assert not check.passed and check.severity is dg.AssetCheckSeverity.WARN


def test_rows_that_came_or_went_in_the_audit_database_are_found(
    published: Operator, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another number of rows is an error that names the table; a run that is gone is a warning."""
    monkeypatch.setenv("LANDSCAPE_DATABASE_URL", f"sqlite:///{sample}")
    with changing(sample) as connection:
        connection.execute(
            "DELETE FROM artifacts WHERE rowid IN (SELECT min(rowid) FROM artifacts WHERE run_id = ?)", (COMPLETED_RUN,)
        )
    check = verify(published)["counts_match_database"]
    assert not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    assert check.description == "Table artifacts has 3 rows of this run now, and had 4 when it was exported."
    with changing(sample) as connection:
        connection.execute("DELETE FROM runs WHERE run_id = ?", (COMPLETED_RUN,))
    check = verify(published)["counts_match_database"]
    assert not check.passed and check.severity is dg.AssetCheckSeverity.WARN
    assert "no longer has this run" in (check.description or "")


def test_without_records_jsonl_references_are_not_said_to_resolve(
    operate: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package of other formats verifies; what cannot be checked on it is a warning, not a pass."""
    monkeypatch.setenv("LANDSCAPE_FORMATS", "csv")
    found = checks(operate.export(COMPLETED_RUN))
    assert found["package_verifies"].passed
    assert not found["references_resolve"].passed
    assert found["references_resolve"].severity is dg.AssetCheckSeverity.WARN


def test_metadata_holds_neither_key_nor_content(
    exported: tuple[Operator, dg.ExecuteInProcessResult], sample_file: Path
) -> None:
    """Whatever Dagster keeps of an export: no signing key, and no text of the audited rows."""
    operator, result = exported
    events = "\n".join(dg.serialize_value(entry) for entry in operator.instance.all_logs(result.run_id))
    assert KEY not in events
    with changing(sample_file) as connection:
        texts = {
            row[0]
            for query in (
                "SELECT config_hash FROM runs",
                "SELECT settings_json FROM runs",
                "SELECT config_json FROM nodes",
                "SELECT token_id FROM tokens",
                "SELECT source_data_hash FROM rows",
                "SELECT error_json FROM node_states",
                "SELECT request_hash FROM calls",
                "SELECT fingerprint FROM secret_resolutions",
            )
            for row in connection.execute(query)
            if row[0] and len(row[0]) > 8
        }
    assert texts and not [text for text in texts if text in events or json.dumps(text)[1:-1] in events]


def test_checks_can_be_executed_one_by_one() -> None:
    """Dagster's UI offers *Execute* and *Execute all* only for checks that can be taken apart."""
    assert verify_published_package.can_subset
