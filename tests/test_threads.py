"""Work that threads share: in order, not far ahead, and over as soon as something fails or nobody asks any more."""

from __future__ import annotations

import threading
import time
from itertools import islice

import pytest

from dnn2graph.streaming.threads import in_threads

THREADS = pytest.mark.parametrize("threads", [1, 2, 5])


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """Count threads before and after."""
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@THREADS
@pytest.mark.parametrize("count", [0, 1, 2, 300])
def test_results_come_in_order_whoever_is_first(threads, count):
    def late(number):
        time.sleep(0.001 * (number % 3 == 0))
        return number, threading.get_ident()

    found = list(in_threads(late, iter(range(count)), threads))
    assert [number for number, _ in found] == list(range(count))
    assert len({thread for _, thread in found}) <= threads


def test_the_asking_thread_is_one_of_them():
    met = threading.Barrier(3, timeout=60)
    found = set(in_threads(lambda _: (met.wait(), threading.get_ident())[1], range(3), 3))
    assert len(found) == 3
    assert threading.get_ident() in found


@THREADS
def test_few_parts_are_taken_ahead_of_who_asks(threads):
    taken = []

    def parts():
        for number in range(200):
            taken.append(number)
            yield number

    for told, _ in enumerate(in_threads(str, parts(), threads), 1):
        time.sleep(0.0005)
        assert len(taken) - told <= 2 * threads + 2


@THREADS
@pytest.mark.parametrize("where", ["function", "parts"])
def test_an_error_ends_it(threads, where):
    def fail(number):
        if number == 40:
            raise ValueError("forty")
        return number

    def parts():
        for number in range(1000):
            yield fail(number) if where == "parts" else number

    found = []
    with pytest.raises(ValueError, match="forty"):
        found.extend(in_threads(fail if where == "function" else abs, parts(), threads))
    assert found == list(range(len(found)))
    assert len(found) <= 40


@THREADS
def test_who_stops_asking_stops_the_others(threads):
    taken = []
    results = in_threads(taken.append, range(1000), threads)
    assert list(islice(results, 3)) == [None] * 3
    results.close()  # waits for whoever is at work
    assert len(taken) < 50
