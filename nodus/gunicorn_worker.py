"""gunicorn's threaded worker, which refuses connections from the moment it is told to end."""

from gunicorn.workers.gthread import ThreadWorker


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
