"""What clients met: how long each call took, and how it ended."""

from collections import Counter
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

# Of a call that ended without an error code.
DONE, LOST, TIMEOUT = "", "no answer", "no answer in time"


@dataclass
class Step:
    """All calls of one kind."""

    seconds: list[float] = field(default_factory=list)
    """Of those that were done."""
    errors: Counter[str] = field(default_factory=Counter)

    def find_percentile_ms(self, percent: int) -> float:
        """The time in which so many of a hundred were done; 0 without any."""
        found = sorted(self.seconds)
        return 1000 * found[min(len(found) * percent // 100, len(found) - 1)] if found else 0.0


class Tally:
    """Threads write to it."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self.problems: list[str] = []
        """What must not happen at all."""
        self._lock = Lock()

    def note(self, step: str, seconds: float, code: str = DONE) -> None:
        with self._lock:
            found = self.steps.setdefault(step, Step())
            if code == DONE:
                found.seconds.append(seconds)
            else:
                found.errors[code] += 1

    def blame(self, problem: str) -> None:
        with self._lock:
            self.problems.append(problem)

    @property
    def errors(self) -> Counter[str]:
        """Of all steps together."""
        return sum((step.errors for step in self.steps.values()), Counter[str]())

    def describe_progress(self) -> str:
        done = len(self.steps["flow"].seconds) if "flow" in self.steps else 0
        errors = ", ".join(f"{code} {count}" for code, count in sorted(self.errors.items()))
        return f"{done} files done; errors: {errors or 'none'}"

    def describe(self, seconds: float) -> dict[str, Any]:
        """For JSON: per step the calls, their rate, their times in ms, and their errors."""
        return {
            name: {
                "done": len(step.seconds),
                "per_second": len(step.seconds) / seconds,
                **{f"p{p}_ms": step.find_percentile_ms(p) for p in (50, 95, 99)},
                "errors": dict(step.errors),
            }
            for name, step in self.steps.items()
        }
