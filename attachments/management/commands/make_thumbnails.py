import sys
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attachments import services
from attachments.management.operating import OperatorCommand
from attachments.management.outages import SOMETHING_IS_WRONG
from attachments.management.terminal import print_table, show_progress


class Command(OperatorCommand):
    help = _(
        "Look into the files that no worker has looked into yet: find their size, duration or "
        "pages, and make thumbnails of the images. Safe to run at any time, beside workers, and "
        "several at once; what was stopped goes on at the next run. Exit status: 0 if all is done; "
        "1 if files are left; 2 if the store or the database did not answer, or nothing can be "
        "decoded."
    )

    outage_hint = gettext_lazy("The next run does the rest.")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--again",
            action="store_true",
            help=_(
                "also the files that were looked into, as after a change of THUMBNAIL_PX; what was "
                "stopped goes on without this option"
            ),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        report = self._inspect(options)
        self._print(report, as_json=options["json"])
        if report.outage:
            raise report.outage
        if report.left:
            sys.exit(SOMETHING_IS_WRONG)

    def _inspect(self, options: dict[str, Any]) -> services.InspectionReport:
        if options["again"]:
            services.inspect_again()
        total = services.count_uninspected()
        with show_progress(_("Looking"), total=total, is_hidden=options["json"]) as on_progress:
            return services.inspect_waiting(on_progress=on_progress)

    def _print(self, report: services.InspectionReport, *, as_json: bool) -> None:
        if as_json:
            self.print_report(report)
            return
        rows = [
            [_("Files looked into"), report.inspected],
            [_("Thumbnails made"), report.thumbnails],
            [_("Files of which nothing could be found"), report.unreadable],
            [_("Files left"), report.left],
        ]
        print_table(self.stdout, [_("What"), _("How many")], rows)
