import sys
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections
from django.template.defaultfilters import filesizeformat
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attachments import adoption, storage
from attachments.adoption import AdoptionReport, Reason, Targets
from attachments.conf import conf
from attachments.management.operating import OperatorCommand
from attachments.management.outages import COULD_NOT_RUN, SOMETHING_IS_WRONG
from attachments.management.terminal import (
    ask,
    check_can_ask,
    parse_count,
    print_table,
    show_progress,
)
from attachments.policy import get_message_model


class Command(OperatorCommand):
    help = _(
        "Take over the attachments of the FastAPI back end of the guide: copy each object that "
        "its table names, verify the copy, and write the row. The table and its objects stay as "
        "they are. Safe to run again: what was taken over is left alone, and what was stopped goes "
        "on. Exit status: 0 if all is taken over; 1 if rows were left, or if there are objects "
        "that no row names; 2 if the store, the database or the table did not answer."
    )

    outage_hint = gettext_lazy("The next run goes on from here.")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--table",
            default="attachments_fastapi",
            help=_("the table to take over, also as schema.table (default: %(default)s)"),
        )
        parser.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            choices=list(connections),
            help=_("the alias in DATABASES where the table is (default: %(default)s)"),
        )
        parser.add_argument(
            "--users",
            metavar="FILE",
            help=_("CSV of old and new ids of users (default: they have the same ids)"),
        )
        parser.add_argument(
            "--messages",
            metavar="FILE",
            help=_("CSV of old and new ids of messages (default: they have the same ids)"),
        )
        parser.add_argument(
            "--time-zone",
            default="UTC",
            help=_("of moments in the table that have none (default: %(default)s)"),
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help=_("look at every row and object, tell what would be done, and do nothing"),
        )
        parser.add_argument(
            "--delete-originals",
            action="store_true",
            help=_(
                "take nothing over: delete the old objects whose copies are served; asks first, "
                "see --yes"
            ),
        )
        parser.add_argument(
            "--yes",
            "--no-input",
            "--noinput",
            action="store_true",
            dest="may_delete",
            help=_("delete without asking; --delete-originals needs it without a terminal"),
        )
        parser.add_argument(
            "--batch-size",
            type=parse_count,
            default=adoption.BATCH_SIZE,
            help=_("rows at once, at most 1000 (default: %(default)s)"),
        )
        parser.add_argument(
            "--jobs",
            type=parse_count,
            default=adoption.JOBS,
            help=_("how many objects to copy at once (default: %(default)s)"),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self._check(options)
        report = self._adopt(options)
        if options["json"]:
            self.print_report(report, dry_run=options["dry_run"])
        else:
            self._print(report, is_dry_run=options["dry_run"])
        if not report.is_clean:
            sys.exit(SOMETHING_IS_WRONG)

    def _check(self, options: dict[str, Any]) -> None:
        """End before any work if there is no bucket, or if nobody can be asked."""
        storage.ping_bucket()
        if options["delete_originals"] and not (options["dry_run"] or options["may_delete"]):
            check_can_ask("--delete-originals")
            ask(_("Delete the old objects whose copies are served? Old links to them will break."))

    def _adopt(self, options: dict[str, Any]) -> AdoptionReport:
        source = adoption.Source(
            table=options["table"],
            using=options["database"],
            time_zone=_find_time_zone(options["time_zone"]),
        )
        users = Targets(model=get_user_model(), mapping=_read_mapping(options["users"]))
        messages = Targets(model=get_message_model(), mapping=_read_mapping(options["messages"]))
        text = _("Looking") if options["dry_run"] else _("Taking over")
        hidden = options["json"]
        with show_progress(text, total=source.count(), is_hidden=hidden) as on_progress:
            return adoption.adopt_attachments(
                source=source,
                users=users,
                messages=messages,
                is_dry_run=options["dry_run"],
                delete_originals=options["delete_originals"],
                batch_size=options["batch_size"],
                jobs=options["jobs"],
                on_progress=on_progress,
            )

    def _print(self, report: AdoptionReport, *, is_dry_run: bool) -> None:
        rows = [
            [_("Rows in the table"), report.rows],
            [_("Would be taken over") if is_dry_run else _("Taken over"), report.adopted],
            [_("Taken over before"), report.known],
            *(
                [_("Left: %s") % reason.label, report.left[reason]]
                for reason in Reason
                if reason in report.left
            ),
            [_("Objects that no row names"), report.strays],
            [_("Old objects whose copies are served"), report.originals],
            [_("Of these, deleted"), report.deleted],
        ]
        print_table(self.stdout, [_("What"), _("How many")], rows)
        self._print_examples(report)
        self.stdout.write(_("Size: %s") % filesizeformat(report.adopted_bytes))
        self._print_advice(report)
        if is_dry_run:
            self.stdout.write(_("Dry run: nothing was changed."))

    def _print_examples(self, report: AdoptionReport) -> None:
        examples = [
            [capfirst(Reason(reason).label), row_id]
            for reason, row_ids in report.examples.items()
            for row_id in row_ids
        ]
        examples += [[_("Objects that no row names"), key] for key in report.first_strays]
        if examples:
            print_table(self.stdout, [_("Why"), _("The first of these")], examples)

    def _print_advice(self, report: AdoptionReport) -> None:
        if report.unlinked:
            text = _(
                "%(count)s of the files hang on no message: purge_orphans removes them "
                "%(days)s days after they were taken over."
            )
            self.stdout.write(text % {"count": report.unlinked, "days": conf.orphan_age.days})
        if report.adopted and conf.scanner:
            self.stdout.write(_("They are served once a worker has scanned them."))


def _find_time_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        text = _("There is no time zone %s.") % name
        raise CommandError(text, returncode=COULD_NOT_RUN) from error


def _read_mapping(path: str | None) -> Any:
    return None if path is None else adoption.read_mapping(path)
