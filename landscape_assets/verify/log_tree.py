"""The files of an export log: its entries, the hashes of their tree, and nothing else.

Belongs here: that they are there, and give the root of the checkpoint (C2SP tlog-tiles). Does not belong here: what an
entry says (`log_packages.py`), and checkpoints (`log.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from . import codes
from .log_report import LogJudgement
from .merkle import leaf_hash, node_hash, root_of
from .note import Checkpoint

CHECKPOINT, CHECKPOINTS = "checkpoint", "checkpoints"
WIDTH, HASH = 256, 32
"""Entries of a bundle, and hashes of a tile; bytes of a hash."""


class LogTree:
    """The entries of a log, and the hashes of its tree.

    Args:
        log: its folder.
        head: its checkpoint.
        judgement: where findings go.
    """

    def __init__(self, log: str, head: Checkpoint, judgement: LogJudgement) -> None:
        self.log, self.head, self.judgement, self.add = log, head, judgement, judgement.add
        self.entries = self.read_entries()
        """Each entry; None where it cannot be had."""
        self.hashes = [None if entry is None else leaf_hash(entry) for entry in self.entries]
        """Of each, as a leaf."""
        self.levels: list[list[bytes | None]] = []
        """By level of tiles: the nodes above whole tiles of the level below."""
        self.checkpoints: list[str] = []
        """The paths of earlier checkpoints."""
        self.timestamps: list[str] = []
        """The paths of time stamps."""

    def read_entries(self) -> list[bytes | None]:
        """Every entry that the checkpoint speaks of; None where it cannot be had."""
        entries: list[bytes | None] = []
        bundles = [
            _index(path) for path in _files(self.log) if path.startswith("tile/entries/") and _TILE.fullmatch(path)
        ]
        present = max(bundles, default=-1) + 1  # the size may be any number, when it is not signed
        for index in range(min(-(-self.head.size // WIDTH), present)):
            width = min(WIDTH, self.head.size - index * WIDTH)
            path, data = self.tile("entries", index, width)
            some = [] if data is None else _split(data)
            if data is None:
                self.missing(path, index * WIDTH, index * WIDTH + width)
            elif len(some) not in (width, WIDTH):
                self.add(codes.LOG_FILE, path, None, f"The file does not hold {width} entries with their lengths.")
            entries += [*some[:width], *[None] * (width - len(some))]
        if len(entries) < self.head.size:
            self.missing("tile/entries", len(entries), self.head.size)
        return entries

    def missing(self, path: str, start: int, end: int) -> None:
        """Note entries that are not there."""
        self.add(codes.LOG_FILE_MISSING, path, None, f"The entries {start + 1} to {end} are missing.")

    def tile(self, kind: str, index: int, width: int) -> tuple[str, bytes | None]:
        """A tile or bundle of so many; a full one serves for a partial one, which may have been removed."""
        whole = f"tile/{kind}/{_number(index)}"
        path = whole if width == WIDTH else f"{whole}.p/{width}"
        data = self.judgement.bytes_of(os.path.join(self.log, *path.split("/")), path)
        if data is None and path != whole:
            data = self.judgement.bytes_of(os.path.join(self.log, *whole.split("/")), whole)
        return path, data

    def check(self) -> None:
        """The tree over the entries, against the tiles, and against the checkpoint."""
        level, nodes = 0, self.hashes
        while nodes:
            self.levels.append(nodes)
            above: list[bytes | None] = []
            for index in range(-(-len(nodes) // WIDTH)):
                some = nodes[index * WIDTH : index * WIDTH + WIDTH]
                path, data = self.tile(str(level), index, len(some))
                if data is None:
                    self.add(codes.LOG_FILE_MISSING, path, None, f"The hashes of level {level} in it are missing.")
                elif len(data) not in (HASH * len(some), HASH * WIDTH):
                    self.add(codes.LOG_FILE, path, None, f"The file does not hold {len(some)} hashes.")
                else:
                    self.compare(path, level, index * WIDTH, some, data)
                if len(some) == WIDTH:
                    whole = [one for one in some if one is not None]
                    above.append(_subtree(whole) if len(whole) == WIDTH else None)
            level, nodes = level + 1, above
        whole = [one for one in self.hashes if one is not None]
        if len(whole) != self.head.size:
            self.add(codes.LOG_FILE_MISSING, CHECKPOINT, None, "The root cannot be made, because entries are missing.")
        elif root_of(whole) != self.head.root:
            self.add(codes.LOG_ROOT, CHECKPOINT, None, "The tree over the entries does not have the checkpoint's root.")
        self.others()
        self.judgement.note(
            "tree over all entries",
            codes.LOG_FILE_MISSING,
            codes.LOG_FILE,
            codes.LOG_ROOT,
            codes.LOG_FILE_UNKNOWN,
            detail=f"{self.head.size} entries",
        )

    def compare(self, path: str, level: int, first: int, wanted: list[bytes | None], data: bytes) -> None:
        """The hashes of a tile with those of the entries; those that differ are named."""
        for at, one in enumerate(wanted):
            if one is None or data[at * HASH : at * HASH + HASH] == one:
                continue
            if level == 0:
                message = "The entry is not the one of which the tile has the hash: it was changed, or moved."
                self.add(codes.LOG_FILE, "entries", first + at, message)
            else:
                self.add(codes.LOG_FILE, path, None, f"Hash {at} of the tile is not that of what is below it.")

    def others(self) -> None:
        """What else is in the log's folder: earlier checkpoints, earlier partial tiles, what a crash left."""
        left = 0
        for path in _files(self.log):
            if path == CHECKPOINT:
                continue
            if _KEPT.fullmatch(path):
                self.checkpoints.append(path)
            elif _STAMP.fullmatch(path):
                self.timestamps.append(path)
            elif _TILE.fullmatch(path):
                left += not self.earlier_tile(path)
            elif os.path.basename(path).startswith(".") and path.endswith(".new"):
                left += 1
            else:
                self.add(codes.LOG_FILE_UNKNOWN, path, None, "This is not a file of the log.")
        if left:
            self.judgement.report.notices.append(
                f"{left} files of the log are beyond its checkpoint: left by an append that did not finish. Nothing "
                f"speaks of them, and the next append removes them."
            )

    def earlier_tile(self, path: str) -> bool:
        """Whether a tile or bundle is of this log, or of what it was before; then it must hold what it held. Otherwise
        it is beyond the checkpoint."""
        kind, start, width = _parts(path)
        level = 0 if kind == "entries" else int(kind)
        nodes = self.levels[level] if level < len(self.levels) else []
        if start + width > len(nodes):
            return False
        if start + WIDTH > len(nodes) > start + width or (start + WIDTH <= len(nodes) and width < WIDTH):
            hashes = nodes[start : start + width]  # the present tile has more, and was compared
            data = self.judgement.bytes_of(os.path.join(self.log, *path.split("/")), path) or b""
            held = list(map(leaf_hash, _split(data))) if kind == "entries" else _hashes(data)
            if None not in hashes and held != hashes:
                self.add(codes.LOG_FILE, path, None, "The file does not hold what the log held when it was made.")
        return True


_KEPT = re.compile(rf"{CHECKPOINTS}/[1-9][0-9]{{0,18}}")
_STAMP = re.compile(r"timestamps/[1-9][0-9]{0,18}\.tsr")
_TILE = re.compile(r"tile/(?:entries|0|[1-9][0-9]?)/(?:x[0-9]{3}/)*[0-9]{3}(?:\.p/[1-9][0-9]{0,2})?")


def _parts(path: str) -> tuple[str, int, int]:
    """Kind of a tile or bundle, where in its level it begins, and how many it holds."""
    kind, _, rest = path.removeprefix("tile/").partition("/")
    width = rest.partition(".p/")[2]
    return kind, _index(path) * WIDTH, int(width) if width else WIDTH


def _hashes(data: bytes) -> list[bytes]:
    return [data[at : at + HASH] for at in range(0, len(data), HASH)]


def _number(index: int) -> str:
    """An index as the path of a tile has it."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03d}")
    return "/".join(groups)


def _index(path: str) -> int:
    """The index of a tile or bundle."""
    number = path.removeprefix("tile/").partition("/")[2].partition(".p/")[0]
    return int(number.replace("/", "").replace("x", ""))


def _split(data: bytes) -> list[bytes]:
    """The entries of a bundle; none when lengths and bytes do not agree."""
    entries, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        if at + 2 + length > len(data):
            return []
        entries.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    return entries


def _subtree(hashes: list[bytes]) -> bytes:
    """The node above as many hashes as a tile has."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]


def _files(folder: str) -> Iterator[str]:
    """Every path below a folder that is not a folder, with `/`."""
    for where, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(where, name), folder).replace(os.sep, "/")
