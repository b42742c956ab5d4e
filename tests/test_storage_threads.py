"""Many calls at once: what comes back, in which order, and what is taken in advance."""

import threading
import time
from itertools import count

import pytest

from attachments.storage.threads import read_ahead, run_in_order


def test_results_come_in_the_order_of_the_tasks():
    def work(number):
        time.sleep(0.02 if number % 4 == 0 else 0)
        return number * 10

    assert list(run_in_order(work, range(20), threads=4)) == [number * 10 for number in range(20)]


def test_tasks_run_at_once():
    barrier = threading.Barrier(3, timeout=10)

    results = list(run_in_order(lambda _: barrier.wait(), range(6), threads=3, ahead=1))

    assert sorted(results) == [0, 0, 1, 1, 2, 2]


def test_no_more_tasks_are_taken_than_allowed():
    taken = []

    def take():
        for number in count():
            taken.append(number)
            yield number

    results = run_in_order(lambda number: number, take(), threads=2, ahead=3)

    assert next(results) == 0
    assert len(taken) == 6
    assert [next(results) for _ in range(10)] == list(range(1, 11))
    assert len(taken) == 16
    results.close()


def test_the_first_error_ends_it_after_what_runs_is_done():
    begun, done = [], []
    is_second_running = threading.Event()

    def work(number):
        begun.append(number)
        if number == 0:
            assert is_second_running.wait(10)
            raise ConnectionError("no route to the store")
        is_second_running.set()
        time.sleep(0.05)
        done.append(number)

    with pytest.raises(ConnectionError):
        list(run_in_order(work, range(100), threads=2))

    assert sorted(begun) == [0, *sorted(done)]
    assert 1 <= len(done) < 15  # of 16 that were taken


def test_nothing_to_do():
    assert list(run_in_order(print, [], threads=2)) == []
    assert list(read_ahead([])) == []


def test_the_next_item_is_made_while_one_is_worked_on():
    is_made = [threading.Event() for _ in range(3)]

    def make():
        for number, event in enumerate(is_made):
            event.set()
            yield number

    items = read_ahead(make())

    assert next(items) == 0
    assert is_made[1].wait(10)
    assert not is_made[2].is_set()
    assert list(items) == [1, 2]


def test_an_error_comes_after_the_items_before_it():
    def make():
        yield 1
        raise ConnectionError("no route to the store")

    items = read_ahead(make())

    assert next(items) == 1
    with pytest.raises(ConnectionError):
        next(items)
