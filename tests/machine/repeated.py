"""The test that runs a script: pytest finds it by its path alone."""

from collections.abc import Callable
from typing import Any

from tests.machine.marks import MARKS
from tests.machine.rules import Machine
from tests.machine.world import World

pytestmark = MARKS


def test_steps(world: World, steps: Callable[[Any], None]) -> None:
    state = type("Repeated", (Machine,), {"world": world})()
    steps(state)
