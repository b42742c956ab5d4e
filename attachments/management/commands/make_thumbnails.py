import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils.translation import gettext as _

from attachments import services
from attachments.management.terminal import print_json, print_table, show_progress, stop_at_outages


class Command(BaseCommand):
    help = _(
        "Look into the files that no worker has looked into yet: find their size, duration or "
        "pages, and make thumbnails of the images. Safe to run at any time, beside workers, and "
        "several at once; what was stopped goes on at the next run. Exit status: 0 if all is done; "
        "1 if files are left; 2 if the store or the database did not answer, or nothing can be "
        "decoded."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--again",
            action="store_true",
            help=_(
                "also the files that were looked into, as after a change of THUMBNAIL_PX; what was "
                "stopped goes on without this option"
            ),
        )
        parser.add_argument("--json", action="store_true", help=_("print JSON, for programs"))

    def handle(self, *args: Any, **options: Any) -> None:
        with stop_at_outages(_("The next run does the rest.")):
            report = self._inspect(options)
            self._print(report, as_json=options["json"])
            if report.outage:
                raise report.outage
        if report.left:
            sys.exit(1)

    def _inspect(self, options: dict[str, Any]) -> services.InspectionReport:
        if options["again"]:
            services.inspect_again()
        total = services.count_uninspected()
        with show_progress(_("Looking"), total=total, is_hidden=options["json"]) as on_progress:
            return services.inspect_waiting(on_progress=on_progress)

    def _print(self, report: services.InspectionReport, *, as_json: bool) -> None:
        if as_json:
            print_json(self.stdout, report)
            return
        rows = [
            [_("Files looked into"), report.inspected],
            [_("Thumbnails made"), report.thumbnails],
            [_("Files of which nothing could be found"), report.unreadable],
            [_("Files left"), report.left],
        ]
        print_table(self.stdout, [_("What"), _("How many")], rows)
