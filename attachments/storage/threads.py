"""Threads that wait for a store, so that many calls of it are under way at once."""

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
    """The results in the order of the tasks, which are taken as they are needed: flat memory.

    At most ``ahead`` tasks for each thread are taken before their result is asked for. The first
    error ends it, once the tasks that already run are done.
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
    """The same items; a thread makes the next one while the caller works on one."""
    source = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="store") as pool:
        following = pool.submit(_take_one, source)
        while one := following.result():
            following = pool.submit(_take_one, source)
            yield from one


def _take_one(source: Iterator[Item]) -> list[Item]:
    """The next item, or an empty list at the end."""
    return list(islice(source, 1))
