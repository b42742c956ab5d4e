from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser
from django.template.defaultfilters import filesizeformat
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from attachments import backups, storage
from attachments.management.backups import EXIT_STATUSES, MAX_SHOWN, BackupCommand
from attachments.management.terminal import Shortlist, parse_count, print_table, show_progress


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
        parser.add_argument(
            "--list", action="store_true", help=_("only list the snapshots that are there")
        )

    def run(self, archive: storage.Archive, options: dict[str, Any]) -> list[backups.Problem]:
        if options["list"]:
            self._list(archive, is_json=options["json"])
            return []
        if options["dry_run"]:
            self._preview(archive, options)
            return []
        with _dump_rows(_("Backing up"), options) as (dump, on_progress):
            report = backups.backup_attachments(
                archive=archive,
                dump=dump,
                jobs=options["jobs"],
                keep=options["keep"],
                on_progress=on_progress,
            )
        if options["json"]:
            self.print_report(report, dry_run=False)
        else:
            self._print(report)
        return report.problems

    def _list(self, archive: storage.Archive, *, is_json: bool) -> None:
        found = list(backups.list_backups(archive))
        if is_json:
            items = [{**asdict(item), "is_complete": item.is_complete} for item in found]
            self.print_json({"snapshots": items})
            return
        rows = [
            [
                item.id,
                f"{localtime(item.created_at):%Y-%m-%d %H:%M}" if item.created_at else "",
                "" if item.rows is None else item.rows,
                "" if item.objects is None else item.objects,
                "" if item.size_bytes is None else filesizeformat(item.size_bytes),
                item.state.label,
            ]
            for item in found
        ]
        columns = [_("Snapshot"), _("Begun"), _("Rows"), _("Objects"), _("Size"), _("State")]
        print_table(self.stdout, columns, rows)

    def _preview(self, archive: storage.Archive, options: dict[str, Any]) -> None:
        named = Shortlist[backups.ManifestEntry](MAX_SHOWN)
        with _dump_rows(_("Comparing"), options) as (dump, on_progress):
            preview = backups.preview_backup(
                archive=archive,
                dump=dump,
                jobs=options["jobs"],
                keep=options["keep"],
                on_named=named.add,
                on_progress=on_progress,
            )
        if options["json"]:
            keys = [entry.key for entry in named.items]
            self.print_report(preview, dry_run=True, named=keys, unnamed=named.left_out)
            return
        pruned = preview.pruned_snapshots
        rows = [
            [_("Rows"), preview.rows],
            [_("Objects"), preview.objects],
            [_("… of them to be copied"), preview.copied],
            [_("Old snapshots to be removed"), len(pruned)],
            [_("… and their objects"), preview.pruned_objects],
        ]
        print_table(self.stdout, [_("What"), _("How many")], rows)
        named_rows = [[_("to be removed"), snapshot] for snapshot in pruned]
        named_rows += [[_("to be copied"), entry.key] for entry in named.items]
        self.print_named([_("What"), _("Snapshot or object")], named_rows, named.left_out)

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


@contextmanager
def _dump_rows(
    text: str, options: dict[str, Any]
) -> Iterator[tuple[backups.RowDump, Callable[[int], None]]]:
    """The rows of one moment, and what moves the progress bar of their objects."""
    with (
        backups.dump_rows() as dump,
        show_progress(
            text, total=dump.size_bytes, is_bytes=True, is_hidden=options["json"]
        ) as on_progress,
    ):
        yield dump, on_progress
