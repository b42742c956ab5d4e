"""The kinds of trouble. Scripts name them before Django is there: nothing else is imported."""

from dataclasses import dataclass

STORE = ("drop", "drop_answer", "come_late", "repeat", "refuse", "lie", "talk_rubbish")
SLOW_STORE = ("before", "after")
DATABASE = ("end_connection", "lose_answer", "cancel")
PROCESS = ("kill",)
DYING = ("die_asking", "die_before_answer")
"""The process dies while the store does that call: it comes late, or its answer to nobody."""


@dataclass(frozen=True)
class Trouble:
    """One thing that happens to an action at its call number ``at``, counted from 0.

    Of the calls to the store, of the statements, or of both if the process is killed.
    """

    kind: str
    at: int
    meanwhile: str = ""
    """What others do before, or after, the store did that call, while its answer is waited for."""
