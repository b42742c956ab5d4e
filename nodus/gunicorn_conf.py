"""How gunicorn serves nodus, in `make run`, in Docker and in the benchmarks."""

import gc
import os
import shutil
import tempfile
from typing import Any

from nodus.settings import LOG_FORMAT

wsgi_app = "nodus.wsgi"
bind = os.environ.get("BIND", "127.0.0.1:8000")
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
preload_app = True  # load nodus once, then fork: starts twice as fast, and workers share memory
# Threads: while a confirm waits for the store, its worker serves others.
worker_class = "nodus.gunicorn_worker.Worker"
# Twice MAX_STORE_WAITS: a store that hangs leaves the others, of which /health takes one while it
# waits for an answer. With the threads of /health and of what follows answers they fit the pool.
threads = 6
timeout = 60
graceful_timeout = 30
keepalive = 5
control_socket_disable = True  # the control socket needs a home directory
accesslog = None  # nodus.requests logs each request, with its id and its user

# Its own lines are JSON where those of nodus are.
if LOG_FORMAT == "json":
    logconfig_dict = {
        "formatters": {"generic": {"()": "nodus.logs.JSONFormatter"}},
        "root": {"level": "INFO", "handlers": ["error_console"]},
        "loggers": {
            "gunicorn.error": {"level": "INFO", "handlers": ["error_console"], "propagate": False}
        },
    }

# The processes add up what they count by files. A directory that the environment names is shared
# with commands, and outlives the server.
_OWN_METRICS = os.path.join(tempfile.gettempdir(), f"nodus-metrics-{os.getuid()}-{os.getpid()}")
_METRICS = os.environ.get("PROMETHEUS_MULTIPROC_DIR") or _OWN_METRICS
raw_env = [f"PROMETHEUS_MULTIPROC_DIR={_METRICS}"]


def on_starting(server: Any) -> None:
    from attachments.metrics import directory

    if found := directory.find_directory():
        directory.remove_dead(found)


def worker_exit(server: Any, worker: Any) -> None:
    """What is to follow the answers is still done. But at its end Python collects all there is.

    For each process that takes up to some seconds, and makes memory its own that was shared.
    """
    gc.freeze()


def child_exit(server: Any, worker: Any) -> None:
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    if _METRICS == _OWN_METRICS:
        shutil.rmtree(_OWN_METRICS, ignore_errors=True)
