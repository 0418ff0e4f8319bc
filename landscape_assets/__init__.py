"""Complete, ordered, signed exports of ELSPETH audit trails.

Importing the package imports nothing but the standard library: `landscape_assets.verify` must run where neither Dagster nor
Polars is installed.
"""

import os

__version__ = "0.1.0"

# The allocators of Arrow and of Polars read these as they are loaded. Arrow's keeps freed memory for a second unless told otherwise,
# and a step that works through batches then holds several of them that nobody uses; in less than a tenth of one it gives away
# what the next batch takes (measured: 510 MB with 1,000 ms, 482 with 100, 476 and a quarter more page faults with 10). That of Polars
# keeps some for each of eight arenas; one is as fast for the few threads that an export has (measured: 20 MB less).
os.environ.setdefault("MIMALLOC_PURGE_DELAY", "100")
os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:1")
# NumPy's linear algebra, which nothing here uses, would start threads that wait for work by turning round.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
