"""The files of a log as tiles (C2SP tlog-tiles): entries, and the hashes of their tree.

Belongs here: paths and bytes of these files, and writing them so that a checkpoint never speaks of what is not on disk.
Does not belong here: what an entry says, and checkpoints (`export_log.py`).
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import ExportError
from ..merkle import Tree
from ..storage.files import sync_file, sync_folder

WIDTH = 256
"""Entries of a bundle, and hashes of a tile."""
_HEIGHT = 8
"""Levels of the tree in a tile."""

LONGEST_ENTRY = 2**16 - 1
"""Bytes of an entry at most: its length is written in two."""

_LENGTH = struct.Struct(">H")


def entries_path(index: int, width: int = WIDTH) -> str:
    """Where a bundle of entries is, relative to the log."""
    return f"tile/entries/{_number(index)}{_partial(width)}"


def tile_path(level: int, index: int, width: int = WIDTH) -> str:
    """Where a tile is, relative to the log."""
    return f"tile/{level}/{_number(index)}{_partial(width)}"


def _number(index: int) -> str:
    """An index in groups of three digits, all but the last with an x."""
    digits = f"{index:03d}"
    digits = digits.zfill(-len(digits) // 3 * -3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    return "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])


def _partial(width: int) -> str:
    return "" if width == WIDTH else f".p/{width}"


def read_entries(log: Path, size: int) -> list[bytes]:
    """The first entries of a log.

    Raises:
        FileNotFoundError: a bundle is not there.
        ValueError: a bundle does not hold what it should.
    """
    entries: list[bytes] = []
    for index, width in _tiles(size):
        path = log / entries_path(index, width)
        if not path.exists():  # a partial one is removed when it is full
            path = log / entries_path(index)
        some = _split(path.read_bytes())
        if len(some) not in (width, WIDTH):
            raise ValueError(f"{path} does not hold {width} entries.")
        entries += some[:width]
    return entries


def _split(data: bytes) -> list[bytes]:
    """The entries of a bundle; none when lengths and bytes do not agree."""
    entries, at = [], 0
    while at + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        entries.append(data[at : at + length])
        at += length
    return entries if at == len(data) else []


def _tiles(count: int, first: int = 0) -> Iterator[tuple[int, int]]:
    """Index and width of each tile of a level with so many hashes, from the one on that the hash `first` is in."""
    for index in range(first // WIDTH, -(-count // WIDTH)):
        yield index, min(WIDTH, count - index * WIDTH)


def write_tiles(log: Path, entries: Sequence[bytes], tree: Tree, before: int) -> None:
    """Writes what a log needs besides what it had, durably; what an append left that did not finish is removed.

    Args:
        log: its folder.
        entries: all of them.
        tree: over them.
        before: how many there were.
    """
    for path in (log / "tile").rglob("*"):
        if path.is_file() and _is_beyond(path.relative_to(log / "tile").parts, before):
            path.unlink()
    changed: set[Path] = set()
    for index, width in _tiles(len(entries), before):
        some = entries[index * WIDTH : index * WIDTH + width]
        data = b"".join(_LENGTH.pack(len(entry)) + entry for entry in some)
        write_durably(log / entries_path(index, width), data, changed)
    level = 0
    while len(hashes := tree.level(_HEIGHT * level)):
        for index, width in _tiles(len(hashes), before >> _HEIGHT * level):
            data = hashes[index * WIDTH : index * WIDTH + width].tobytes()
            write_durably(log / tile_path(level, index, width), data, changed)
        level += 1
    sync_changed(changed)


def _is_beyond(parts: Sequence[str], size: int) -> bool:
    """Whether a file below `tile/` is of a log with more than so many entries, or was not finished."""
    numbers = "".join(parts[1:]).replace("x", "").partition(".p")
    if parts[-1].startswith("."):
        return True
    covered = int(numbers[0]) * WIDTH + (int(numbers[2]) if numbers[2] else WIDTH)
    level = 0 if parts[0] == "entries" else int(parts[0])
    return covered > size >> _HEIGHT * level


def remove_partial(log: Path, size: int, before: int) -> None:
    """Removes the partial tiles of tiles that are full by now, as the specification permits.

    Args:
        log: its folder.
        size: how many entries it has, and says so in its checkpoint.
        before: how many it had.
    """
    level, count, was = 0, size, before
    while count:
        for index in range(was // WIDTH, count // WIDTH):
            paths = [tile_path(level, index), *([entries_path(index)] if level == 0 else [])]
            for path in paths:
                shutil.rmtree(log / f"{path}.p", ignore_errors=True)
        level, count, was = level + 1, count // WIDTH, was // WIDTH


def write_durably(path: Path, data: bytes, changed: set[Path]) -> None:
    """Writes a file in place of one that may be there, all of it or nothing.

    Args:
        path: where; folders are made.
        data: what.
        changed: gets the folders whose names are not durable yet.

    Raises:
        ExportError: it is not on disk as it was written.
        OSError: as the file system says.
    """
    folder = path.parent
    while not folder.is_dir():
        changed.add(folder.parent)
        folder = folder.parent
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_bytes(data)
        sync_file(new)
        if new.read_bytes() != data:
            raise ExportError(f"{new} is not as it was written: the disk or another program changed it.")
        os.replace(new, path)
    except (ExportError, OSError):
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    changed.add(path.parent)


def sync_changed(changed: set[Path]) -> None:
    """Makes the names in some folders durable, inner ones first."""
    for folder in sorted(changed, key=lambda path: len(path.parts), reverse=True):
        sync_folder(folder)
    changed.clear()
