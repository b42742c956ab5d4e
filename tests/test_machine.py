"""Anything that clients, staff, workers and operators do, in any order, with faults between.

hypothesis chooses the steps; tests/machine has them, and what must hold after each. A failing run
prints a script that repeats it. The suite takes the same steps each time; ``make machine MINUTES=10``
takes others for so long.
"""

import os
import random
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.machine.marks import MARKS
from tests.machine.rules import Machine
from tests.machine.script import write_script
from tests.machine.world import World

MINUTES = float(os.environ.get("MACHINE_MINUTES", "0"))
SEED = int(os.environ.get("MACHINE_SEED", "21"))
RUNS = 5
STEPS = 30

# To find the shortest steps that fail takes up to five minutes.
pytestmark = [*MARKS, pytest.mark.timeout(MINUTES * 60 + 900)]


def test_whatever_happens(world: World, capsys: Any) -> None:
    deadline, number = time.monotonic() + MINUTES * 60, SEED
    while True:
        try:
            drive(world, number)
        except (Exception, SystemExit) as error:  # a command may end with the latter
            with capsys.disabled():
                print(f"\nSeed {number}. This script repeats it:\n\n{write_script(error)}")
            raise
        if time.monotonic() >= deadline:
            break
        number = random.randrange(10**6)
    # Or else nothing was tried
    assert {"verifying -> ready", "verifying -> rejected", "scanning -> ready"} <= set(
        world.visited
    )
    assert world.troubles.happened.total() > 10
    if MINUTES:
        with capsys.disabled():
            print_figures(world)


def drive(world: World, number: int) -> None:
    """Some runs on empty systems, chosen by this number."""
    machine = type("Driven", (Machine,), {"world": world})
    run_state_machine_as_test(
        seed(number)(machine),
        settings=settings(
            max_examples=RUNS,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            # To look for the shortest steps that fail takes minutes: not where others are found soon.
            phases=[Phase.generate] if MINUTES else [Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
            report_multiple_bugs=False,
        ),
    )


def print_figures(world: World) -> None:
    print(f"\n{world.steps} steps")
    for name, counted in (("moves", world.visited), ("faults", world.troubles.happened)):
        print(f"{counted.total()} {name}, {len(counted)} kinds:")
        for what, count in sorted(counted.items()):
            print(f"  {count:6} {what}")
