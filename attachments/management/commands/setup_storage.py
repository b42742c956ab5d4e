import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from attachments import storage
from attachments.errors import StorageUnavailable


class Command(BaseCommand):
    help = "Create the bucket if it is missing; bring policy, CORS and lifecycle to the settings."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON, for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            steps = storage.setup_bucket()
        except StorageUnavailable as error:
            raise CommandError(f"{error.detail} ({error.__cause__})") from error
        if options["json"]:
            self.stdout.write(json.dumps([asdict(step) for step in steps]))
            return
        for step in steps:
            style = self.style.WARNING if step.state == "impossible" else self.style.SUCCESS
            self.stdout.write(f"{step.part:<10} {style(f'{step.state:<10}')} {step.detail}")
