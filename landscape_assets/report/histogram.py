"""Distributions of bounded size: of durations, for percentiles, and of times.

Belongs here: how a value or a time falls into a bucket. Buckets are whole numbers and counts are exact, so that the
result is the same in whatever pieces and order the values come.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

_KEPT_BITS = 8
"""Of a value's binary fraction: 256 buckets for each power of two, each 1/256 wide or less."""

_DROPPED_BITS = 52 - _KEPT_BITS

PERCENTILE_ERROR = 1 / 2 ** (_KEPT_BITS + 1)
"""How far a percentile may be from the exact one, in proportion to it: half a bucket, 0.2 %."""


def buckets(values: np.ndarray) -> np.ndarray:
    """The bucket of each value: the first bits of its binary form, which orders buckets as values. Negative values
    count as 0."""
    positive = np.maximum(values.astype(np.float64), 0.0) + 0.0
    found: np.ndarray = positive.view(np.int64) >> _DROPPED_BITS
    return found


_BUCKET_BITS = 64 - _DROPPED_BITS
_UNMERGED = 2**20
"""Entries that may wait until they are merged."""


class Distributions:
    """The distributions of some values by name: how many fall into each bucket.

    Args:
        names: every name that `codes` refers to.
        codes: for each value the place of its name.
        values: the values.
    """

    def __init__(self, names: Sequence[str] = (), codes: np.ndarray | None = None, values: np.ndarray | None = None):
        self._places = {name: place for place, name in enumerate(dict.fromkeys(names))}
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        if codes is not None and values is not None and len(values):
            places = np.array([self._places[name] for name in names], np.int64)
            keys = (places[codes] << _BUCKET_BITS) | buckets(values)
            self._waiting.append(np.unique(keys, return_counts=True))

    def add(self, other: Distributions) -> None:
        """Adds the values of another."""
        if not other._waiting:
            return
        for name in other._places:
            self._places.setdefault(name, len(self._places))
        places = np.array([self._places[name] for name in other._places], np.int64)
        for keys, counts in other._waiting:
            there = (places[keys >> _BUCKET_BITS] << _BUCKET_BITS) | (keys & ((1 << _BUCKET_BITS) - 1))
            self._waiting.append((there, counts))
        if len(self._waiting) > 1 and sum(len(keys) for keys, _ in self._waiting[1:]) > _UNMERGED:
            self._merge()

    def _merge(self) -> None:
        keys = np.concatenate([keys for keys, _ in self._waiting])
        counts = np.concatenate([counts for _, counts in self._waiting])
        order = np.argsort(keys, kind="stable")
        keys, counts = keys[order], counts[order]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        self._waiting = [(keys[starts], np.add.reduceat(counts, starts))]

    def percentiles(self, name: str, *fractions: float) -> list[float | None]:
        """The values below or at which fractions of the values lie; within PERCENTILE_ERROR. None when there are no
        values."""
        place = self._places.get(name)
        if place is None or not self._waiting:
            return [None] * len(fractions)
        if len(self._waiting) > 1:
            self._merge()
        keys, counts = self._waiting[0]
        start, stop = np.searchsorted(keys, [place << _BUCKET_BITS, (place + 1) << _BUCKET_BITS])
        if start == stop:
            return [None] * len(fractions)
        seen = np.cumsum(counts[start:stop])
        found: list[float | None] = []
        for fraction in fractions:
            rank = max(1, math.ceil(fraction * int(seen[-1])))
            bucket = int(keys[start + np.searchsorted(seen, rank)]) & ((1 << _BUCKET_BITS) - 1)
            found.append(_middle(bucket))
        return found


def _middle(bucket: int) -> float:
    if bucket == 0:
        return 0.0
    low, high = (np.array([bucket, bucket + 1], np.int64) << _DROPPED_BITS).view(np.float64)
    return float(low / 2 + high / 2) if np.isfinite(high) else float(low)


_MILLISECOND = 1_000
_SECOND = 1_000 * _MILLISECOND
_HOUR = 3600 * _SECOND
_DAY = 24 * _HOUR

WIDTHS = (
    1,
    10,
    100,
    *(each * _MILLISECOND for each in (1, 10, 100)),
    *(each * _SECOND for each in (1, 5, 15, 60, 300, 900)),
    *(each * _HOUR for each in (1, 6)),
    *(each * _DAY for each in (1, 7, 28, 364, 3640, 36400)),
)
"""Widths of a time bucket in microseconds; each is a multiple of the one before, so that buckets can be merged."""

MOST_BUCKETS = 120
"""Time buckets at most: the narrowest width is taken with which there are no more."""


class Times:
    """How many times fall into each of up to MOST_BUCKETS buckets of equal width.

    Args:
        times: in microseconds since 1970.
        marked: for each, whether it counts as marked too.
    """

    def __init__(self, times: np.ndarray | None = None, marked: np.ndarray | None = None) -> None:
        self._level = 0
        self.all: Counter[int] = Counter()
        self.marked: Counter[int] = Counter()
        if times is not None and marked is not None and len(times):
            self._level = _level(int(times.min()), int(times.max()), 0)
            for counts, some in ((self.all, times), (self.marked, times[marked])):
                bins, number = np.unique(some // WIDTHS[self._level], return_counts=True)
                counts.update(dict(zip(bins.tolist(), number.tolist(), strict=True)))

    def add(self, other: Times) -> None:
        """Adds the times of another."""
        if not other.all:
            return
        level = max(self._level, other._level)
        self._widen(level)
        factor = WIDTHS[level] // WIDTHS[other._level]
        for mine, theirs in ((self.all, other.all), (self.marked, other.marked)):
            for bucket, count in theirs.items():
                mine[bucket // factor] += count
        width = WIDTHS[level]
        self._widen(_level(min(self.all) * width, max(self.all) * width, level))

    def _widen(self, level: int) -> None:
        factor = WIDTHS[level] // WIDTHS[self._level]
        if factor > 1:
            for name in ("all", "marked"):
                merged: Counter[int] = Counter()
                for bucket, count in getattr(self, name).items():
                    merged[bucket // factor] += count
                setattr(self, name, merged)
        self._level = level

    @property
    def width(self) -> int:
        """Of a bucket, in microseconds."""
        return WIDTHS[self._level]

    def series(self) -> list[tuple[datetime, int, int]]:
        """Each bucket from the first to the last: its start, all times, marked ones."""
        if not self.all:
            return []
        origin = datetime(1970, 1, 1, tzinfo=UTC)
        return [
            (_time(origin, bucket * self.width), self.all[bucket], self.marked[bucket])
            for bucket in range(min(self.all), max(self.all) + 1)
        ]


def _time(origin: datetime, microseconds: int) -> datetime:
    try:
        return origin + timedelta(microseconds=microseconds)
    except OverflowError:  # a bucket that begins before the year 1
        return datetime(1, 1, 1, tzinfo=UTC)


def _level(first: int, last: int, least: int) -> int:
    """The first width from `least` on with which the times from first to last fall into MOST_BUCKETS buckets."""
    for level in range(least, len(WIDTHS) - 1):
        if last // WIDTHS[level] - first // WIDTHS[level] < MOST_BUCKETS:
            return level
    return len(WIDTHS) - 1
