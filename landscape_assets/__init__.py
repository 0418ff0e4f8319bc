"""Complete, ordered, signed exports of ELSPETH audit trails.

Importing the package imports nothing else: `landscape_assets.verify` must run where neither Dagster nor Polars is installed.
"""

__version__ = "0.1.0"
