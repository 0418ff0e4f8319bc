"""The Dagster code location: `defs`, and nothing else."""

from .dagster_defs.build import build_defs

defs = build_defs()
