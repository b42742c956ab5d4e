"""What `manage.py` runs: Django's commands, which end as those of the app do, with a line each."""

import json
import os
import sys

from django.core.management import CommandError, execute_from_command_line

from attachments.management.outages import end_at_outages


def main() -> None:
    """Run the command of ``sys.argv``; also settings that cannot be read end in a line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nodus.settings")
    try:
        with end_at_outages():
            execute_from_command_line(sys.argv)
    except CommandError as error:
        if "--traceback" in sys.argv:
            raise
        if "--json" in sys.argv:  # as the app's commands do, which cannot be asked yet
            sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(error.returncode)
