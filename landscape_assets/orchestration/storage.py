"""What is kept between the assets: one Parquet file for each asset and partition.

Belongs here: the IO manager (https://docs.dagster.io/guides/build/io-managers). Assets write their rows as they come to an
unfinished file; the IO manager puts it in its place in one step, so that a file that is there is whole. dagster-polars is not
used: its readers pass arguments that Polars 2 no longer takes, and it writes in place.
"""

import dagster as dg

from ..export.files import FileFacts, ParquetReader
from .resources import Workspace


class ParquetIOManager(dg.ConfigurableIOManager):
    """Takes `FileFacts` of an unfinished Parquet file, gives a `ParquetReader` of the finished one."""

    workspace: dg.ResourceDependency[Workspace]

    def handle_output(self, context: dg.OutputContext, obj: FileFacts) -> None:
        """Puts the file in its place, replacing an earlier one in one step."""
        path = self.workspace.stored(context.asset_key, context.partition_key)
        # Not synced: what a crash of the machine leaves of it fails its checksums when it is read.
        obj.path.replace(path)

    def load_input(self, context: dg.InputContext) -> ParquetReader:
        """The file of the asset's partition.

        Raises:
            Failure: it is not there: it was never made, or removed since.
        """
        path = self.workspace.stored(context.asset_key, context.partition_key)
        if not path.is_file():
            raise dg.Failure(
                f"{context.asset_key.to_user_string()} of run {context.partition_key!r} is not stored ({path} is not there). "
                f"Materialize it again, or the whole job export_run.",
                allow_retries=False,
            )
        return ParquetReader(path)
