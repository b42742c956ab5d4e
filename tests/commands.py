"""Management commands, as an operator runs them: in this process, or in one of their own."""

import os
import subprocess
import sys
from io import StringIO
from typing import Any

from django.core.management import call_command

from attachments.task_framework import ImmediateBackend
from tests.databases import get_database_url

IMMEDIATE = f"{ImmediateBackend.__module__}.ImmediateBackend"
"""The backend of tasks that has no worker."""


def run(name: str, *args: Any, status: int = 0, **options: Any) -> str:
    """Give what the command prints. It must end with ``status``."""
    out, found = StringIO(), 0
    try:
        call_command(name, *map(str, args), stdout=out, **options)
    except SystemExit as stopped:
        found = stopped.code
    assert found == status
    return out.getvalue()


def start(name: str, *args: Any, **options: Any) -> subprocess.Popen[str]:
    """Start the command in a process of its own, on the tests' database."""
    return start_python("manage.py", name, *args, **options)


def start_python(
    *args: Any, env: dict[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    """Start Python in a process of its own, on the tests' database, with these variables too."""
    environment = {**os.environ, "DATABASE_URL": get_database_url(), **(env or {})}
    command = [sys.executable, *map(str, args)]
    return subprocess.Popen(command, env=environment, text=True, **options)
