"""The log listens: one line for each event, with its facts.

Lines go to the logger ``attachments.events``. ``record.msg`` is an ``EventLine``: its text is for
people, and formatters that write JSON take its facts.
"""

import logging
from dataclasses import dataclass
from typing import Any

from attachments.conf import conf
from attachments.events import EVENTS, Event

EVENT_LOGGER = "attachments.events"
logger = logging.getLogger(EVENT_LOGGER)


@dataclass(slots=True)
class EventLine:
    """What happened: its name, and what is known of it."""

    name: str
    facts: dict[str, Any]

    def __str__(self) -> str:
        # As repr() spells texts, no line ends in the middle of a fact.
        facts = (
            f"{name}={value!r}" if isinstance(value, str) else f"{name}={value}"
            for name, value in self.facts.items()
        )
        return " ".join([self.name, *facts])


def listen() -> None:
    for event in EVENTS.values():
        event.connect(log_event, dispatch_uid="attachments.event_log")


def log_event(signal: Event, sender: type[Event], **facts: Any) -> None:
    if not logger.isEnabledFor(signal.level):
        return
    if not conf.logs_filenames:
        facts.pop("filename", None)
    known = {name: value for name, value in facts.items() if value is not None}
    logger.log(signal.level, EventLine(signal.name, known))
