"""The rules of workers and operators, and of the world around them."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.machine.actions import TIMES, Actions, run_command
from tests.machine.inputs import MEANWHILE, TROUBLES
from tests.machine.invariants import ANY_ARROW, ARROWS, check
from tests.machine.kinds import Trouble
from tests.machine.settling import find_disagreements


class Operators(Actions):
    @rule(how=st.sampled_from(["rows", "rows", "rows", "tasks", "schedule"]), trouble=TROUBLES)
    def work(self, how: str, trouble: Trouble | None) -> None:
        self._act(trouble, lambda: self._work(how))

    @rule(older_than=st.sampled_from(["7d", "7d", "1h"]), trouble=TROUBLES)
    def purge(self, older_than: str, trouble: Trouble | None) -> None:
        """It may say that something stays: what a run holds that was killed, say."""
        self._act(
            trouble, lambda: run_command("purge_orphans", f"--older-than={older_than}", ends=(0, 1))
        )

    @rule(mends=st.booleans(), trouble=TROUBLES)
    def reconcile(self, mends: bool, trouble: Trouble | None) -> None:
        """It never finds anything but what came after its form was over."""
        options = ["--checksums", "--delete-unknown", "--mark-missing"] if mends else []
        found = self._act(trouble, lambda: find_disagreements(*options))
        assert not [line for line in found or () if not line["key"].startswith("pending/")], found

    @rule(trouble=TROUBLES)
    def scan(self, trouble: Trouble | None) -> None:
        """What is served already."""
        if self.world.scanners.mode != "off":
            self._act(trouble, self._scan)

    @rule(trouble=TROUBLES)
    def back_up(self, trouble: Trouble | None) -> None:
        self._act(trouble, lambda: run_command("backup_attachments", self.world.archive))

    @rule(how=st.sampled_from(["keep", "overwrite", "all is lost"]), trouble=TROUBLES)
    def restore(self, how: str, trouble: Trouble | None) -> None:
        """What fails is run again, as the operator is told."""
        world = self.world
        if world.outage or not list(world.archive.glob("snapshots/*/snapshot.json")):
            return
        world.troubles.land()
        if how == "all is lost":
            world.lose_everything()
        options = ["--overwrite", "--yes"] if how == "overwrite" else ["--keep-existing"]
        world.arrows = ANY_ARROW
        for met in (trouble, None) if trouble else (None,):
            self._act(met, lambda: run_command("restore_attachments", world.archive, *options))
        self._bring_back()
        world.linked.clear()
        world.limits.is_restored = True
        check(world)
        world.arrows = ARROWS

    # The world

    @rule(how=st.sampled_from(sorted(TIMES)))
    def wait(self, how: str) -> None:
        self.world.troubles.land()
        self.world.wait(TIMES[how])

    @rule(steps=st.integers(1, 3))
    def stop_store(self, steps: int) -> None:
        """It comes back by itself after so many steps."""
        self.world.outage = steps + 1

    @rule(
        mode=st.sampled_from(["off", "on", "on", "on", "down", "dies", "slow"]), meanwhile=MEANWHILE
    )
    def use_scanner(self, mode: str, meanwhile: str) -> None:
        self.world.scanners.use(mode, meanwhile)
