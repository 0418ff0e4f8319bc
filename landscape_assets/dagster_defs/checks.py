"""Asset checks of published packages (https://docs.dagster.io/guides/test/asset-checks), partitioned like
export/manifest.

Belongs here: what is checked of a package after it was published, and how the UI shows the result. What decides whether
a package is published at all raises in the export itself, and is no check. Does not belong here: the verification
(`verify/`).

Descriptions and metadata name files, records and rules, never what a record holds.
"""

import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from pydantic import Field

from ..database import AuditDatabase
from ..errors import DatabaseError, ExportError, PackageError
from ..failures import explain
from ..package import package_path, read_manifest
from ..settings import Settings
from ..status import published_packages
from ..verify import CODES, Finding, Report, verify_package
from .failures import RETRIES, explained, named
from .package_metadata import MANIFEST, MANIFEST_SHA256, noted_publication
from .partitions import RUNS, in_flight, why_not_a_key
from .resources import Workspace

_VERIFIES, _RESOLVE, _COUNTS = "package_verifies", "references_resolve", "counts_match_database"
_ALL = "all_packages_verify"
_REFERENCE_CODES = ("E332", "E335")
_SHOWN = 50
_TOLD = 3

CHECK_KEYS = [dg.AssetCheckKey(MANIFEST, name) for name in (_VERIFIES, _RESOLVE, _COUNTS)]


def _spec(name: str, description: str) -> dg.AssetCheckSpec:
    with warnings.catch_warnings():
        # Without partitions, the last run that was checked would speak for all. The parameter is a preview in Dagster
        # 1.13; what is relied on is pinned by tests.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(name, asset=MANIFEST, description=description, partitions_def=RUNS)


class VerifyConfig(dg.Config):
    """The run config of the checks where a Dagster run is not of one partition."""

    seconds: int = Field(default=3600, ge=1, description="No further package is begun after so many seconds.")
    most: int | None = Field(default=None, ge=1, description="How many packages are checked at most.")


@dg.multi_asset_check(
    name="verify_published_package",
    specs=[
        _spec(
            _VERIFIES,
            "The package is whole and unchanged: every size, SHA-256, count, rule and signature, the chain of the "
            "records, and manifest.json is the one that was published.",
        ),
        _spec(_RESOLVE, "Every id in the package that refers to a record is the id of a record in the package."),
        _spec(_COUNTS, "The audit database has as many rows of the run in each table now as the package was made of."),
        dg.AssetCheckSpec(
            _ALL,
            asset=MANIFEST,
            description="No published package is known to be bad, and each was checked: the state of all partitions.",
        ),
    ],
    can_subset=True,  # else the UI does not offer to execute checks without a materialization
    retry_policy=RETRIES,
)
def verify_published_package(
    context: dg.AssetCheckExecutionContext, config: VerifyConfig, workspace: dg.ResourceParam[Workspace]
) -> Iterator[dg.AssetCheckResult | dg.Output[None]]:
    """Checks the package of the partition; in a Dagster run without one, published packages, the longest unchecked
    first. The step fails when a package is bad, after the results were given."""
    settings = workspace.settings
    selected = {key.name for key in context.op_execution_context.selected_asset_check_keys}
    with explained(settings):
        if not context.has_partition_key:
            bad = _check_many(context, config, settings)
            _log(context, _evaluation(_all_packages(context.instance, settings, bad)))
            for name in sorted(context.op_execution_context.selected_output_names):
                yield dg.Output(None, name)
        else:
            results, bad = [], {}
            try:
                for result in _check(context.instance, settings, context.partition_key):
                    if result.check_name in selected:
                        yield result
                    results.append(result)
            except (ExportError, OSError) as error:
                if isinstance(error, DatabaseError) and error.transient:
                    raise
                bad[context.partition_key] = explain(error)
            if complaint := _complaint(results):
                bad[context.partition_key] = complaint
            if _ALL in selected:
                yield _all_packages(context.instance, settings, bad)
    if bad:
        raise dg.Failure(named(bad, "package(s) did not pass the checks"), allow_retries=False)


def _check(instance: dg.DagsterInstance, settings: Settings, run_id: str) -> Iterator[dg.AssetCheckResult]:
    """The three checks of a package: by the independent verifier, and by the audit database."""
    package = package_path(settings.export_dir, run_id)
    key, public_key, unproven = _keys(package, settings)
    report = verify_package(package, key=key, public_key=public_key, run_id=run_id)
    yield _verifies(report, _published_sha256(instance, run_id), unproven)
    yield _resolve(report)
    yield _counts(settings, run_id)


def _check_many(context: dg.AssetCheckExecutionContext, config: VerifyConfig, settings: Settings) -> dict[str, str]:
    """Checks published packages and logs each result by its partition, and how many there are without one; gives the
    bad ones, with what is wrong. (Dagster cannot turn results into evaluations of several partitions by itself.)"""
    instance = context.instance
    due = due_packages(instance, settings)
    bad: dict[str, str] = {}
    checked, end = 0, time.monotonic() + config.seconds
    for run_id in due[: config.most]:
        if time.monotonic() > end:
            break
        results = []
        try:
            for result in _check(instance, settings, run_id):
                results.append(result)
                _log(context, _evaluation(result, run_id))
        except (ExportError, OSError) as error:
            bad[run_id] = explain(error)
        if complaint := _complaint(results):
            bad[run_id] = complaint
        checked += 1
    said = f"{checked:,} of {len(due):,} published packages were checked, the longest unchecked first."
    context.log.info(said)
    if bad:
        said = f"{said} {len(bad):,} did not pass: {_names(sorted(bad))}."
    for key in CHECK_KEYS:
        _log(context, dg.AssetCheckEvaluation(MANIFEST, key.name, passed=not bad, description=said))
    return bad


def _log(context: dg.AssetCheckExecutionContext, evaluation: dg.AssetCheckEvaluation) -> None:
    """Logs an evaluation of any partition as one of this Dagster run."""
    # Dagster 1.13 takes evaluations here, too; its annotation does not say so.
    context.op_execution_context.log_event(evaluation)  # type: ignore[arg-type]


def due_packages(instance: dg.DagsterInstance, settings: Settings) -> list[str]:
    """The published packages that no Dagster run is at work on, the longest unchecked first."""
    checked: dict[str, int] = {}
    for info in instance.event_log_storage.get_asset_check_partition_info(CHECK_KEYS):
        if info.partition_key is not None:
            event = info.latest_check_event_storage_id
            checked[info.partition_key] = min(event, checked.get(info.partition_key, event))
    busy = in_flight(instance)
    due = sorted(
        (checked.get(run_id, 0), written, run_id)
        for run_id, written in published_packages(settings.export_dir)
        if run_id not in busy and why_not_a_key(run_id) is None
    )
    return [run_id for _, _, run_id in due]


def _complaint(results: list[dg.AssetCheckResult]) -> str:
    """What is wrong with a package by its results; empty when nothing is, or it is only a warning."""
    return " ".join(
        result.description or ""
        for result in results
        if not result.passed and result.severity is dg.AssetCheckSeverity.ERROR
    )


def _evaluation(result: dg.AssetCheckResult, run_id: str | None = None) -> dg.AssetCheckEvaluation:
    assert result.check_name is not None
    return dg.AssetCheckEvaluation(
        MANIFEST,
        result.check_name,
        result.passed,
        result.metadata,
        severity=result.severity,
        description=result.description,
        partition=run_id,
    )


def _all_packages(instance: dg.DagsterInstance, settings: Settings, found: Mapping[str, str]) -> dg.AssetCheckResult:
    """What is known of all published packages: the latest result of each, and what was found just now."""
    infos = instance.event_log_storage.get_asset_check_partition_info([CHECK_KEYS[0]])
    passed = {info.partition_key: info.latest_execution_status for info in infos if info.partition_key is not None}
    bad, unchecked = [], []
    published = sorted(run_id for run_id, _ in published_packages(settings.export_dir))
    for run_id in published:
        if (status := passed.get(run_id)) == AssetCheckExecutionRecordStatus.FAILED or run_id in found:
            bad.append(run_id)
        elif status != AssetCheckExecutionRecordStatus.SUCCEEDED:
            unchecked.append(run_id)
    said = f"{len(published):,} packages are published."
    if bad:
        said += f" {len(bad):,} did not pass: {_names(bad)}."
    if unchecked:
        said += f" {len(unchecked):,} were not checked yet: {_names(unchecked)}."
    return dg.AssetCheckResult(
        check_name=_ALL,
        asset_key=MANIFEST,
        passed=not bad and not unchecked,
        severity=dg.AssetCheckSeverity.ERROR if bad else dg.AssetCheckSeverity.WARN,
        description=said,
        metadata={"bad": dg.MetadataValue.json(bad), "unchecked": dg.MetadataValue.json(unchecked)},
    )


def _names(run_ids: list[str]) -> str:
    more = f" and {len(run_ids) - _SHOWN:,} more" if len(run_ids) > _SHOWN else ""
    return f"{', '.join(run_ids[:_SHOWN])}{more}"


def _keys(package: Path, settings: Settings) -> tuple[bytes | None, bytes | None, str]:
    """The keys to verify a package with: the present ones, where the package names them; and why there is none.

    A package that was signed before the key was changed is not wrong; it can only not be proven with the present key.
    """
    key, manifest_key = settings.key, settings.manifest_key
    try:
        manifest = read_manifest(package)
    except PackageError:
        manifest = {}  # the verifier says what is wrong with it
    named, public = _key_id(manifest, "signing"), _key_id(manifest, "public_key")
    public_key = None
    if manifest_key is not None and public == manifest_key.key_id:
        public_key = manifest_key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if key is None:
        return None, public_key, "" if named is None else "The package is signed, but no signing key is set."
    if named == key.key_id:
        return key.secret.encode(), public_key, ""
    signed = "not signed" if named is None else f"signed with the key {named}"
    return (
        None,
        public_key,
        f"The package is {signed}, and the present key is {key.key_id}: signatures were not checked.",
    )


def _key_id(manifest: Mapping[str, Any], field: str) -> str | None:
    named = manifest.get(field)
    return str(named.get("key_id")) if isinstance(named, dict) else None


def _published_sha256(instance: dg.DagsterInstance, run_id: str) -> str | None:
    """The SHA-256 of manifest.json that Dagster noted when the package was last published, or found unchanged."""
    noted = noted_publication(instance, run_id)
    return None if noted is None else str(noted.metadata[MANIFEST_SHA256].value)


def _verifies(report: Report, published: str | None, unproven: str) -> dg.AssetCheckResult:
    found = report.facts.get("manifest_sha256")
    severity = dg.AssetCheckSeverity.ERROR
    if report.findings:
        passed, said = False, _describe(report.findings)
    elif published is not None and found != published:
        passed = False
        said = (
            f"manifest.json: it is not the one that Dagster knows to be published (SHA-256 {found} instead of "
            f"{published}). If the package was superseded from elsewhere, materialize export/manifest again; otherwise "
            f"the package was exchanged."
        )
    elif unproven and published is None:
        passed, severity = False, dg.AssetCheckSeverity.WARN
        said = f"{unproven} Nor does Dagster know the manifest that was published. Everything else holds."
    else:
        passed = True
        signatures = "the signatures included." if report.facts.get("key_id") else "but it is not signed."
        said = unproven or f"Everything was verified, {signatures}"
    return dg.AssetCheckResult(
        check_name=_VERIFIES,
        asset_key=MANIFEST,
        passed=passed,
        severity=severity,
        description=said,
        metadata={
            "verdict": report.status.name.lower(),
            "checks": dg.MetadataValue.md(_checks_table(report)),
            "package": dg.MetadataValue.path(str(report.path)),
            **_findings_metadata(report.findings),
        },
    )


def _resolve(report: Report) -> dg.AssetCheckResult:
    findings = [finding for finding in report.findings if finding.code in _REFERENCE_CODES]
    severity = dg.AssetCheckSeverity.ERROR
    if findings:
        passed, said = False, _describe(findings)
    elif report.record_count is None:
        passed, severity = False, dg.AssetCheckSeverity.WARN
        said = "Not checked: records.jsonl cannot be read, or is not among the formats of this package."
    else:
        passed, said = True, f"All references among {report.record_count:,} records resolve."
    return dg.AssetCheckResult(
        check_name=_RESOLVE,
        asset_key=MANIFEST,
        passed=passed,
        severity=severity,
        description=said,
        metadata=_findings_metadata(findings),
    )


def _describe(findings: list[Finding]) -> str:
    """The first findings as one sentence: those about whole files, then those about records, then derived views."""
    first = sorted(findings, key=lambda finding: (finding.code, finding.file, finding.record or 0))[:_TOLD]
    more = f" And {len(findings) - _TOLD} more, below." if len(findings) > _TOLD else ""
    return "; ".join(f"{_place(finding)}: {_rule(finding)} does not hold" for finding in first) + f".{more}"


def _place(finding: Finding) -> str:
    file = finding.file if finding.file.isprintable() else ascii(finding.file)
    return file if finding.record is None else f"{file}, record {finding.record}"


def _rule(finding: Finding) -> str:
    code = CODES[finding.code]
    return f"«{code.rule.rstrip('.')}» ({code})"


def _findings_metadata(findings: list[Finding]) -> dict[str, dg.MetadataValue]:
    if not findings:
        return {}
    rows = "\n".join(
        f"| {_place(finding).replace('|', '&#124;')} | {CODES[finding.code]} | {CODES[finding.code].rule} |"
        for finding in findings[:_SHOWN]
    )
    table = f"| where | code | rule that does not hold |\n|---|---|---|\n{rows}"
    return {"findings": dg.MetadataValue.md(table), "count of findings": dg.MetadataValue.int(len(findings))}


def _checks_table(report: Report) -> str:
    rows = "\n".join(f"| {check.name} | {check.outcome} | {check.detail} |" for check in report.checks)
    return f"| checked | outcome | |\n|---|---|---|\n{rows}"


def _counts(settings: Settings, run_id: str) -> dg.AssetCheckResult:
    """Counts the rows of the run in the audit database, and compares with the manifest."""
    exported: dict[str, int] = read_manifest(package_path(settings.export_dir, run_id)).get("tables") or {}
    with AuditDatabase(settings.database_url) as database:
        present = run_id in database.runs
        counted = database.count(run_id) if present else {}
    differing = [name for name in sorted({*exported, *counted}) if exported.get(name) != counted.get(name)]
    severity = dg.AssetCheckSeverity.ERROR
    if not present:
        severity = dg.AssetCheckSeverity.WARN
        said = "The audit database no longer has this run: there is nothing to compare with. The package is its record."
    elif differing:
        name = differing[0]
        more = f" And {len(differing) - 1} more tables differ, below." if len(differing) > 1 else ""
        said = (
            f"Table {name} has {counted.get(name, 0):,} rows of this run now, and had {exported.get(name, 0):,} when "
            f"it was exported.{more}"
        )
    else:
        said = f"All {len(counted)} tables have as many rows as when they were exported."
    rows = "\n".join(
        f"| {name} | {exported.get(name, 0):,} | {counted.get(name, 0):,} |" for name in {**exported, **counted}
    )
    return dg.AssetCheckResult(
        check_name=_COUNTS,
        asset_key=MANIFEST,
        passed=present and not differing,
        severity=severity,
        description=said,
        metadata={"tables": dg.MetadataValue.md(f"| table | exported | now |\n|---|---:|---:|\n{rows}")},
    )


CHECKS = [verify_published_package]
