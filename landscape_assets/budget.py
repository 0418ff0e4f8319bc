"""How much memory and how many threads an export may take.

Belongs here: the budget and what follows from it. Does not belong here: where the settings come from (`dagster_defs/`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

DEFAULT_MEMORY_MB = 136
SMALLEST_MEMORY_MB = 1


@dataclass(frozen=True, slots=True)
class Budget:
    """The memory that ordering, encoding and signing may take beyond the process itself and the index of ids.

    Args:
        memory_mb: in MiB.
        threads: how many buckets are worked on at a time.
    """

    memory_mb: int = DEFAULT_MEMORY_MB
    threads: int = min(4, os.cpu_count() or 1)

    @property
    def bucket_bytes(self) -> int:
        """Bytes of canonical form in one bucket: each thread has one, which takes about six times as much."""
        return max(1, self.memory_mb * 2**20 // (8 * self.threads))
