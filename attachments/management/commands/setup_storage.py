import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attachments import storage
from attachments.management.operating import OperatorCommand
from attachments.management.outages import SOMETHING_IS_WRONG

PARTS = {
    "bucket": gettext_lazy("bucket"),
    "policy": gettext_lazy("policy"),
    "CORS": "CORS",
    "lifecycle": gettext_lazy("lifecycle"),
    "versions": gettext_lazy("versions"),
}
STATES = {
    "unchanged": gettext_lazy("unchanged"),
    "created": gettext_lazy("created"),
    "changed": gettext_lazy("changed"),
    "impossible": gettext_lazy("impossible"),
    "refused": gettext_lazy("refused"),
    "failed": gettext_lazy("failed"),
    "missing": gettext_lazy("missing"),
}
LEVELS = {
    "ok": "",
    "warning": gettext_lazy("WARNING: "),
    "error": gettext_lazy("ERROR: "),
}
STORES = {
    "minio": gettext_lazy("MinIO: a policy for the user of each key (mc admin policy create)"),
    "aws": gettext_lazy("AWS: an IAM policy for the user of each key, or for the servers' role"),
    "seaweedfs": gettext_lazy("SeaweedFS: the file for -s3.config, where you put your keys"),
    "versitygw": gettext_lazy("versitygw: the policy of the bucket, where you put access keys"),
}
ROLES = {
    "main": gettext_lazy("S3_ACCESS_KEY, for what the app does to objects:"),
    "signer": gettext_lazy("S3_SIGNER_ACCESS_KEY, signs upload forms:"),
    "reader": gettext_lazy("S3_READER_ACCESS_KEY, signs private links:"),
    "admin": gettext_lazy("S3_ADMIN_ACCESS_KEY, for setup_storage alone:"),
}


class Command(OperatorCommand):
    help = _(
        "Create the bucket if it is missing; set policy, CORS and lifecycle as the settings say. "
        "Exit status: 0 if all of that is in force; 1 if something is not; 2 if the store did not "
        "answer, or there is no bucket and none can be made."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help=_("show what would be changed, and change nothing"),
        )
        parser.add_argument(
            "--print-policies",
            action="store_true",
            help=_(
                "print what each key may do, for MinIO, AWS, SeaweedFS and versitygw, and change "
                "nothing"
            ),
        )
        parser.add_argument(
            "--print-identities",
            action="store_true",
            help=_("print the file for SeaweedFS's -s3.config, with the keys that are set"),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["print_policies"]:
            self._print_policies(is_json=options["json"])
        elif options["print_identities"]:
            self.stdout.write(json.dumps(storage.build_identities(), indent=2))
        else:
            self._set_up(is_json=options["json"], is_dry=options["dry_run"])

    def _print_policies(self, *, is_json: bool) -> None:
        stores = storage.build_policies(storage.get_bucket())
        if is_json:
            self.print_json(stores)
            return
        for store, document in stores.items():
            self.stdout.write(self.style.MIGRATE_HEADING(f"{STORES[store]}\n"))
            parts = document if document.keys() == ROLES.keys() else {"": document}
            for role, part in parts.items():
                self.stdout.write(f"{ROLES.get(role, '')}\n{json.dumps(part, indent=2)}\n\n")

    def _set_up(self, *, is_json: bool, is_dry: bool) -> None:
        steps = storage.preview_setup() if is_dry else storage.setup_bucket()
        if is_json:
            self.print_json([asdict(step) for step in steps])
        else:
            self._print(steps)
        if is_dry:
            (self.stderr if is_json else self.stdout).write(_("Dry run: nothing was changed."))
        if any(step.level == "error" for step in steps):
            raise SystemExit(SOMETHING_IS_WRONG)  # the lines above say what is not in force

    def _print(self, steps: list[storage.SetupStep]) -> None:
        part_width = max(len(str(part)) for part in PARTS.values()) + 1
        state_width = max(len(str(state)) for state in STATES.values())
        for step in steps:
            style = getattr(self.style, {"ok": "SUCCESS"}.get(step.level, step.level.upper()))
            part = f"{PARTS[step.part]!s:<{part_width}}"
            state = style(f"{STATES[step.state]!s:<{state_width}}")
            self.stdout.write(f"{part} {state} {LEVELS[step.level]}{step.detail}")
