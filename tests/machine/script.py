"""The steps of a failing run as a script, and how such a script is run."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

HEAD = '''\
"""Repeats a failing run of the state machine.

Save it anywhere, and run it in the project's directory: PYTHONPATH=. .venv/bin/python SCRIPT
"""

from tests.machine.script import repeat
from tests.machine.kinds import Trouble


def run(state):
'''
FOOT = """

if __name__ == "__main__":
    repeat(run)
"""


def write_script(error: BaseException) -> str:
    """From what hypothesis notes of a failure, line by line."""
    lines = [line for note in _find_notes(error) for line in note.splitlines()]
    steps = [line for line in lines if line.startswith("state.")]
    return HEAD + "".join(f"    {step}\n" for step in steps or ["pass"]) + FOOT


def _find_notes(error: BaseException) -> list[str]:
    if notes := getattr(error, "__notes__", []):
        return notes
    parts = getattr(error, "exceptions", ())
    return next((notes for part in parts if (notes := _find_notes(part))), [])


class Steps:
    """A plugin of pytest that brings the steps to ``repeated.py``."""

    def __init__(self, run: Callable[[Any], None]) -> None:
        self._run = run

    @pytest.fixture
    def steps(self) -> Callable[[Any], None]:
        return self._run


def repeat(run: Callable[[Any], None]) -> None:
    """Take these steps on an empty system; the exit status tells whether they fail."""
    arguments = ["tests/machine/repeated.py", "--numprocesses=0", "--timeout=0"]
    sys.exit(pytest.main(arguments, plugins=[Steps(run)]))
