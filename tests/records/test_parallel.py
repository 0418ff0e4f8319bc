"""Deferred pieces of work: their results in order, their errors in place, and that none outlives its context.

Belongs here: `parallel.results`. Does not belong here: what the stages defer.
"""

import threading
import time
from collections.abc import Iterator

import pytest

from landscape_assets.parallel import Deferred, results


def test_results_come_in_order_whatever_takes_longest() -> None:
    def piece(number: int) -> Deferred[int]:
        def work() -> int:
            time.sleep(0.02 if number % 3 == 0 else 0)
            return number

        return work

    with results(map(piece, range(30)), 2) as found:
        assert list(found) == list(range(30))


def test_an_error_is_raised_in_the_place_of_its_result() -> None:
    def fails() -> int:
        raise ValueError("the second")

    pieces: list[Deferred[int]] = [lambda: 0, fails, lambda: 2]
    with results(pieces, 2) as found:
        assert next(found) == 0
        with pytest.raises(ValueError, match="the second"):
            next(found)


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_no_piece_is_worked_on_after_the_context(taken: int) -> None:
    """Not even when an error ends it early: what pieces are made from is closed then."""
    is_closed = threading.Event()
    worked_on: list[bool] = []

    def work() -> int:
        time.sleep(0.02)
        worked_on.append(is_closed.is_set())
        return 1

    def pieces() -> Iterator[Deferred[int]]:
        while True:
            yield work

    def take() -> None:
        with results(pieces(), 2) as found:
            for _ in range(taken):
                next(found)
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        take()
    is_closed.set()
    time.sleep(0.1)
    assert not any(worked_on)
    assert len(worked_on) >= taken
