import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser
from django.template.defaultfilters import filesizeformat
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attachments import services
from attachments.management.operating import OperatorCommand
from attachments.management.outages import SOMETHING_IS_WRONG
from attachments.management.terminal import (
    Shortlist,
    parse_count,
    parse_duration,
    print_table,
    show_progress,
)

KINDS = {
    "expired": gettext_lazy("Beyond retention"),
    "orphans": gettext_lazy("On no message"),
    "stale": gettext_lazy("Never confirmed"),
    "refused": gettext_lazy("Rejected or infected"),
    "swept": gettext_lazy("Late objects under pending/"),
    "waiting": gettext_lazy("Objects that still wait to be deleted"),
}


class Command(OperatorCommand):
    help = _(
        "Remove attachments that hang on no message, uploads that were never confirmed, refused "
        "uploads, and what is beyond retention. Delete the objects that wait to be deleted. Safe "
        "to run at any time, also several at once: what one run leaves, the next one removes. "
        "Exit status: 0 if all is done; 1 if something stays that should go, because a row of "
        "the host protects it or because the store refuses; 2 if the store or the database did "
        "not answer."
    )

    outage_hint = gettext_lazy("The next run does the rest.")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--older-than",
            type=parse_duration,
            help=_("how long orphans are kept, such as 7d or 12h (default: ORPHAN_DAYS)"),
        )
        parser.add_argument(
            "--batch-size",
            type=parse_count,
            default=services.BATCH_SIZE,
            help=_("rows in one transaction, at most 10000 (default: %(default)s)"),
        )
        parser.add_argument("--limit", type=parse_count, help=_("remove at most this many rows"))
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help=_("show and name what would be removed, and remove nothing"),
        )
        parser.add_argument(
            "--show",
            type=parse_count,
            default=100,
            metavar="N",
            help=_("how many a dry run names, in JSON too (default: %(default)s)"),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"]:
            self._preview(options)
            return
        report = self._purge(options)
        if options["json"]:
            self.print_report(report, dry_run=False)
        else:
            self._print(report)
        if report.protected or report.failing:
            sys.exit(SOMETHING_IS_WRONG)

    def _preview(self, options: dict[str, Any]) -> None:
        named = Shortlist[services.Candidate](options["show"])
        report = services.preview_purge(
            older_than=options["older_than"],
            limit=options["limit"],
            max_named=options["show"],
            on_named=named.add,
        )
        unnamed = sum(getattr(report, kind) for kind in KINDS) - len(named.items)
        if options["json"]:
            found = [asdict(item) for item in named.items]
            self.print_report(report, dry_run=True, named=found, unnamed=unnamed)
            return
        self._print(report)
        self._print_named(named.items, unnamed)
        self.stdout.write(_("Dry run: nothing was changed."))

    def _print_named(self, items: list[services.Candidate], unnamed: int) -> None:
        if not items:
            return
        rows = [
            [
                KINDS[item.kind],
                item.name,
                item.filename,
                "" if item.size_bytes is None else filesizeformat(item.size_bytes),
                "" if item.created_at is None else f"{localtime(item.created_at):%Y-%m-%d %H:%M}",
            ]
            for item in items
        ]
        columns = [_("Kind"), _("Attachment or key"), _("Filename"), _("Size"), _("Created")]
        print_table(self.stdout, columns, rows)
        if unnamed:
            self.stdout.write(_("… and %s more; --show names more of them.") % unnamed)

    def _purge(self, options: dict[str, Any]) -> services.PurgeReport:
        limit = options["limit"]
        total = services.count_purgeable(older_than=options["older_than"]).row_count
        total = total if limit is None else min(limit, total)
        with show_progress(_("Purging"), total=total, is_hidden=options["json"]) as on_progress:
            report = services.purge_attachments(
                older_than=options["older_than"],
                batch_size=options["batch_size"],
                limit=limit,
                on_progress=on_progress,
            )
        services.refresh_usage()
        return report

    def _print(self, report: services.PurgeReport) -> None:
        rows = [
            *([KINDS[kind], getattr(report, kind)] for kind in KINDS if kind != "waiting"),
            [_("Files that waited for a worker"), report.processed],
            [KINDS["waiting"], report.waiting],
            [_("Of these, refused by the store"), report.failing],
            [_("Kept, because other records need them"), report.protected],
        ]
        print_table(self.stdout, [_("What"), _("How many")], rows)
        self.stdout.write(_("Size: %s") % filesizeformat(report.size_bytes))
