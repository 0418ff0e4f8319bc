"""Complete, ordered, signed exports of ELSPETH audit trails.

Importing the package imports nothing but the standard library: `landscape_assets.verify` must run where neither Dagster nor
Polars is installed.
"""

import os

__version__ = "0.1.0"

# Arrow's allocator reads this as it is loaded. It keeps freed memory for a second unless told otherwise, and a step that works
# through batches then holds several of them that nobody uses (measured: 485 MB instead of 350).
os.environ.setdefault("MIMALLOC_PURGE_DELAY", "10")
