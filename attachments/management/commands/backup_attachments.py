from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from attachments import backups, storage
from attachments.management.backups import EXIT_STATUSES, BackupCommand
from attachments.management.terminal import parse_count, print_table, show_progress


class Command(BackupCommand):
    help = " ".join(
        [
            _(
                "Back up the attachments, the rows that they depend on and their objects to DEST. "
                "Copies only what is not there yet, so that after a backup that was stopped, the "
                "next one goes on from there. The backup holds password hashes: keep it as secret "
                "as the database."
            ),
            EXIT_STATUSES,
        ]
    )
    location = "DEST"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--keep",
            type=parse_count,
            metavar="N",
            help=_("keep the newest N snapshots; remove the others, and the objects only in those"),
        )

    def run(self, archive: storage.Archive, options: dict[str, Any]) -> list[backups.Problem]:
        with (
            backups.dump_rows() as dump,
            show_progress(
                _("Backing up"), total=dump.size_bytes, is_bytes=True, is_hidden=options["json"]
            ) as on_progress,
        ):
            report = backups.backup_attachments(
                archive=archive,
                dump=dump,
                jobs=options["jobs"],
                keep=options["keep"],
                on_progress=on_progress,
            )
        if options["json"]:
            self.print_json(report)
        else:
            self._print(report)
        return report.problems

    def _print(self, report: backups.BackupReport) -> None:
        rows = [
            [_("Rows"), report.rows],
            [_("Objects"), report.objects],
            [_("… of them copied now"), report.copied],
            [_("Deleted while the backup ran"), report.gone],
            [_("Missing or altered in the storage"), len(report.problems)],
            [_("Old snapshots removed"), report.pruned_snapshots],
            [_("… and their objects"), report.pruned_objects],
        ]
        print_table(self.stdout, [_("What"), _("How many")], rows)
        self.print_snapshot(report.snapshot, report.size_bytes)
        self.print_problems(report.problems)
