import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attachments import services
from attachments.conf import conf
from attachments.management.operating import OperatorCommand
from attachments.management.outages import COULD_NOT_RUN, SOMETHING_IS_WRONG
from attachments.management.terminal import (
    parse_count,
    parse_moment,
    print_table,
    show_progress,
)
from attachments.models import Attachment


class Command(OperatorCommand):
    help = _(
        "Scan the files that are served and were never scanned, and take down what is infected. "
        "Safe to kill and to repeat. Exit status: 0 if all is clean; 1 if something was taken down "
        "or could not be scanned; 2 if the scanner, the store or the database did not answer."
    )

    outage_hint = gettext_lazy("The next run does the rest.")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--before",
            type=parse_moment,
            help=_("also what was last scanned before this date or moment, such as 2026-01-31"),
        )
        parser.add_argument(
            "--signatures-before",
            type=parse_count,
            help=_("also what was scanned with signatures older than this version, such as 27500"),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not conf.scanner:
            raise CommandError(_("No scanner is set up: set CLAMAV_URL."), returncode=COULD_NOT_RUN)
        found: list[Attachment] = []
        rows = services.find_unscanned(
            before=options["before"], signatures_before=options["signatures_before"]
        )
        total = rows.count()
        with show_progress(_("Scanning"), total=total, is_hidden=options["json"]) as on_progress:
            report = services.scan_published(
                rows, on_infected=found.append, on_progress=on_progress
            )
        self._print(report, found, as_json=options["json"])
        if report.outage:
            raise report.outage
        if report.infected or report.unscannable or report.failed:
            sys.exit(SOMETHING_IS_WRONG)

    def _print(
        self, report: services.ScanReport, found: list[Attachment], *, as_json: bool
    ) -> None:
        if as_json:
            infected = [
                {"attachment_id": str(row.pk), **row.error["params"]} for row in found if row.error
            ]
            self.print_report(report, taken_down=infected)
            return
        rows = [
            [_("Clean"), report.clean],
            [_("Infected, and taken down"), report.infected],
            [_("Could not be scanned, and still served"), report.unscannable],
            [_("Gone meanwhile"), report.skipped],
            [_("Tried in vain"), report.failed],
        ]
        print_table(self.stdout, [_("What"), _("How many")], rows)
        if found:
            columns = [_("Attachment"), _("Filename"), _("Error")]
            details = [
                [str(row.pk), row.filename, (row.error_info or {})["detail"]] for row in found
            ]
            print_table(self.stdout, columns, details)
