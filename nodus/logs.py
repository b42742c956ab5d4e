import logging
import time

REPEAT_AFTER_SECONDS = 60


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
