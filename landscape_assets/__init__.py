"""Complete, ordered, signed exports of ELSPETH audit trails.

Importing the package imports nothing but the standard library: `landscape_assets.verify` must run where neither Dagster
nor Polars is installed. Nor does it change anything of the process that imports it.
"""

__version__ = "0.1.0"
