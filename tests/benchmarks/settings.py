"""The settings of production, with one more view: the floor, to compare the others with."""

from nodus.settings import *  # noqa: F403

# Debugging keeps every query. DJANGO_DEBUG=off would refuse the embedded servers' known passwords.
DEBUG = WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = False
ROOT_URLCONF = "tests.benchmarks.urls"
FLOOR_PATH = "/benchmarks/floor"
