"""What the commands for backups share: their arguments, verifying, and their exit status."""

import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _

from attachments import backups, storage
from attachments.management.operating import OperatorCommand
from attachments.management.outages import SOMETHING_IS_WRONG
from attachments.management.terminal import parse_count, print_table, show_progress

MAX_SHOWN = 100
EXIT_STATUSES = _(
    "Exit status: 0 if all is well; 1 if an object is missing or altered, or would have been "
    "overwritten; 2 if the database, the store or the backup did not answer."
)


class BackupCommand(OperatorCommand):
    """A command that works on a place of backups. Subclasses define ``run``."""

    location: str
    """The name of the positional argument."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "location",
            metavar=self.location,
            help=_("a directory, or storage:ALIAS for an alias of STORAGES"),
        )
        parser.add_argument(
            "--verify",
            action="store_true",
            help=_("only read the snapshot back, every byte, and compare it with its digests"),
        )
        parser.add_argument(
            "--snapshot", metavar="ID", help=_("the snapshot to read (default: the newest)")
        )
        parser.add_argument(
            "--jobs",
            type=parse_count,
            default=backups.JOBS,
            help=_("how many files to transfer at once (default: %(default)s)"),
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help=_("show and name what would be done, and do nothing"),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        action = self.verify if options["verify"] else self.run
        if action(storage.open_archive(options["location"]), options):
            sys.exit(SOMETHING_IS_WRONG)

    def run(self, archive: storage.Archive, options: dict[str, Any]) -> list[backups.Problem]:
        """Do the work, print the result, and give the problems."""
        raise NotImplementedError

    def verify(self, archive: storage.Archive, options: dict[str, Any]) -> list[backups.Problem]:
        with (
            backups.open_snapshot(archive, options["snapshot"]) as snapshot,
            show_progress(
                _("Verifying"),
                total=snapshot.facts.size_bytes,
                is_bytes=True,
                is_hidden=options["json"],
            ) as on_progress,
        ):
            report = backups.verify_snapshot(
                archive=archive,
                snapshot=snapshot,
                jobs=options["jobs"],
                on_progress=on_progress,
            )
        if options["json"]:
            self.print_report(report)
        else:
            rows = [
                [_("Rows"), report.rows],
                [_("Objects"), report.objects],
                [_("Missing or altered"), len(report.problems)],
                [_("Attachments without an object"), report.left_out],
            ]
            print_table(self.stdout, [_("What"), _("How many")], rows)
            self.print_snapshot(report.snapshot, report.size_bytes)
            self.print_problems(report.problems)
        return report.problems

    def print_report(self, report: Any, **more: Any) -> None:
        self.print_json({**asdict(report), **more})

    def print_named(self, columns: list[Any], rows: list[list[Any]], left_out: int) -> None:
        """What a dry run names, and that it was one."""
        if rows:
            print_table(self.stdout, columns, rows)
        if left_out:
            self.stdout.write(_("… and %s more.") % left_out)
        self.stdout.write(_("Dry run: nothing was changed."))

    def print_snapshot(self, snapshot_id: str, size_bytes: int) -> None:
        size = filesizeformat(size_bytes)
        text = _("Snapshot %(snapshot)s, %(size)s") % {"snapshot": snapshot_id, "size": size}
        self.stdout.write(text)

    def print_problems(self, problems: list[backups.Problem]) -> None:
        if not problems:
            return
        rows = [[problem.kind.label, problem.key] for problem in problems[:MAX_SHOWN]]
        print_table(self.stdout, [_("Problem"), _("Object")], rows)
        if (hidden := len(problems) - MAX_SHOWN) > 0:
            self.stdout.write(_("… and %s more; --json has them all.") % hidden)
