"""The machine: what clients, staff, workers and operators do, in any order, with troubles between."""

import sys

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant

from tests.machine.clients import Clients
from tests.machine.inputs import FILES
from tests.machine.invariants import ARROWS, check
from tests.machine.operators import Operators
from tests.machine.settling import settle


class Machine(Clients, Operators):
    """Each rule is one step; its arguments are literals, so that the steps are a script."""

    def __init__(self) -> None:
        super().__init__()
        self.world.arrows = ARROWS
        self.world.begin()
        self.world.troubles.do_meanwhile = self._do_meanwhile

    @invariant()
    def holds(self) -> None:
        self.world.steps += 1
        self.world.outage -= 1
        check(self.world)

    def teardown(self) -> None:
        if sys.exception() is None:
            settle(self.world)

    @initialize(files=st.lists(FILES, min_size=2, max_size=4), mode=st.sampled_from(["off", "on"]))
    def start(self, files: list[str], mode: str) -> None:
        """A message with a file, and files that wait for their confirm."""
        self.world.scanners.use(mode)
        self.upload(0, "", "picture", "", False, "", None)
        self._act(None, lambda: self._work("rows"))
        self.link(user=0, numbers=[0], trouble=None)
        self.batch(user=0, declares="", files=files, trouble=None)
