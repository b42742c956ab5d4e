import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attachments import storage
from attachments.errors import StorageUnavailable

PARTS = {
    "bucket": gettext_lazy("bucket"),
    "policy": gettext_lazy("policy"),
    "CORS": "CORS",
    "lifecycle": gettext_lazy("lifecycle"),
}
STATES = {
    "unchanged": gettext_lazy("unchanged"),
    "created": gettext_lazy("created"),
    "changed": gettext_lazy("changed"),
    "impossible": gettext_lazy("impossible"),
}


class Command(BaseCommand):
    help = _(
        "Create the bucket if it is missing; set policy, CORS and lifecycle as the settings say."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help=_("print JSON, for programs"))

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            # For programs the output is the same in every language.
            with translation.override("en" if options["json"] else translation.get_language()):
                steps = storage.setup_bucket()
        except StorageUnavailable as error:
            raise CommandError(f"{error.detail} ({error.__cause__})") from error
        if options["json"]:
            self.stdout.write(json.dumps([asdict(step) for step in steps]))
        else:
            self._print(steps)

    def _print(self, steps: list[storage.SetupStep]) -> None:
        part_width = max(len(str(part)) for part in PARTS.values()) + 1
        state_width = max(len(str(state)) for state in STATES.values())
        for step in steps:
            style = self.style.WARNING if step.state == "impossible" else self.style.SUCCESS
            part = f"{PARTS[step.part]!s:<{part_width}}"
            state = style(f"{STATES[step.state]!s:<{state_width}}")
            self.stdout.write(f"{part} {state} {step.detail}")
