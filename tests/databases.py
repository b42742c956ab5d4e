"""The tests' own database: its address, and a way to lose it."""

import os
from urllib.parse import urlsplit

from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection


def get_database_url() -> str:
    """The address for other processes. ``DATABASE_URL`` itself names a database without tables."""
    url = urlsplit(os.environ["DATABASE_URL"])
    return url._replace(path=f"/{connection.settings_dict['NAME']}").geturl()


def lose_database() -> None:
    """Empty the database. What ``migrate`` makes gets other ids."""
    call_command("flush", interactive=False, verbosity=0)
    ContentType.objects.all().delete()
    ContentType.objects.clear_cache()
    call_command("migrate", verbosity=0)
