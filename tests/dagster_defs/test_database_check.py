"""The asset check of the audit database: what it says, and when it runs.

Belongs here: the check, its job and its schedule. Does not belong here: what counts as damage
(`../landscape/test_integrity.py`).
"""

from pathlib import Path

import dagster as dg
import pytest
from support.databases import AuditFile
from support.operator import Operator, checks, messages
from support.sample_v1 import COMPLETED_RUN

from landscape_assets.contract import V1
from landscape_assets.dagster_defs.build import build_defs

CHECK = "rows_belong_to_runs"


def test_a_database_without_damage_passes(operate: Operator, sample: Path) -> None:
    """It says how much was looked at, and of which database; it belongs to the database, and to no run."""
    result = operate.run("check_database")
    assert result.success
    (check,) = checks(result).values()
    assert (check.check_name, check.asset_key) == (CHECK, dg.AssetKey(["landscape", "audit_database"]))
    assert check.passed and check.partition is None
    assert check.description == f"Nothing found; {len(V1.tables)} tables of 3 run(s) were looked at."
    assert {name: value.value for name, value in check.metadata.items()} == {
        "database": str(sample),
        "contract": "v1",
        "count of findings": 0,
    }


def test_findings_are_counted_and_the_first_are_shown(operate: Operator, sample: Path) -> None:
    """The check is red, and then the Dagster run fails, so that alerts see it; fifty findings are in its
    table, whatever is in the ids."""
    audit = AuditFile(sample)
    audit.execute("UPDATE calls SET state_id = 'a|b' || char(10) || call_id WHERE state_id IS NOT NULL")
    ((calls,),) = audit.execute("SELECT count(*) FROM calls WHERE state_id IS NOT NULL")
    audit.execute("UPDATE token_outcomes SET batch_id = 'ghost'")
    ((outcomes,),) = audit.execute("SELECT count(*) FROM token_outcomes")
    audit.execute("UPDATE batch_members SET batch_id = 'ghost' || batch_id")
    ((members,),) = audit.execute("SELECT count(*) FROM batch_members")
    count = calls + outcomes + members
    assert calls < 50 < count
    result = operate.run("check_database")
    assert not result.success
    check = checks(result)[CHECK]
    assert messages(result) == [check.description]
    assert not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    assert (check.description or "").startswith(f"{count} finding(s); {len(V1.tables)} tables of 3 run(s)")
    assert check.metadata["count of findings"].value == count
    lines = check.metadata["findings"].value.splitlines()
    assert len(lines) == 2 + 50
    assert all(line.count("|") == 6 for line in lines)
    assert "| which is the id of no row of node_states |" in lines[2] and "a&#124;b\\n" in lines[2]


def test_metadata_holds_no_password(operate: Operator, audit, monkeypatch: pytest.MonkeyPatch) -> None:
    """On PostgreSQL the database is named without credentials."""
    monkeypatch.setenv("LANDSCAPE_DATABASE_URL", audit.url)
    audit.execute("UPDATE rows SET source_node_id = 'ghost'")
    result = operate.run("check_database")
    check = checks(result)[CHECK]
    assert not check.passed
    assert check.metadata["database"].value.startswith("postgresql://127.0.0.1:")
    password = audit.url.split("@")[0].rpartition(":")[2]
    assert len(password) > 3
    assert not [entry for entry in operate.instance.all_logs(result.run_id) if password in dg.serialize_value(entry)]


def test_a_database_that_cannot_be_read_fails_the_run(operate: Operator, sample: Path) -> None:
    """It does not pass for one without damage."""
    sample.unlink()
    result = operate.run("check_database")
    assert not result.success and not checks(result)
    assert "There is no file" in messages(result)[0]


def test_an_export_does_not_look_through_the_database(operate: Operator) -> None:
    """Neither the job, nor the assets chosen all together."""
    assert CHECK not in checks(operate.export(COMPLETED_RUN))
    result = dg.materialize(
        [*operate.defs.assets, *operate.defs.asset_checks],
        selection="*",
        instance=operate.instance,
        partition_key=COMPLETED_RUN,
        resources=operate.defs.resources,
    )
    assert result.success
    assert set(checks(result)) == {
        "agrees_with_folder",
        "package_verifies",
        "references_resolve",
        "counts_match_database",
        "all_packages_verify",
    }


def test_the_schedule_asks_for_one_check_a_night(operate: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the nightly exports, off at first, at the cron of LANDSCAPE_CHECK_CRON."""
    schedule = operate.defs.resolve_schedule_def("database_check")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 1 * * *", "UTC")
    assert (schedule.job_name, schedule.default_status) == ("check_database", dg.DefaultScheduleStatus.STOPPED)
    with dg.build_schedule_context(
        instance=operate.instance, repository_def=operate.defs.get_repository_def()
    ) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or []
    assert request.partition_key is None
    monkeypatch.setenv("LANDSCAPE_CHECK_CRON", "15 5 * * 0")
    assert build_defs().resolve_schedule_def("database_check").cron_schedule == "15 5 * * 0"
