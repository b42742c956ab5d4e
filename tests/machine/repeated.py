"""The test that runs a script: pytest finds it by its path alone."""

import pytest

from tests.machine.rules import Machine
from tests.machine.world import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


def test_steps(world: World, steps) -> None:
    state = type("Repeated", (Machine,), {"world": world})()
    steps(state)
