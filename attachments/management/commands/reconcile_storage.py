import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser
from django.template.defaultfilters import filesizeformat
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from attachments import services
from attachments.management.operating import OperatorCommand
from attachments.management.outages import SOMETHING_IS_WRONG
from attachments.management.terminal import (
    Shortlist,
    ask,
    parse_count,
    parse_duration,
    print_table,
    show_progress,
)
from attachments.models import Attachment
from attachments.services import Finding, FindingKind, ReconcileReport


class Command(OperatorCommand):
    help = _(
        "Compare the rows with the objects in the store, both ways. Safe to run at any time. Exit "
        "status: 0 if they agree, or if everything that was wrong was mended; 1 if something is "
        "wrong; 2 if the store or the database did not answer."
    )

    writes_lines = True

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--grace",
            type=parse_duration,
            default=services.RECONCILE_GRACE,
            help=_("how old an object must be to count as unknown, such as 1h or 2d (default: 1h)"),
        )
        parser.add_argument(
            "--checksums",
            action="store_true",
            help=_(
                "compare each SHA-256 too: this takes a call per object, and reads all its bytes "
                "if the store keeps no digests"
            ),
        )
        parser.add_argument(
            "--delete-unknown", action="store_true", help=_("delete objects that no row knows")
        )
        parser.add_argument(
            "--mark-missing",
            action="store_true",
            help=_("reject the rows whose object is missing, with the error object_missing"),
        )
        parser.add_argument(
            "--limit",
            type=parse_count,
            default=100,
            help=_("findings to show in the table; JSON has them all (default: %(default)s)"),
        )
        parser.add_argument(
            "--no-input",
            "--noinput",
            action="store_false",
            dest="interactive",
            help=_("do not ask before acting"),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self._confirm(options)
        is_dry = not (options["delete_unknown"] or options["mark_missing"])
        shown = Shortlist[Finding](options["limit"])
        if options["json"]:
            report = self._reconcile(options, lambda item: self.print_json(asdict(item)))
            facts = {**asdict(report), "is_clean": report.is_clean, "dry_run": is_dry}
            self.print_json({"kind": "summary", **facts})
        else:
            report = self._reconcile(options, shown.add)
            self._print(report, shown)
            if is_dry:
                text = _("Nothing was changed: --delete-unknown and --mark-missing act.")
                self.stdout.write(text)
        if not report.is_clean:
            sys.exit(SOMETHING_IS_WRONG)

    def _confirm(self, options: dict[str, Any]) -> None:
        """Ask, at a terminal: with a wrong bucket or an old database, everything looks wrong."""
        if not (options["interactive"] and sys.stdin.isatty()):
            return
        if options["delete_unknown"]:
            warning = _(
                "Objects that no row knows will be deleted for good. If the database was lost "
                "in part, they are all that is left of those files."
            )
            ask(warning + "\n" + _("Continue?"))
        if options["mark_missing"]:
            warning = _("Rows whose object is missing will be rejected, as a record of the loss.")
            ask(warning + "\n" + _("Continue?"))

    def _reconcile(self, options: dict[str, Any], show: Any) -> ReconcileReport:
        total = Attachment.objects.ready().count()
        with show_progress(_("Comparing"), total=total, is_hidden=options["json"]) as on_progress:
            return services.reconcile_storage(
                grace=options["grace"],
                with_checksums=options["checksums"],
                delete_unknown=options["delete_unknown"],
                mark_missing=options["mark_missing"],
                on_finding=show,
                on_progress=on_progress,
            )

    def _print(self, report: ReconcileReport, shown: Shortlist[Finding]) -> None:
        rows = [
            [_("Rows compared"), report.rows],
            [_("Objects compared"), report.objects],
            *([capfirst(kind.label), report.findings[kind]] for kind in FindingKind),
            [_("Objects that wait to be deleted"), report.waiting],
            [_("Objects that no row knows, but too young to be judged"), report.young],
            [_("Rows without a SHA-256 to compare"), report.without_checksum],
            [_("Objects deleted"), report.deleted],
            [_("Rows marked as rejected"), report.marked],
        ]
        print_table(self.stdout, [_("What"), _("How many")], rows)
        if not shown.items:
            return
        columns = [_("Kind"), _("Key"), _("Size"), _("Expected"), _("Found")]
        print_table(self.stdout, columns, [self._describe(finding) for finding in shown.items])
        if shown.left_out:
            self.stdout.write(_("… and %s more; --limit shows more of them.") % shown.left_out)

    def _describe(self, finding: Finding) -> list[str]:
        return [
            finding.kind.value,
            finding.key,
            "" if finding.size_bytes is None else filesizeformat(finding.size_bytes),
            "" if finding.expected is None else str(finding.expected),
            "" if finding.found is None else str(finding.found),
        ]
