"""The Dagster code location: `defs`, and nothing else."""

from .process import collect_seldom

collect_seldom()

from .dagster_defs.build import build_defs  # noqa: E402 (the collector is set before libraries are loaded)

defs = build_defs()
