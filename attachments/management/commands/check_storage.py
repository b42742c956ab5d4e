import sys
from collections import Counter
from dataclasses import asdict
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attachments import doctor
from attachments.management.operating import OperatorCommand
from attachments.management.outages import SOMETHING_IS_WRONG
from attachments.management.terminal import print_table, show_progress

LEVELS = {
    "ok": gettext_lazy("ok"),
    "warning": gettext_lazy("warning"),
    "error": gettext_lazy("ERROR"),
}


class Command(OperatorCommand):
    help = _(
        "Do with the store what clients do, and what they must not be able to do, with objects of "
        "its own that it removes again; say what is wrong and how to mend it. Exit status: 0 if "
        "nothing fails, 1 if something does, 2 if the store did not answer."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        findings = self._check(is_json=options["json"])
        if options["json"]:
            self.print_json([asdict(finding) for finding in findings])
        else:
            self._print(findings)
        if any(finding.level == "error" for finding in findings):
            sys.exit(SOMETHING_IS_WRONG)

    def _check(self, *, is_json: bool) -> list[doctor.Finding]:
        total = len(doctor.list_probes())
        with show_progress(_("Checking"), total=total, is_hidden=is_json) as on_progress:
            return doctor.check_storage(on_finding=lambda finding: on_progress(1))

    def _print(self, findings: list[doctor.Finding]) -> None:
        rows = [
            [LEVELS[item.level], item.what, item.seen, item.meaning, item.mend] for item in findings
        ]
        columns = ["", _("What"), _("Seen"), _("What it means"), _("How to mend it")]
        print_table(self.stdout, columns, rows)
        levels = Counter(finding.level for finding in findings)
        counts = {"errors": levels["error"], "warnings": levels["warning"]}
        self.stdout.write(_("Errors: %(errors)s, warnings: %(warnings)s.") % counts)
