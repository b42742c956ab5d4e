import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _

from attachments import services
from attachments.management.terminal import (
    StoreCommand,
    parse_count,
    parse_duration,
    print_table,
    show_progress,
    stop_at_outages,
)


class Command(StoreCommand):
    help = _(
        "Remove attachments that hang on no message, uploads that were never confirmed, refused "
        "uploads, and what is beyond retention. Delete the objects that wait to be deleted. Safe "
        "to run at any time, also several at once: what one run leaves, the next one removes. "
        "Exit status: 0 if all is done; 1 if something stays that should go, because a row of "
        "the host protects it or because the store refuses; 2 if the store or the database did "
        "not answer."
    )

    def add_arguments(self, parser: CommandParser) -> None:
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
            help=_("show what would be removed, and remove nothing"),
        )
        parser.add_argument("--json", action="store_true", help=_("print JSON, for programs"))

    def handle(self, *args: Any, **options: Any) -> None:
        with stop_at_outages(_("The next run does the rest.")):
            report = self._preview(options) if options["dry_run"] else self._purge(options)
        if options["json"]:
            self.stdout.write(json.dumps({**asdict(report), "dry_run": options["dry_run"]}))
        else:
            self._print(report)
        if not options["dry_run"] and (report.protected or report.failing):
            sys.exit(1)

    def _preview(self, options: dict[str, Any]) -> services.PurgeReport:
        return services.preview_purge(older_than=options["older_than"])

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
            [_("Beyond retention"), report.expired],
            [_("On no message"), report.orphans],
            [_("Never confirmed"), report.stale],
            [_("Rejected or infected"), report.refused],
            [_("Late objects under pending/"), report.swept],
            [_("Files that waited for a worker"), report.processed],
            [_("Objects that still wait to be deleted"), report.waiting],
            [_("Of these, refused by the store"), report.failing],
            [_("Kept, because other records need them"), report.protected],
        ]
        print_table(self.stdout, [_("What"), _("How many")], rows)
        self.stdout.write(_("Size: %s") % filesizeformat(report.size_bytes))
