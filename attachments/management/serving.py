"""Metrics of commands that run for long."""

from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec


def serve_metrics() -> AbstractContextManager[None]:
    """Serve them at ``METRICS_BIND`` meanwhile, if that is set and the extra is installed."""
    if not find_spec("prometheus_client"):
        return nullcontext()
    from attachments import metrics

    return metrics.serve_metrics()
