"""Threads that wait for the store, so that many calls to it run at once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

AHEAD = 8

Task = TypeVar("Task")
Result = TypeVar("Result")
Item = TypeVar("Item")


def run_in_order(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    threads: int,
    ahead: int = AHEAD,
) -> Iterator[Result]:
    """Run ``function`` on each task in threads; give the results in the order of the tasks.

    Tasks are taken as they are needed, so that memory stays flat: at most ``ahead`` per thread are
    taken before their results are. The first error ends it, after the tasks that run are done.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="store") as pool:
        try:
            for task in tasks:
                waiting.append(pool.submit(function, task))
                if len(waiting) >= threads * ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def read_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Give the same items. A thread makes the next one while the caller works on one."""
    source = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="store") as pool:
        following = pool.submit(_take_one, source)
        while one := following.result():
            following = pool.submit(_take_one, source)
            yield from one


def _take_one(source: Iterator[Item]) -> list[Item]:
    """The next item, or an empty list at the end."""
    return list(islice(source, 1))
