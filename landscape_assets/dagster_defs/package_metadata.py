"""What the UI shows of a package: the materializations of its formats and of its manifest, and their metadata.

Belongs here: what is told of a package that is there, whichever door it came by. Does not belong here: the assets that
make one (`exports.py`), and what it was made of (`lineage.py`).
"""

import glob
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from ..formats import FORMATS, RunFiles, StagedFile
from ..package import REPORT, Published, figures_of
from ..pipeline import EXPORTED, UNCHANGED
from .lineage import DATA_VERSION_TAG

SUPERSEDED = "superseded"
"""What became of an export that replaced a package, where the pipeline says EXPORTED."""


MANIFEST_SHA256 = "sha256 of manifest.json"
"""The name under which the manifest's metadata has its SHA-256; the checks compare the published file with it."""


MANIFEST = dg.AssetKey(["export", "manifest"])


def format_key(name: str) -> dg.AssetKey:
    """The asset of an output format."""
    return dg.AssetKey(["export", name])


def package_events(published: Published, files: RunFiles | None = None) -> Iterator[dg.AssetMaterialization]:
    """The materializations of a package by its partition: of the formats that it has, then of its manifest.

    Args:
        published: the package.
        files: the files of the export that made it or found it; without them formats have no data version.
    """
    run_id = published.manifest["run_id"]
    by_format: dict[str, list[dict[str, Any]]] = {}
    for file in published.manifest["files"]:
        name = {"records.jsonl": "jsonl", REPORT: "html"}.get(file["path"]) or file["path"].partition("/")[0]
        by_format.setdefault(name, []).append(file)
    report = _report_metadata(published, files) if "html" in by_format else {}
    for name in FORMATS:
        if name in by_format:
            yield dg.AssetMaterialization(
                format_key(name),
                partition=run_id,
                metadata={
                    "files": _files_table(by_format[name]),
                    "bytes": sum(file["size"] for file in by_format[name]),
                    **(report if name == "html" else {}),
                },
                tags={DATA_VERSION_TAG: _digest(files.files[name])} if files else None,
            )
    found = {} if files else {"found": "Dagster has no record of its export; this is what its manifest says."}
    yield dg.AssetMaterialization(
        MANIFEST,
        partition=run_id,
        metadata=_metadata_of_manifest(published) | report | found,
        tags={DATA_VERSION_TAG: published.manifest_sha256},
    )


def _report_metadata(published: Published, files: RunFiles | None) -> dict[str, Any]:
    """Where the report is, its key figures as numbers, which Dagster plots over the partitions, and its digest,
    which an export knows."""
    path = published.path / REPORT
    made = files.files["html"][0] if files else None
    figures = figures_of(path) if made is None else dict(made.figures or {})
    digest = {"digest": dg.MetadataValue.md(made.digest)} if made is not None and made.digest is not None else {}
    return {"report": dg.MetadataValue.path(str(path)), **figures, **digest}


def _digest(files: list[StagedFile]) -> str:
    """The content of files as a data version: the SHA-256 over the lines that sha256sum would print of the records in
    them."""
    lines = "".join(f"{file.content}  {file.path}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _files_table(files: Sequence[Mapping[str, Any]]) -> dg.MetadataValue:
    rows = "\n".join(
        f"| {file['path']} | {file['size']:,} | {'' if file['records'] is None else format(file['records'], ',')} "
        f"| `{file['sha256']}` |"
        for file in files
    )
    return dg.MetadataValue.md(f"| file | bytes | records | SHA-256 |\n|---|---:|---:|---|\n{rows}")


def _metadata_of_manifest(published: Published) -> dict[str, Any]:
    """What a manifest says of its package; of the package that it superseded, too."""
    made = published.manifest
    metadata = {
        "package": dg.MetadataValue.path(str(published.path)),
        "record_count": made["record_count"],
        "final_hash": made["final_hash"],
        "exported_at": dg.MetadataValue.timestamp(datetime.fromisoformat(made["exported_at"])),
        "manifest": dg.MetadataValue.json(made),
        MANIFEST_SHA256: published.manifest_sha256,
        **_snapshots_metadata(made),
    }
    if superseded := made.get("supersedes"):
        sha256 = superseded["manifest_sha256"]
        metadata["superseded: sha256 of manifest.json"] = sha256
        for path in (published.path.parent / ".superseded").glob(f"*/{glob.escape(published.path.name)}/manifest.json"):
            if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
                metadata["superseded: package"] = dg.MetadataValue.path(str(path.parent))
    return metadata


def manifest_metadata(
    instance: dg.DagsterInstance, published: Published, origin: dg.MetadataValue | None
) -> dict[str, Any]:
    """What an export adds to that: what became of it, and what the package was made of.

    Args:
        instance: the Dagster instance.
        published: the package.
        origin: what this export was made of. Of a package that was there already, what Dagster noted when it was made
            stands, and this is what it was compared with.
    """
    if published.is_new:
        result = SUPERSEDED if "supersedes" in published.manifest else EXPORTED
        return {"result": result} | ({"made of": origin} if origin else {})
    noted = noted_publication(instance, published.manifest["run_id"])
    first = (
        noted.metadata
        if noted is not None and noted.metadata[MANIFEST_SHA256].value == published.manifest_sha256
        else {}
    )
    kept = {name: first[name] for name in ("made of", "first result") if name in first}
    if "result" in first and first["result"].value != UNCHANGED:
        kept["first result"] = first["result"]
    told = {"compared with" if "made of" in kept else "made of": origin} if origin else {}
    return {"result": UNCHANGED} | kept | told


def noted_publication(instance: dg.DagsterInstance, run_id: str) -> dg.AssetMaterialization | None:
    """The latest materialization of a run's manifest: when an export published it, or found it unchanged.

    One that the sensor reported says only what the package says of itself, and does not count.
    """
    wanted = dg.AssetRecordsFilter(asset_key=MANIFEST, asset_partitions=[run_id])
    records = instance.fetch_materializations(wanted, limit=1).records
    noted = records[0].asset_materialization if records else None
    return noted if noted is not None and {MANIFEST_SHA256, "result"} <= set(noted.metadata) else None


def _snapshots_metadata(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Whether the records are those that ELSPETH exported itself, where it noted that it did."""
    compared = manifest.get("elspeth_snapshots")
    if not compared:
        return {}
    rows = "\n".join(f"| `{each['snapshot_id']}` | {each['result']} | {each['reason'] or ''} |" for each in compared)
    return {"ELSPETH's own export": dg.MetadataValue.md(f"| snapshot | result | reason |\n|---|---|---|\n{rows}")}
