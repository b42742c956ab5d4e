"""gunicorn's threaded worker: it refuses connections once it is told to end, and then ends soon."""

from time import monotonic
from typing import Any

from gunicorn.workers.gthread import _DEFER, STOP_KEEPALIVE_LINGER, ThreadWorker

FIRST_BYTE_SECONDS = 0.2


class Worker(ThreadWorker):  # type: ignore[misc]
    def set_accept_enabled(self, enabled: bool) -> None:
        """gunicorn leaves the socket open until the last request is done.

        Who connects meanwhile would wait for that, and be cut off then. Refused, a client or a
        proxy goes on to another server at once.
        """
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                listener.close()
            # Who has asked nothing yet waits no longer than who asks nothing more.
            for conn in self.pending_conns:
                conn.timeout = min(conn.timeout, monotonic() + STOP_KEEPALIVE_LINGER)

    def handle(self, conn: Any) -> Any:
        """Answer a request, or leave a connection that is silent to the poller.

        Browsers connect in advance. gunicorn gives each such connection a thread for 5 seconds,
        and waits for these threads before it ends.
        """
        is_new = not (conn.initialized or conn.data_ready)
        if is_new and not conn.wait_for_data(FIRST_BYTE_SECONDS):
            return _DEFER
        return super().handle(conn)
