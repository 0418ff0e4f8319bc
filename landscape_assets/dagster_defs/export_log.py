"""The export log as an asset, and the check that it agrees with the export folder.

Belongs here: what the UI shows of the log, and when it is appended to besides exports. Does not belong here: the log
(`evidence/export_log.py`), and its verifier (`verify/log.py`).

Dagster's own event log keeps each checkpoint that was materialized: the check takes the last one as the checkpoint that
was kept elsewhere, so that a log that was cut since then is noticed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .. import settings
from ..errors import ExportError
from ..evidence.export_log import CHECKPOINT, Appended, append_or_say, log_folder, sync
from ..package.publish import Published
from ..printable import printable
from ..verify import Status
from ..verify.log import LogReport, verify_log
from .failures import RETRIES, explained

LOG = dg.AssetKey(["export", "log"])
_CHECKPOINT = "checkpoint"
_INDEX = "log index"
_SHOWN = 50


@dg.asset(
    key=LOG,
    group_name="export",
    kinds={"json"},
    description=(
        "The append-only log of all publications, `.log` in the export folder (docs/log.md). Each publication is "
        "appended by the step that publishes; materialized by itself, this asset appends what was left out. There is a "
        "log when LANDSCAPE_SIGNING_PRIVATE_KEY_FILE names a key."
    ),
    retry_policy=RETRIES,
)
def export_log(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Appends what is not in the log yet."""
    with explained():
        chosen, export_dir = settings.log_settings(), settings.export_dir()
        if chosen is None:
            raise ExportError(
                f"There is no log without a private key, which signs it. Name one in {settings.PRIVATE_KEY_FILE}."
            )
        done = sync(export_dir, chosen.key, chosen.origin)
        for problem in done.problems:
            context.log.warning(f"Not logged: {problem}")
        return dg.MaterializeResult(data_version=dg.DataVersion(done.root), metadata=_metadata(export_dir, done))


def log_published(context: dg.OpExecutionContext | dg.AssetExecutionContext, published: Published) -> dict[str, Any]:
    """Logs a package that was just published, and tells Dagster of the log.

    Args:
        context: of the step that published.
        published: the package.

    Returns:
        Metadata of the package: its place in the log. Where there is no log, or it cannot be written, nothing: a
        package that is published stays so, and a warning says what was left out.
    """
    with explained():
        chosen = settings.log_settings()
    if chosen is None:
        return {}
    export_dir = published.path.parent
    done, problem = append_or_say(export_dir, chosen, [published.path])
    if done is None:
        context.log.warning(f"The package is published and not in the log: {problem}")
        return {}
    tell_of_log(context, export_dir, done)
    return log_index(done.indices.get(published.manifest_sha256))


def tell_of_log(context: dg.OpExecutionContext | dg.AssetExecutionContext, export_dir: Path, done: Appended) -> None:
    """Logs a materialization of the log."""
    context.log_event(dg.AssetMaterialization(LOG, metadata=_metadata(export_dir, done)))


def log_index(index: int | None) -> dict[str, Any]:
    """What the metadata of a package say of its place in the log."""
    return {} if index is None else {_INDEX: dg.MetadataValue.int(index)}


def _metadata(export_dir: Path, done: Appended) -> dict[str, Any]:
    checkpoint = (log_folder(export_dir) / CHECKPOINT).read_text("utf-8")
    return {
        "size": dg.MetadataValue.int(done.size),
        "root": dg.MetadataValue.text(done.root),
        "origin": dg.MetadataValue.text(done.origin),
        "added": dg.MetadataValue.int(done.added),
        _CHECKPOINT: dg.MetadataValue.text(checkpoint),
    }


@dg.asset_check(
    asset=LOG,
    name="agrees_with_folder",
    description=(
        "Every entry of the log has its package, every package its entry, and the log goes on from the checkpoint that "
        "Dagster kept of its last materialization. The files of packages are the matter of their own checks."
    ),
    retry_policy=RETRIES,
)
def log_agrees_with_folder(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Verifies the log, with the public half of the key."""
    with explained():
        chosen, export_dir = settings.log_settings(), settings.export_dir()
    if chosen is None:
        return dg.AssetCheckResult(
            passed=True, description=f"There is no log: {settings.PRIVATE_KEY_FILE} names no key, which would sign it."
        )
    public_key = chosen.key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    kept = _kept_checkpoint(context.instance)
    report = verify_log(export_dir, public_key=public_key, checkpoint=kept, origin=chosen.origin, packages=False)
    metadata: dict[str, Any] = {
        "verdict": report.status.name.lower(),
        "entries": dg.MetadataValue.int(int(str(report.facts.get("size", 0)))),
        "packages": dg.MetadataValue.int(int(str(report.facts.get("packages", 0)))),
        "earlier checkpoint": "none was kept yet" if kept is None else kept.decode("utf-8", "replace"),
    }
    if report.findings:
        metadata["findings"] = dg.MetadataValue.md(_table(report))
    passed = report.status in (Status.VERIFIED, Status.CONSISTENT)
    return dg.AssetCheckResult(passed=passed, description=_description(report), metadata=metadata)


def _kept_checkpoint(instance: dg.DagsterInstance) -> bytes | None:
    """The checkpoint of the last materialization of the log; None when there was none."""
    event = instance.get_latest_materialization_event(LOG)
    if event is None or event.asset_materialization is None:
        return None
    value = event.asset_materialization.metadata.get(_CHECKPOINT)
    return None if value is None else str(value.value).encode("utf-8")


def _description(report: LogReport) -> str:
    if not report.findings:
        return f"{report.facts['size']} entries and {report.facts['packages']} packages agree."
    first, count = report.findings[0], len(report.findings) + sum(report.omitted.values())
    place = "" if first.record is None else f"number {first.record}: "
    return printable(f"{count} finding(s); the first: {place}{first.message}")


def _table(report: LogReport) -> str:
    rows = [
        f"| {one.record or ''} | {one.code} | {printable(one.message).replace('|', '&#124;')} |"
        for one in report.findings[:_SHOWN]
    ]
    more = [] if len(report.findings) <= _SHOWN else ["", "`landscape-assets verify --log` lists all."]
    return "\n".join(["| number | code | what |", "|---:|---|---|", *rows, *more])


VERIFY_LOG = dg.define_asset_job(
    "verify_log",
    selection=dg.AssetSelection.checks(log_agrees_with_folder),
    executor_def=dg.in_process_executor,
    tags={"landscape/work": "verification"},
    description="Checks that the log of the export folder and the folder agree.",
)
