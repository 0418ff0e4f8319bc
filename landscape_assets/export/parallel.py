"""Work on several threads whose results come in order, with a bounded number of them in memory.

Belongs here: the two ways in which steps use threads. Polars, Arrow, hashing and files release the interpreter's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[R]:
    """The result of `work` for each item, in the items' order, with at most `ahead` of them begun and not yet taken.

    An error of `work` is raised at the place of its result; what was begun behind it is waited for and dropped.
    """
    begun: deque[Future[R]] = deque()
    try:
        for item in items:
            if len(begun) >= ahead:
                yield begun.popleft().result()
            begun.append(pool.submit(work, item))
        while begun:
            yield begun.popleft().result()
    finally:
        for future in begun:
            future.cancel()


def read_ahead(pool: ThreadPoolExecutor, items: Iterator[T]) -> Iterator[T]:
    """The items of an iterator, each asked for on the pool's thread while the one before is worked on."""
    end = object()
    following = pool.submit(next, items, end)
    try:
        while (item := following.result()) is not end:
            following = pool.submit(next, items, end)
            yield item
    finally:
        following.cancel()
