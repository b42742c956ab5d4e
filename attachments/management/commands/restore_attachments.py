from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.translation import gettext as _

from attachments import backups, storage
from attachments.backups import Existing
from attachments.management.backups import EXIT_STATUSES, MAX_SHOWN, BackupCommand
from attachments.management.outages import COULD_NOT_RUN
from attachments.management.terminal import (
    Shortlist,
    ask,
    check_can_ask,
    print_table,
    show_progress,
)


class Command(BackupCommand):
    help = " ".join(
        [
            _(
                "Restore attachments, the rows that they depend on and their objects from SRC, "
                "into a migrated database. What is there already and the same is left alone, so "
                "that a restore that was stopped can be run again. If something there is "
                "different, the command shows it and refuses."
            ),
            EXIT_STATUSES,
        ]
    )
    location = "SRC"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--objects-only",
            action="store_true",
            help=_("leave the rows as they are, and restore the objects that they name"),
        )
        existing = parser.add_mutually_exclusive_group()
        existing.add_argument(
            "--overwrite",
            dest="existing",
            action="store_const",
            const=Existing.OVERWRITE,
            default=Existing.REFUSE,
            help=_("replace rows and objects that are different; asks first, see --yes"),
        )
        existing.add_argument(
            "--keep-existing",
            dest="existing",
            action="store_const",
            const=Existing.KEEP,
            help=_("keep rows and objects that are different, and restore only what is missing"),
        )
        parser.add_argument(
            "--yes",
            "--no-input",
            "--noinput",
            action="store_true",
            dest="may_overwrite",
            help=_("overwrite without asking; --overwrite needs it where there is no terminal"),
        )

    def run(self, archive: storage.Archive, options: dict[str, Any]) -> list[backups.Problem]:
        self._check(options)
        named = Shortlist[backups.Found](MAX_SHOWN)
        with backups.open_snapshot(archive, options["snapshot"]) as snapshot:
            with show_progress(
                _("Comparing"), total=snapshot.facts.objects, is_hidden=options["json"]
            ) as on_progress:
                preview = backups.preview_restore(
                    snapshot=snapshot,
                    objects_only=options["objects_only"],
                    jobs=options["jobs"],
                    on_named=named.add,
                    on_progress=on_progress,
                )
            if options["dry_run"]:
                self._tell_preview(preview, named, options)
                return []
            if preview.has_different:
                self._confirm(preview, options)
            with show_progress(
                _("Restoring"),
                total=snapshot.facts.size_bytes,
                is_bytes=True,
                is_hidden=options["json"],
            ) as on_progress:
                report = backups.restore_attachments(
                    archive=archive,
                    snapshot=snapshot,
                    existing=options["existing"],
                    objects_only=options["objects_only"],
                    jobs=options["jobs"],
                    on_progress=on_progress,
                )
        self._tell(report, options)
        return report.problems

    def _check(self, options: dict[str, Any]) -> None:
        """End before any work if nobody can be asked, or if a dry run has nothing to look at."""
        if options["dry_run"]:
            if not storage.has_bucket():
                text = _(
                    "The bucket is missing, and a dry run makes nothing. Look at S3_BUCKET. If the "
                    "name is right, setup_storage makes the bucket."
                )
                raise CommandError(text, returncode=COULD_NOT_RUN)
        elif options["existing"] is Existing.OVERWRITE and not options["may_overwrite"]:
            check_can_ask("--overwrite")

    def _confirm(self, preview: backups.RestoreReport, options: dict[str, Any]) -> None:
        """Show what is different. Raise ``WouldOverwrite`` if it may not be overwritten."""
        existing = options["existing"]
        if existing is Existing.REFUSE:
            self._tell(preview, options)
            if not options["json"]:
                hint = _(
                    "--keep-existing restores only what is new; "
                    "--overwrite also replaces what is different."
                )
                self.stdout.write(hint)
            preview.refuse_different()
        if existing is Existing.OVERWRITE and not options["may_overwrite"]:
            if not options["json"]:
                self._tell(preview, options)
            ask(_("Overwrite what is different?"))

    def _tell_preview(
        self,
        preview: backups.RestoreReport,
        named: Shortlist[backups.Found],
        options: dict[str, Any],
    ) -> None:
        if options["json"]:
            found = [asdict(item) for item in named.items]
            self._tell(preview, options, named=found, unnamed=named.left_out)
            return
        self._tell(preview, options)
        rows = [
            [_("new") if item.is_new else _("different"), item.what, item.name]
            for item in named.items
        ]
        self.print_named([_("What"), _("Kind"), _("Name")], rows, named.left_out)

    def _tell(self, report: backups.RestoreReport, options: dict[str, Any], **more: Any) -> None:
        if options["json"]:
            existing = options["existing"].value
            self.print_report(report, dry_run=options["dry_run"], existing=existing, **more)
            return
        different = {
            Existing.REFUSE: _("In the way"),
            Existing.KEEP: _("Kept as it is"),
            Existing.OVERWRITE: _("Overwritten"),
        }[options["existing"]]
        columns = [_("What"), _("New"), _("The same already"), different]
        rows = [
            [label, counts.created, counts.unchanged, counts.different]
            for label, counts in report.rows.items()
        ]
        objects = report.objects
        rows.append([_("objects"), objects.created, objects.unchanged, objects.different])
        print_table(self.stdout, columns, rows)
        if report.left_out:
            self.stdout.write(self._explain_left_out(options) % report.left_out)
        self.print_problems(report.problems)

    def _explain_left_out(self, options: dict[str, Any]) -> str:
        if options["objects_only"]:
            return _("%s objects were left out: no row here names them any more.")
        return _("%s attachments were left out: the backup does not have their objects.")
