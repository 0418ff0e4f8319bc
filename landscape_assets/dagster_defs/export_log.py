"""The export log as an asset, and the check that it agrees with the export folder.

Belongs here: what the UI shows of the log, and when it is appended to besides exports. Does not belong here: the log
(`evidence/export_log.py`), and its verifier (`verify/log.py`).

Dagster's own event log keeps each checkpoint that was materialized: the check takes the last one as the checkpoint that
was kept elsewhere, so that a log that was cut since then is noticed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..evidence import CHECKPOINT, Appended, append_or_say, log_folder, stamp_or_say, sync
from ..package import Published
from ..printable import printable
from ..settings import PRIVATE_KEY_FILE, Settings
from ..verify import Report, Status, verify_log
from .failures import RETRIES, explained
from .resources import Workspace
from .tables import OWNERS

LOG = dg.AssetKey(["export", "log"])
_CHECKPOINT = "checkpoint"
_INDEX = "log index"
_SHOWN = 50

_NO_LOG = f"There is no log: {PRIVATE_KEY_FILE} names no key, which would sign it."


@dg.asset(
    key=LOG,
    group_name="export",
    kinds={"json"},
    owners=OWNERS,
    description=(
        "The append-only log of all publications, `.log` in the export folder (docs/log.md). Each publication is "
        "appended by the step that publishes; materialized by itself, this asset appends what was left out. There is a "
        "log when LANDSCAPE_SIGNING_PRIVATE_KEY_FILE names a key."
    ),
    retry_policy=RETRIES,
)
def export_log(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult[None]:
    """Appends what is not in the log yet."""
    settings = workspace.settings
    with explained(settings):
        if settings.log is None:
            # Whatever is materialized together with it goes on.
            return dg.MaterializeResult(data_version=dg.DataVersion("none"), metadata={"log": _NO_LOG})
        done = sync(settings.export_dir, settings.log)
        for problem in done.problems:
            context.log.warning(f"Not logged: {problem}")
        if (unstamped := stamp_or_say(log_folder(settings.export_dir), settings.log.timestamp_url)) is not None:
            context.log.warning(unstamped)
        metadata = _metadata(settings.export_dir, done)
        return dg.MaterializeResult(data_version=dg.DataVersion(done.root), metadata=metadata)


def log_published(
    context: dg.OpExecutionContext | dg.AssetExecutionContext, settings: Settings, published: Published
) -> dict[str, Any]:
    """Logs a package that was just published, and tells Dagster of the log.

    Args:
        context: of the step that published.
        settings: the settings.
        published: the package.

    Returns:
        Metadata of the package: its place in the log. Where there is no log, or it cannot be written, nothing: a
        package that is published stays so, and a warning says what was left out.
    """
    done = _append_and_tell(context, settings, [published.path])
    return {} if done is None else log_index(done.indices.get(published.manifest_sha256))


def tell_of_backlog(context: dg.OpExecutionContext, settings: Settings) -> None:
    """Tells Dagster of the log after the packages of a backlog, which the pipeline logged."""
    _append_and_tell(context, settings, [])


def _append_and_tell(
    context: dg.OpExecutionContext | dg.AssetExecutionContext, settings: Settings, published: list[Path]
) -> Appended | None:
    if settings.log is None:
        return None
    done, problem = append_or_say(settings.export_dir, settings.log, published)
    if problem is not None:
        context.log.warning(problem)
    if done is None:
        return None
    context.log_event(dg.AssetMaterialization(LOG, metadata=_metadata(settings.export_dir, done)))
    return done


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


_DESCRIPTION = (
    "Every entry of the log has its package, every package its entry, and the log goes on from the checkpoint that "
    "Dagster kept of its last materialization. The files of packages are the matter of their own checks."
)


@dg.multi_asset_check(
    name="look_through_log",
    specs=[dg.AssetCheckSpec("agrees_with_folder", asset=LOG, description=_DESCRIPTION)],
    retry_policy=RETRIES,
)
def log_agrees_with_folder(
    context: dg.AssetCheckExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> Iterator[dg.AssetCheckResult]:
    """Verifies the log, with the public half of the key. The step fails when it does not verify, after the result."""
    settings = workspace.settings
    with explained(settings):
        chosen, export_dir = settings.log, settings.export_dir
    if chosen is None:
        said = _NO_LOG
        yield dg.AssetCheckResult(passed=True, description=said)
        return
    kept = _kept_checkpoint(context.instance)
    if kept is None and not log_folder(export_dir).exists() and not any(export_dir.glob("*/manifest.json")):
        yield dg.AssetCheckResult(passed=True, description="Nothing was exported yet.")
        return
    public_key = chosen.key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    report = verify_log(export_dir, public_key=public_key, checkpoint=kept, origin=chosen.origin, packages=False)
    metadata: dict[str, Any] = {
        "verdict": report.status.name.lower(),
        "entries": dg.MetadataValue.int(int(str(report.facts.get("size", 0)))),
        "packages": dg.MetadataValue.int(int(str(report.facts.get("packages", 0)))),
        "earlier checkpoint": "none was kept yet" if kept is None else kept.decode("utf-8", "replace"),
    }
    if report.findings:
        metadata["findings"] = dg.MetadataValue.md(_table(report))
    passed, said = report.status in (Status.VERIFIED, Status.CONSISTENT), _description(report)
    yield dg.AssetCheckResult(passed=passed, description=said, metadata=metadata)
    if not passed:
        raise dg.Failure(said, allow_retries=False)


def _kept_checkpoint(instance: dg.DagsterInstance) -> bytes | None:
    """The checkpoint of the last materialization of the log; None when there was none."""
    event = instance.get_latest_materialization_event(LOG)
    if event is None or event.asset_materialization is None:
        return None
    value = event.asset_materialization.metadata.get(_CHECKPOINT)
    return None if value is None else str(value.value).encode("utf-8")


def _description(report: Report) -> str:
    if not report.findings and report.status in (Status.VERIFIED, Status.CONSISTENT):
        return f"{report.facts['size']} entries and {report.facts['packages']} packages agree."
    first, count = report.findings[0], len(report.findings) + sum(report.omitted.values())
    place = "" if first.record is None else f"number {first.record}: "
    return printable(f"{count} finding(s); the first: {place}{first.message}")


def _table(report: Report) -> str:
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
