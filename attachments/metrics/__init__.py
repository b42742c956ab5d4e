"""Metrics for Prometheus: what happened in these processes, and what waits in the database.

It needs the extra ``metrics``; without it, nothing imports this package.
"""

from attachments.metrics.exposition import render_metrics, serve_metrics
from attachments.metrics.listeners import listen
from attachments.metrics.views import show_metrics

__all__ = ["listen", "render_metrics", "serve_metrics", "show_metrics"]
