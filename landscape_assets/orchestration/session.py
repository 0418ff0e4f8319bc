"""An export on the command line, begun before Dagster is there.

Belongs here: the session of exports, with the folders that it needs, and the first run's tables, which are read while Dagster is
being imported and its instance made (about a second). Does not belong here: anything that needs Dagster (`in_process.py`), options
and output of the command line (`cli.py`).
"""

from __future__ import annotations

import gc
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract import V1
from ..errors import ExportError
from ..export.names import stored_file, unfinished_file
from ..export.staging import clear_abandoned, release, staging_root, work_folder
from ..export.tables import TablesAhead, table_path
from ..landscape import AuditDatabase
from . import settings

if TYPE_CHECKING:
    from .in_process import Session


@contextmanager
def session(first: str | None = None, on_step: Callable[[str], None] = lambda step: None) -> Iterator[Session]:
    """A session of exports.

    Args:
        first: the run that will be exported first. Its tables are begun at once, unless a Dagster instance or a storage folder is
            named: there others may be at work on the same run.
        on_step: told the name of each step as it ends.

    Raises:
        ExportError: no export folder is named.
        OSError: it cannot be written to.
    """
    with ExitStack() as stack:
        keeps = bool(os.environ.get("DAGSTER_HOME"))
        storage = None if keeps else stack.enter_context(passing_storage())
        begun = None
        if storage is not None and first is not None:
            begun = stack.enter_context(_begun(first, storage))

        # What is imported is never garbage; looking for it would take a twentieth of the time of an export.
        gc.disable()
        from .in_process import Session

        exports = stack.enter_context(Session.opened(storage, begun, on_step))
        gc.freeze()
        gc.enable()
        yield exports


@contextmanager
def _begun(run_id: str, storage: Path) -> Iterator[TablesAhead | None]:
    """The tables of a run, begun to be loaded; None when they cannot be: the export itself then says why."""
    try:
        database = AuditDatabase(settings.database_url())
    except ExportError:
        yield None
        return
    try:
        begun = TablesAhead(
            database,
            run_id,
            sorted(V1.tables, key=lambda name: (name != "runs", name)),  # as their steps follow one another
            lambda name: unfinished_file(stored_file(storage, table_path(name), run_id, "arrow")),
        )
    except ExportError:
        database.close()
        yield None
        return
    try:
        yield begun
    finally:
        begun.close()
        database.close()


@contextmanager
def passing_storage() -> Iterator[Path | None]:
    """A storage folder that is there as long as it is used; None when the environment names one that stays."""
    if settings.storage_dir() is not None:
        yield None
        return
    # What a killed export left behind is removed by the next one.
    root = settings.scratch_dir() or staging_root(settings.export_dir())
    clear_abandoned(root, None, lambda owner: False)
    storage = work_folder(root, None, uuid.uuid4().hex)
    try:
        with _environment(settings.STORAGE_DIR, str(storage)):
            yield storage
    finally:
        release(storage)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
