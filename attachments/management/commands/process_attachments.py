import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attachments import services
from attachments.conf import conf
from attachments.errors import StorageUnavailable
from attachments.management.operating import OperatorCommand
from attachments.management.outages import COULD_NOT_RUN, SOMETHING_IS_WRONG
from attachments.management.terminal import print_table, show_progress


class Command(OperatorCommand):
    help = _(
        "Do what attachments wait for: verify large files, scan, read missing SHA-256 digests. "
        "Safe to run at any time, also several at once and beside workers. Exit status: 0 if all "
        "was done; 1 if something still waits; 2 if the store or the database did not answer."
    )

    outage_hint = gettext_lazy("The next run does the rest.")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--stuck",
            action="store_true",
            help=_(
                "only what a worker should have done by now; without, also what was tried in vain "
                "and is to be tried again later"
            ),
        )
        parser.add_argument(
            "--publish-unscanned",
            action="store_true",
            help=_(
                "first publish, without a scan, what waits for a virus scanner, if none is set up "
                "any more; “scan_attachments” finds it once there is one again"
            ),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["publish_unscanned"] and conf.scanner:
            error = _(
                "A virus scanner is set up: files wait for it, and are not published unscanned."
            )
            raise CommandError(error, returncode=COULD_NOT_RUN)
        report = self._process(options)
        self._print(report, as_json=options["json"])
        if isinstance(report.outage, StorageUnavailable):
            raise report.outage
        if report.waiting:
            sys.exit(SOMETHING_IS_WRONG)

    def _process(self, options: dict[str, Any]) -> services.ProcessReport:
        total = services.count_waiting(with_put_off=not options["stuck"])
        with show_progress(_("Processing"), total=total, is_hidden=options["json"]) as on_progress:
            published = services.publish_unscanned() if options["publish_unscanned"] else 0
            report = services.process_waiting(
                with_put_off=not options["stuck"], on_progress=on_progress
            )
        report.processed += published
        return report

    def _print(self, report: services.ProcessReport, *, as_json: bool) -> None:
        if as_json:
            self.print_report(report)
            return
        rows = [
            [_("Done"), report.processed],
            [_("Tried in vain"), report.failed],
            [_("Still waiting"), report.waiting],
        ]
        print_table(self.stdout, [_("What"), _("How many")], rows)
        if report.without_scanner:
            self.stdout.write(
                _(
                    "Files that wait for a virus scanner, while none is set up: %d. "
                    "Set CLAMAV_URL, or publish them by --publish-unscanned."
                )
                % report.without_scanner
            )
        elif report.outage:
            self.stdout.write(report.outage.detail)
