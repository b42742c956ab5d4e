"""What happens to each part, and when: a seed tells all of it beforehand."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from threading import Event, Thread

from tests.chaos.parts import Part

CALM_SECONDS, MOST_SECONDS = 20.0, 12.0
SLOWEST_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Fault:
    kind: str
    begin: Callable[[Part], object]
    end: Callable[[Part], object]
    needs: str = ""
    """What not every part has."""


FAULTS = [
    Fault(kind="hangs", begin=Part.hang, end=Part.go_on),
    Fault(kind="is killed", begin=Part.kill, end=lambda part: part.start()),
    Fault(
        kind="stops",
        begin=lambda part: part.stop(),
        end=lambda part: part.start(),
        needs="stop",
    ),
    Fault(
        kind="is slow",
        begin=lambda part: part.slow(SLOWEST_SECONDS),
        end=lambda part: part.slow(0),
        needs="slow",
    ),
]


@dataclass(kw_only=True)
class Weather:
    """Each part has faults of its own, whatever the others have at that moment."""

    seed: int
    tell: Callable[[str], object]
    pace: float = 1.0
    """2: faults come twice as often, and last half as long."""
    happened: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def plan(self, part: Part) -> Iterator[tuple[float, Fault, float]]:
        """The calm before each fault, the fault, and how long it lasts; in seconds."""
        random = Random(f"{self.seed} {part.name}")
        faults = [item for item in FAULTS if not item.needs or getattr(part, item.needs)]
        while True:
            calm = random.uniform(0.2, 1.8) * CALM_SECONDS / self.pace
            yield calm, random.choice(faults), random.uniform(0.1, 1) * MOST_SECONDS / self.pace

    def rage(self, parts: list[Part], *, seconds: float) -> None:
        """For so long; then all are up again."""
        is_over = Event()
        threads = [Thread(target=self._trouble, args=(part, is_over)) for part in parts]
        for thread in threads:
            thread.start()
        try:
            time.sleep(seconds)
        finally:
            is_over.set()
            for thread in threads:
                thread.join()

    def _trouble(self, part: Part, is_over: Event) -> None:
        for calm, fault, seconds in self.plan(part):
            if is_over.wait(calm):
                return
            self.tell(f"{part.name} {fault.kind} for {seconds:.1f} s")
            self.happened[f"{part.name} {fault.kind}"] += 1
            try:
                fault.begin(part)
                is_over.wait(seconds)
                fault.end(part)
            except Exception as error:  # noqa: BLE001 (the verdict tells it)
                self.problems.append(f"{part.name} did not come back: {error!r}")
                return
