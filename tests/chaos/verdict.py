"""What a run of chaos found."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from tests.chaos.proof import Proof
from tests.load.crowd import Crowd
from tests.load.report import make_table
from tests.load.tally import TIMEOUT

SHOWN = 20


@dataclass(kw_only=True)
class Verdict:
    seed: int
    seconds: float
    crowd: Crowd
    faults: Counter[str]
    proof: Proof
    problems: list[str]

    @cached_property
    def figures(self) -> dict[str, Any]:
        uploads, tally = self.crowd.journal.uploads, self.crowd.tally
        timeouts = tally.errors[TIMEOUT]
        found = [*self.problems, *tally.problems, *self.proof.problems]
        if timeouts:
            found.append(f"{timeouts} requests had no answer in time")
        return {
            "seed": self.seed,
            "minutes": self.seconds / 60,
            "uploads": len(uploads),
            "confirmed": sum(upload.is_confirmed for upload in uploads),
            "deleted": sum(upload.is_deleted for upload in uploads),
            "files_read_back": self.proof.files_read,
            "bytes_read_back": self.proof.bytes_read,
            "faults": dict(sorted(self.faults.items())),
            "errors": dict(sorted(tally.errors.items())),
            "steps": tally.describe(self.seconds),
            "lost": self.proof.lost,
            "leaked": self.proof.leaked,
            "problems": found,
        }

    @property
    def is_met(self) -> bool:
        """Something was tried, too."""
        figures = self.figures
        is_well = not (figures["lost"] or figures["leaked"] or figures["problems"])
        return bool(is_well and figures["confirmed"] and figures["faults"])

    @property
    def text(self) -> str:
        figures = self.figures
        console = Console(file=StringIO(), width=120)
        faults = Table("fault", "times", title="What failed", title_justify="left")
        for name, count in figures["faults"].items():
            faults.add_row(name, str(count))
        console.print(faults)
        console.print(make_table(self.crowd.tally, seconds=self.seconds, title="What clients met"))
        for kind in ("lost", "leaked", "problems"):
            for item in figures[kind][:SHOWN]:
                console.print(f"{kind}: {item}", markup=False, soft_wrap=True)
        console.print(
            f"{figures['minutes']:g} minutes, seed {self.seed}: {figures['uploads']} uploads, "
            f"{figures['confirmed']} confirmed, {figures['deleted']} deleted, "
            f"{figures['files_read_back']} files of {decimal(figures['bytes_read_back'])} read "
            f"back; {len(figures['lost'])} lost, {len(figures['leaked'])} leaked, "
            f"{len(figures['problems'])} problems.",
            soft_wrap=True,
            highlight=False,
        )
        console.print("All held." if self.is_met else "It did NOT hold.")
        return console.file.getvalue()  # type: ignore[attr-defined]
