"""The settings of production, with one more view: the floor, to compare the others with."""

from nodus.settings import *  # noqa: F403

# Debugging keeps every query. DJANGO_DEBUG=off would refuse the embedded servers' known passwords.
DEBUG = WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = False
ROOT_URLCONF = "tests.benchmarks.urls"
FLOOR_PATH = "/benchmarks/floor"
LOGGING["handlers"]["console"]["formatter"] = "json"  # noqa: F405

if env.bool("BENCHMARK_UNWATCHED", default=False):  # noqa: F405
    # As if there were no metrics, no log of events and requests, and no ids: to compare with.
    MIDDLEWARE = [item for item in MIDDLEWARE if item != "nodus.requests.RequestMiddleware"]  # noqa: F405
    INSTALLED_APPS = [*INSTALLED_APPS, "tests.benchmarks.unwatched.UnwatchedConfig"]  # noqa: F405
