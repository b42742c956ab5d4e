"""Logs: one line for each event, as JSON in production and for people in development.

The formatters are our own: one of structlog takes several times as long for a line, and each
request writes two.
"""

import json
import logging
import time
from datetime import UTC, datetime
from typing import Any

from attachments.event_log import EventLine
from attachments.events import request_id

REPEAT_AFTER_SECONDS = 60

# No line shows where it was written: "Optimization" in Python's Logging HOWTO.
logging._srcfile = None

_encode = json.JSONEncoder(default=str, ensure_ascii=False).encode


class SparseFilter(logging.Filter):
    """Lets messages of one kind pass once a minute, whatever they are about."""

    def __init__(self) -> None:
        super().__init__()
        self._passed_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        passed_at = self._passed_at.get(str(record.msg))
        if passed_at is not None and now - passed_at < REPEAT_AFTER_SECONDS:
            return False
        self._passed_at[str(record.msg)] = now
        return True


class JSONFormatter(logging.Formatter):
    """An object in a line. Facts of an event are fields of their own, and its name is ``event``."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "timestamp": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if found := request_id.get():
            line["request_id"] = found
        if isinstance(record.msg, EventLine):
            line |= {"event": record.msg.name, **record.msg.facts}
        else:
            line["event"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(line)


class TextFormatter(logging.Formatter):
    """For people: the request comes last."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own name)
        found = request_id.get()
        return super().formatMessage(record) + (f" request_id={found}" if found else "")
