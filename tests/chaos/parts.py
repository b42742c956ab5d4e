"""The parts of a deployment, each of which can hang, be killed, stop, or be slow."""

import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import psutil

Action = Callable[[], object]


@dataclass(kw_only=True)
class Part:
    """Some real processes."""

    name: str
    find: Callable[[], list[psutil.Process]]
    start: Action = lambda: None
    """Without one, somebody else starts it again."""
    stop: Action | None = None
    """As an operator does."""
    slow: Callable[[float], object] | None = None
    """Let each answer wait so many seconds; 0 ends that."""
    _hanging: list[psutil.Process] = field(default_factory=list)

    def hang(self) -> None:
        self._hanging = self.find()
        for process in self._hanging:
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def go_on(self) -> None:
        for process in self._hanging:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def kill(self) -> None:
        """All at once, as a power cut would."""
        processes = self.find()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=10)


@dataclass(kw_only=True)
class Program:
    """A command of ours that runs until it is killed."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Any

    def start(self) -> None:
        self._process = subprocess.Popen(
            self.command, env=self.environment, stdout=self.log, stderr=self.log
        )

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:  # it waits for a server that hangs
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """By itself, or by a signal. It reaps the process, too."""
        return self._process.poll() is not None


def find_tree(pid: int) -> list[psutil.Process]:
    """The process and all that it started; the first is itself."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def find_one_child(pid: int, random: Random) -> list[psutil.Process]:
    """One of the processes that a server keeps, and starts again by itself."""
    children = psutil.Process(pid).children()
    return [random.choice(children)] if children else []
