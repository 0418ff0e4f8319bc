"""The folders that assets work with.

Belongs here: Dagster resources (https://docs.dagster.io/guides/build/external-resources). They have no configuration of
their own: each step reads the settings as it begins (`settings.py`), so that definitions load without database and key.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage

from ..errors import StorageError
from ..settings import Settings
from ..storage.names import folder_name, stored_file, unfinished_file
from ..storage.work_dirs import make_work_dir, remove_stale, remove_work_dir, staging_root


class Workspace:
    """The settings of a step, and the folders that it works in: storage between the steps, scratch, staging, exports.

    Assets store Arrow files here, one for each asset and partition, and read them here: a file that is there is whole.
    No IO manager is used: fifteen tables are put in their places together, and each is read column by column.

    Args:
        settings: the settings; they are checked as they are used.
        instance: the Dagster instance, whose storage folder is used when the settings name none.
    """

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings, self._instance = settings, instance

    @property
    def storage(self) -> Path:
        """Where files are kept between the steps."""
        return self.settings.storage_dir or Path(self._instance.storage_directory()) / "landscape_assets"

    @property
    def export_dir(self) -> Path:
        """The export folder. Raises ExportError when none is set."""
        return self.settings.export_dir

    def stored(self, asset: dg.AssetKey, partition: str) -> Path:
        """The file in which an asset's partition is kept.

        Raises:
            StorageError: it is not there, because it was never made or was removed since.
        """
        path = stored_file(self.storage, asset.path, partition, "arrow")
        if not path.is_file():
            raise StorageError(
                f"{asset.to_user_string()} of run {partition!r} is not stored ({path} is not there). Materialize it "
                f"again, or the whole job export_run."
            )
        return path

    def unfinished(self, asset: dg.AssetKey, partition: str) -> Path:
        """Where that file is written before `finish` puts it in its place; what a killed step left there is removed."""
        return unfinished_file(stored_file(self.storage, asset.path, partition, "arrow"))

    def finish(self, asset: dg.AssetKey, partition: str, unfinished: Path) -> None:
        """Puts a file in its place, replacing an earlier one in one step."""
        # Not synced: after a crash of the machine, the checksums of a file that did not reach the disk fail when it is
        # read.
        unfinished.replace(stored_file(self.storage, asset.path, partition, "arrow"))

    def stored_of(self, partition: str) -> list[Path]:
        """The files that are stored of a partition, of all assets."""
        name = f"{folder_name(partition)}.arrow"
        return [path for folder in self.storage.glob("*/*/") if (path := folder / name).is_file()]

    @contextmanager
    def scratch(self, partition: str, dagster_run_id: str) -> Iterator[Path]:
        """An empty folder for temporary files, removed at the end; what others left there for the same run is removed,
        too."""
        with _empty_folder(self.settings.scratch_dir or self.storage / "scratch", partition, dagster_run_id) as path:
            yield path

    @contextmanager
    def staging(self, partition: str, dagster_run_id: str) -> Iterator[Path]:
        """The same for the files of a package, in the export folder."""
        with _empty_folder(staging_root(self.export_dir), partition, dagster_run_id) as path:
            yield path


@contextmanager
def _event_log_kept_open(context: dg.InitResourceContext) -> Iterator[None]:
    """Halves the time that an event takes where Dagster's records are SQLite files.

    Dagster opens and closes two files for each event, and SQLite copies its write-ahead log back, syncs and deletes it
    whenever the last connection is closed. One that stays open, and reads nothing more, spares that.
    """
    storage = context.instance.event_log_storage if context.instance else None
    with ExitStack() as kept:
        if isinstance(storage, SqliteEventLogStorage):
            for shard in (context.run.run_id if context.run else "index", "index"):
                with suppress(sqlite3.Error):  # only time is lost
                    uri = f"{Path(storage.path_for_shard(str(shard))).as_uri()}?mode=rw"
                    connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
                    kept.enter_context(closing(connection))
                    connection.execute(
                        "SELECT 1 FROM event_logs LIMIT 1"
                    ).fetchall()  # the first statement opens the file
        yield


@contextmanager
def _empty_folder(root: Path, partition: str, dagster_run_id: str) -> Iterator[Path]:
    remove_stale(root, partition)
    path = make_work_dir(root, partition, dagster_run_id)
    try:
        yield path
    finally:
        remove_work_dir(path)


def workspace(settings: Settings | None = None) -> dg.ResourceDefinition:
    """The resource that gives assets a Workspace.

    Args:
        settings: its settings; None for those of the environment as each step begins.
    """

    def create(context: dg.InitResourceContext) -> Iterator[Workspace]:
        assert context.instance is not None
        with _event_log_kept_open(context):
            yield Workspace(settings or Settings.from_environment(), context.instance)

    return dg.ResourceDefinition(create, description="The settings of a step, and the folders that it works in.")
