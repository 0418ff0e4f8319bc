"""Every bit of a file, flipped in its place.

Belongs here: that. Does not belong here: what must be noticed then.
"""

from collections.abc import Iterator
from pathlib import Path


def flip_bits(path: Path) -> Iterator[int]:
    """Flips one bit of a file after the other, and yields its number each time; none is flipped at the end."""
    data = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for at, byte in enumerate(data):
            for bit in range(8):
                file.seek(at)
                file.write(bytes([byte ^ 1 << bit]))
                yield 8 * at + bit
            file.seek(at)
            file.write(bytes([byte]))
