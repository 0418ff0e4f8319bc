"""The asset check of the audit database (https://docs.dagster.io/guides/test/asset-checks): one for all runs.

Belongs here: how the UI shows what is found. Does not belong here: what is looked for (`database/integrity.py`), and
the checks of published packages (`checks.py`).
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import dagster as dg

from ..database import AuditDatabase
from ..database.integrity import find_damage
from ..printable import printable
from .failures import RETRIES, explained
from .resources import Workspace
from .tables import AUDIT_DATABASE

_SHOWN = 50
_COLUMNS = ("table", "id", "column", "found", "rule")


_DESCRIPTION = (
    "Every row of the audit database belongs to one run: its parents exist, they are of the same run, and no other row "
    "has its id. An export refuses what is wrong within its run; damage that belongs to no run is found here."
)


@dg.multi_asset_check(
    name="look_through_database",
    specs=[dg.AssetCheckSpec("rows_belong_to_runs", asset=AUDIT_DATABASE.key, description=_DESCRIPTION)],
    retry_policy=RETRIES,
)
def rows_belong_to_runs(workspace: dg.ResourceParam[Workspace]) -> Iterator[dg.AssetCheckResult]:
    """Looks through the whole audit database in one snapshot. The step fails when there is damage, after the result."""
    with explained(workspace.settings), AuditDatabase(workspace.settings.database_url) as database:
        findings = find_damage(database)
        shown = list(islice(findings, _SHOWN))
        count = len(shown) + sum(1 for _ in findings)
        looked_at = f"{len(database.contract.tables)} tables of {len(database.runs):,} run(s) were looked at."
        metadata: dict[str, Any] = {
            "database": database.shown,
            "contract": database.contract.name,
            "count of findings": dg.MetadataValue.int(count),
        }
    if not count:
        yield dg.AssetCheckResult(passed=True, description=f"Nothing found; {looked_at}", metadata=metadata)
        return
    rows = [" | ".join(_cell(getattr(found, name)) for name in _COLUMNS) for found in shown]
    lines = [" | ".join(_COLUMNS), "|".join(["---"] * len(_COLUMNS)), *rows]
    table = "\n".join(f"| {line} |" for line in lines)
    more = " `landscape-assets check` lists all." if count > _SHOWN else ""
    said = f"{count:,} finding(s); {looked_at}{more}"
    yield dg.AssetCheckResult(
        passed=False, description=said, metadata=metadata | {"findings": dg.MetadataValue.md(table)}
    )
    raise dg.Failure(said, allow_retries=False)


def _cell(text: str) -> str:
    return printable(text).replace("|", "&#124;")
