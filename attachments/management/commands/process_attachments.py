import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils.translation import gettext as _

from attachments import services
from attachments.management.terminal import print_table, show_progress, stop_at_outages


class Command(BaseCommand):
    help = _(
        "Do what attachments wait for: verify large files, scan, read missing SHA-256 digests. "
        "Safe to run at any time, also several at once and beside workers. Exit status: 0 if all "
        "was done; 1 if something still waits; 2 if the store or the database did not answer."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--stuck",
            action="store_true",
            help=_(
                "only what a worker should have done by now; without, also what was tried in vain "
                "and is to be tried again later"
            ),
        )
        parser.add_argument("--json", action="store_true", help=_("print JSON, for programs"))

    def handle(self, *args: Any, **options: Any) -> None:
        with stop_at_outages(_("The next run does the rest.")):
            total = services.count_waiting(with_put_off=not options["stuck"])
            with show_progress(
                _("Processing"), total=total, is_hidden=options["json"]
            ) as on_progress:
                report = services.process_waiting(
                    with_put_off=not options["stuck"], on_progress=on_progress
                )
        if options["json"]:
            self.stdout.write(json.dumps(asdict(report)))
        else:
            rows = [
                [_("Done"), report.processed],
                [_("Tried in vain"), report.failed],
                [_("Still waiting"), report.waiting],
            ]
            print_table(self.stdout, [_("What"), _("How many")], rows)
        if report.waiting:
            sys.exit(1)
