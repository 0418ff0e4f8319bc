"""What assets work with: the audit database, and the folders of an export.

Belongs here: Dagster resources (https://docs.dagster.io/guides/build/external-resources). They hold no configuration of
their own: settings are read from the environment when they are used (`settings.py`), so that definitions load without
database and key.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path

import dagster as dg
from pydantic import PrivateAttr

from ..contract import V1
from ..errors import PackageError
from ..export.files import FileFacts
from ..export.formats import StagedFile
from ..export.names import folder_name, stored_file, unfinished_file
from ..export.staging import clear_abandoned, is_held, staging_root, work_folder
from ..export.tables import TableFacts, TablesAhead, table_path, write_table
from ..landscape import AuditDatabase
from . import settings
from .partitions import PARTITION_TAG


def table_key(table: str) -> dg.AssetKey:
    """The asset of an audit table."""
    return dg.AssetKey([*table_path(table)])


BEGUN: ContextVar[TablesAhead | None] = ContextVar("begun", default=None)
"""Tables that this process has begun to load before the Dagster run that will ask for them (`session.py`)."""


class AuditDatabaseResource(dg.ConfigurableResource):
    """The audit database. All steps of a process share one connection and one read transaction, and so see one state.

    After a failure the next step gets a new connection; `gave` then says that not all tables are of one state.
    """

    _database: AuditDatabase | None = PrivateAttr(default=None)
    _ahead: TablesAhead | None = PrivateAttr(default=None)
    _to_load: list[str] = PrivateAttr(default_factory=list)
    _asked: set[str] = PrivateAttr(default_factory=set)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Finds out which tables this Dagster run will load, and takes over those that were begun for it."""
        run = context.run
        if run is None:
            return
        steps = run.step_keys_to_execute
        self._to_load = [
            name
            for name in sorted(V1.tables)
            if (run.asset_selection is None or table_key(name) in run.asset_selection)
            and (steps is None or table_key(name).to_python_identifier() in steps)
        ]
        begun = BEGUN.get()
        if begun is not None and begun.run_id == run.tags.get(PARTITION_TAG):
            BEGUN.set(None)
            self._ahead, self._database = begun, begun.database

    def get(self) -> AuditDatabase:
        """The open database.

        Raises:
            DatabaseError, UnknownContract: it cannot be used.
        """
        if self._database is not None and self._database.is_broken:
            self._close()
        if self._database is None:
            self._database = AuditDatabase(settings.database_url())
        return self._database

    def load(self, name: str, run_id: str, workspace: "Workspace") -> TableFacts:
        """The table of a run in its unfinished file.

        A process that is asked for a second table runs all steps, one after the other: from then on the tables are loaded ahead,
        so that reading goes on while a step ends and the next begins.

        Raises:
            ExportError, OSError: as `write_table`.
        """

        def path(table: str) -> Path:
            return workspace.unfinished(table_key(table), run_id, "arrow")

        if self._ahead is None or name not in self._ahead:
            self._stop_loading()
            database, left = self.get(), [table for table in self._to_load if table not in self._asked]
            if not self._asked - {name} or name not in left:
                self._asked.add(name)
                return write_table(database, name, run_id, path(name))
            self._ahead = TablesAhead(database, run_id, [name, *(table for table in left if table != name)], path)
        try:
            facts = self._ahead.take(name)
        except BaseException:
            # The step may be tried again, with a new connection.
            self._stop_loading()
            raise
        self._asked.add(name)
        return facts

    def gave(self, run_id: str, rows: Mapping[str, int]) -> bool:
        """Whether the run's rows of these tables (table → how many) all came from the present connection, and so from
        one state."""
        return self._database is not None and self._database.has_read(run_id, rows)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Closes the connection at the end of the Dagster run."""
        self._close()

    def _stop_loading(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def _close(self) -> None:
        self._stop_loading()
        if self._database is not None:
            self._database.close()
            self._database = None


class Workspace(dg.ConfigurableResource):
    """The folders that an export works in: storage between the assets, scratch, staging, and the export folder."""

    _storage: Path | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Finds the storage folder."""
        assert context.instance is not None
        self._storage = settings.storage_dir() or Path(context.instance.storage_directory()) / "landscape_assets"

    @property
    def export_dir(self) -> Path:
        """The export folder. Raises ExportError when none is set."""
        return settings.export_dir()

    @property
    def is_passing(self) -> bool:
        """Whether the storage is there for exports of this process alone: what is stored is not needed when it has been read."""
        return self._storage is not None and is_held(self._storage)

    def stored(self, asset: dg.AssetKey, partition: str, extension: str) -> Path:
        """The one file in which an asset's partition is kept.

        Raises:
            OSError: its folder cannot be made.
        """
        assert self._storage is not None
        return stored_file(self._storage, asset.path, partition, extension)

    def stored_of(self, partition: str) -> list[Path]:
        """The files that are stored of a partition, of all assets."""
        assert self._storage is not None
        name = f"{folder_name(partition)}.arrow"
        return [path for folder in self._storage.glob("*/*/") if (path := folder / name).is_file()]

    def unfinished(self, asset: dg.AssetKey, partition: str, extension: str) -> Path:
        """Where that file is written before it takes its place; what a killed step left there is removed."""
        return unfinished_file(self.stored(asset, partition, extension))

    @property
    def scratch_root(self) -> Path:
        """Where temporary files go."""
        assert self._storage is not None
        return settings.scratch_dir() or self._storage / "scratch"

    def scratch(self, partition: str, dagster_run_id: str) -> Path:
        """An empty folder for temporary files; what others left there for the same run is removed."""
        clear_abandoned(self.scratch_root, partition, lambda owner: False)
        return work_folder(self.scratch_root, partition, dagster_run_id)

    def staging(self, partition: str, dagster_run_id: str) -> Path:
        """Where this Dagster run stages the files of a package."""
        return work_folder(staging_root(self.export_dir), partition, dagster_run_id)

    def note_staged(self, format_name: str, partition: str, final_hash: str, files: Sequence[StagedFile]) -> None:
        """Notes which files a format has staged, and of which records."""
        path = self.stored(dg.AssetKey(["export", format_name]), partition, "json")
        document = {"final_hash": final_hash, "files": [asdict(file) for file in files]}
        unfinished = unfinished_file(path)
        unfinished.write_text(json.dumps(document, default=str))
        unfinished.replace(path)

    def staged(self, format_name: str, partition: str, final_hash: str) -> list[StagedFile]:
        """The files that a format has staged.

        Raises:
            PackageError: it has staged none, or of other records.
        """
        path = self.stored(dg.AssetKey(["export", format_name]), partition, "json")
        try:
            document = json.loads(path.read_text())
        except FileNotFoundError:
            raise PackageError(
                f"No files of the format {format_name} are staged for run {partition!r}. Materialize "
                f"export/{format_name}, or "
                f"leave the format out ({settings.FORMAT_NAMES})."
            ) from None
        if document["final_hash"] != final_hash:
            raise PackageError(
                f"The staged files of the format {format_name} are not of the present signed records of run "
                f"{partition!r}. "
                f"Materialize export/{format_name} again."
            )
        return [
            StagedFile(
                file["path"],
                file["media_type"],
                FileFacts(**(file["facts"] | {"path": Path(file["facts"]["path"])})),
                file["content"],
                file["exported_at"],
            )
            for file in document["files"]
        ]

    def has_staged(self, format_name: str, partition: str) -> bool:
        """Whether a format has staged its files."""
        return self.stored(dg.AssetKey(["export", format_name]), partition, "json").is_file()

    def forget_staged(self, format_name: str, partition: str) -> None:
        """Forgets a note: the files have become a package. One that stays is replaced by the next export's."""
        with suppress(OSError):
            self.stored(dg.AssetKey(["export", format_name]), partition, "json").unlink()
