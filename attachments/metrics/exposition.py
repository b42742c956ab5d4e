"""What Prometheus reads: of this process, or of all that share ``PROMETHEUS_MULTIPROC_DIR``."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ImproperlyConfigured
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from attachments.conf import conf
from attachments.metrics.directory import find_directory
from attachments.metrics.gauges import BacklogCollector

_gauges = CollectorRegistry()
_gauges.register(BacklogCollector())


def render_metrics() -> bytes:
    """All of it, in the text format of Prometheus."""
    return generate_latest(_find_registry()) + generate_latest(_gauges)


@contextmanager
def serve_metrics() -> Iterator[None]:
    """Serve what this one process counts at ``METRICS_BIND``, if that is set: for workers.

    Raises ``ImproperlyConfigured`` for an address that cannot be had.
    """
    if not conf.metrics_bind:
        yield
        return
    host, _, port = conf.metrics_bind.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"))
    except OSError as error:
        text = f"Metrics cannot be served at METRICS_BIND, {conf.metrics_bind}: {error}"
        raise ImproperlyConfigured(text) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _find_registry() -> CollectorRegistry:
    if find_directory() is None:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
