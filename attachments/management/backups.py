"""What the commands for backups share: their arguments, verifying, and their exit status."""

import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _

from attachments import backups, storage
from attachments.errors import (
    BackupDamaged,
    BackupError,
    RowsDoNotFit,
    WouldOverwrite,
)
from attachments.management.terminal import (
    COULD_NOT_RUN,
    StoreCommand,
    parse_count,
    print_table,
    show_progress,
    stop_at_outages,
)

SOMETHING_IS_WRONG = 1
MAX_SHOWN = 100
EXIT_STATUSES = _(
    "Exit status: 0 if all is well; 1 if an object is missing or altered, or would have been "
    "overwritten; 2 if the database, the store or the backup did not answer."
)


class BackupCommand(StoreCommand):
    """A command that works on a place of backups. Subclasses define ``run``."""

    location: str
    """The name of the positional argument."""

    def add_arguments(self, parser: CommandParser) -> None:
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
        parser.add_argument("--json", action="store_true", help=_("print JSON, for programs"))

    def handle(self, *args: Any, **options: Any) -> None:
        action = self.verify if options["verify"] else self.run
        try:
            with stop_at_outages():
                problems = action(storage.open_archive(options["location"]), options)
        except (BackupDamaged, RowsDoNotFit, WouldOverwrite) as error:
            raise CommandError(error.detail, returncode=SOMETHING_IS_WRONG) from error
        except BackupError as error:
            raise CommandError(error.detail, returncode=COULD_NOT_RUN) from error
        except OSError as error:  # of the temporary files that large objects pass through
            raise CommandError(str(error), returncode=COULD_NOT_RUN) from error
        if problems:
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
            self.print_json(report)
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

    def print_json(self, report: Any, **more: Any) -> None:
        self.stdout.write(json.dumps({**asdict(report), **more}))

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
