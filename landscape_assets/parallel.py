"""Work on several threads whose results come in order, with a bounded number of them in memory.

Belongs here: the ways in which stages use threads. Polars, Arrow, hashing and files release the interpreter's lock.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

Deferred = Callable[[], T]
"""A piece of work that is still to be done: called once, on any thread, it gives its result.

Stages hand each other such pieces, so that one thread does all the work on a piece, and few pieces are in memory.
"""


@contextmanager
def results(pieces: Iterable[Deferred[T]], threads: int) -> Iterator[Iterator[T]]:
    """The results of pieces of work, in order; the work is done on as many threads, none of which outlives the context.

    At its end no piece is worked on any more, whatever happened: what pieces need may then be closed.
    """
    with (
        ThreadPoolExecutor(threads, "results") as pool,
        closing(in_order(pool, lambda piece: piece(), pieces, threads + 1)) as found,
    ):
        yield found


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], ahead: int
) -> Generator[R, None, None]:
    """The result of `work` for each item, in the items' order, with at most `ahead` of them begun and not yet taken.

    An error of `work` is raised at the place of its result; what was begun behind it is waited for and dropped. An
    error of the items is raised behind the results of those before it.
    """
    begun: deque[Future[R]] = deque()
    iterator, error = iter(items), None
    try:
        while True:
            if len(begun) >= ahead:
                yield begun.popleft().result()
            try:
                item = next(iterator)
            except StopIteration:
                break
            except Exception as raised:
                error = raised
                break
            begun.append(pool.submit(work, item))
        while begun:
            yield begun.popleft().result()
        if error is not None:
            raise error
    finally:
        for future in begun:
            future.cancel()
        if isinstance(iterator, Generator):
            iterator.close()


def read_ahead(items: Iterator[T], ahead: int = 4) -> Iterator[T]:
    """The items of an iterator, taken on a thread of its own while those before are worked on.

    An error of the iterator is raised in its place. Closed early, it lets the thread end at the next item.

    Args:
        items: any iterator; it is used by the thread alone.
        ahead: how many items may wait.
    """
    waiting: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(ahead)
    stopped = threading.Event()

    def put(item: T | None, error: BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                waiting.put((item, error), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def take() -> None:
        try:
            for item in items:
                if not put(item, None):
                    return
            put(None, StopIteration())
        except BaseException as error:
            put(None, error)

    thread = threading.Thread(target=take, name="read ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()
