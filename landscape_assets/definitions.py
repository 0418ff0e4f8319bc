"""The Dagster code location: `defs`, and nothing else."""

from .orchestration.build import build_defs

defs = build_defs()
