"""The folders that assets work with.

Belongs here: Dagster resources (https://docs.dagster.io/guides/build/external-resources). They hold no configuration of
their own: settings are read from the environment when they are used (`settings.py`), so that definitions load without
database and key.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from pydantic import PrivateAttr

from .. import settings
from ..errors import StorageError
from ..storage.names import folder_name, stored_file, unfinished_file
from ..storage.work_dirs import make_work_dir, remove_stale, remove_work_dir, staging_root


class Workspace(dg.ConfigurableResource):
    """The folders that an export works in: storage between the assets, scratch, staging, and the export folder.

    Assets store Arrow files here, one for each asset and partition, and read them here: a file that is there is whole.
    No IO manager is used: fifteen tables are put in their places together, and each is read column by column.
    """

    _storage: Path | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Finds the storage folder."""
        assert context.instance is not None
        self._storage = settings.storage_dir() or Path(context.instance.storage_directory()) / "landscape_assets"

    @property
    def storage(self) -> Path:
        """Where files are kept between the assets."""
        assert self._storage is not None
        return self._storage

    @property
    def export_dir(self) -> Path:
        """The export folder. Raises ExportError when none is set."""
        return settings.export_dir()

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
        with _empty_folder(settings.scratch_dir() or self.storage / "scratch", partition, dagster_run_id) as path:
            yield path

    @contextmanager
    def staging(self, partition: str, dagster_run_id: str) -> Iterator[Path]:
        """The same for the files of a package, in the export folder."""
        with _empty_folder(staging_root(self.export_dir), partition, dagster_run_id) as path:
            yield path


@contextmanager
def _empty_folder(root: Path, partition: str, dagster_run_id: str) -> Iterator[Path]:
    remove_stale(root, partition)
    path = make_work_dir(root, partition, dagster_run_id)
    try:
        yield path
    finally:
        remove_work_dir(path)
