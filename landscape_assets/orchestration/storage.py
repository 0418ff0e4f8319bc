"""What is kept between the assets: one file for each asset and partition.

Belongs here: the IO manager (https://docs.dagster.io/guides/build/io-managers). Assets write their rows as they come to an
unfinished file; the IO manager puts it in its place in one step, so that a file that is there is whole. dagster-polars is not used:
its readers pass arguments that Polars 2 no longer takes, and it writes in place.
"""

import dagster as dg

from ..export.arrow_file import ArrowReader
from ..export.files import FileFacts
from .failures import explained
from .resources import Workspace


class FileIOManager(dg.ConfigurableIOManager):
    """Takes `FileFacts` of an unfinished file, gives a reader of the finished one.

    Args:
        workspace: where files are kept.
    """

    workspace: dg.ResourceDependency[Workspace]

    def handle_output(self, context: dg.OutputContext, obj: FileFacts) -> None:
        """Puts the file in its place, replacing an earlier one in one step."""
        with explained():
            path = self.workspace.stored(context.asset_key, context.partition_key, "arrow")
            # Not synced: what a crash of the machine leaves of it fails its checksums when it is read.
            obj.path.replace(path)

    def load_input(self, context: dg.InputContext) -> ArrowReader:
        """The file of the asset's partition.

        Raises:
            Failure: it is not there, because it was never made or was removed since; or it is not as it was written.
        """
        path = self.workspace.stored(context.asset_key, context.partition_key, "arrow")
        if not path.is_file():
            raise dg.Failure(
                f"{context.asset_key.to_user_string()} of run {context.partition_key!r} is not stored ({path} is not "
                f"there). Materialize it again, or the whole job export_run.",
                allow_retries=False,
            )
        with explained():
            return ArrowReader(path, passing=self.workspace.is_passing)
