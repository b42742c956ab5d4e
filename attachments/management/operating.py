"""The commands of operators: what they print for programs, and how they end."""

import json
import os
import sys
from contextlib import suppress
from typing import Any, ClassVar

from django.core import checks
from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    SystemCheckError,
)
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import translation
from django.utils.translation import gettext as _

from attachments.management.outages import COULD_NOT_RUN, end_at_outages


class EndingCommand(BaseCommand):
    """A command that ends with an exit status and one line, whatever it meets, and no traceback."""

    outage_hint: ClassVar[Any] = ""
    """What follows when the store or the like does not answer."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            with end_at_outages(str(self.outage_hint)):
                return self._execute(*args, **options)
        except CommandError as error:
            self._drop_unwritten(error)
            raise

    def _execute(self, *args: Any, **options: Any) -> str | None:
        """Write all of the output, too, while an error is still told."""
        try:
            output = super().execute(*args, **options)
        except SystemExit:
            self.stdout.flush()
            raise
        self.stdout.flush()
        return output

    def check(self, *args: Any, **kwargs: Any) -> None:
        """Django's checks; if one fails, one line instead of a report."""
        try:
            super().check(*args, **kwargs)
        except SystemCheckError as error:
            kwargs.pop("display_num_errors", None)
            found = checks.run_checks(*args, **kwargs)
            problems = [item for item in found if item.is_serious() and not item.is_silenced()]
            texts = [" ".join(filter(None, [item.msg, item.hint])) for item in problems]
            text = _("The settings are wrong: %s") % " ".join(texts)
            raise CommandError(" ".join(text.split()), returncode=COULD_NOT_RUN) from error

    def _drop_unwritten(self, error: CommandError) -> None:
        """Drop what nobody reads, or Python fails at its end when it writes that again."""
        if not isinstance(error.__cause__, OSError):
            return
        try:
            self.stdout.flush()
        except OSError:
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class OperatorCommand(EndingCommand):
    """One that speaks JSON too: what it reports, or ``{"error": ...}`` if it ends without."""

    writes_lines: ClassVar[bool] = False
    """Its JSON is a document in each line; an error is one more."""
    _has_reported = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help=_("print JSON, for programs"))

    def execute(self, *args: Any, **options: Any) -> str | None:
        if not options["json"]:
            return super().execute(*args, **options)
        with translation.override("en"):  # for programs it is the same in every language
            try:
                return super().execute(*args, **options)
            except CommandError as error:
                if self.writes_lines or not self._has_reported:
                    with suppress(OSError):
                        self.print_json({"error": str(error)})
                raise

    def print_json(self, document: object) -> None:
        """A document of plain fields, in a line, at once."""
        self._has_reported = True
        self.stdout.write(json.dumps(document, cls=DjangoJSONEncoder))
        self.stdout.flush()

    def print_report(self, report: object, **more: Any) -> None:
        """Print a report of plain fields as JSON; its ``outage`` as a text, or null."""
        fields = {**vars(report), **more}
        if "outage" in fields:
            fields["outage"] = str(fields["outage"]) if fields["outage"] else None
        self.print_json(fields)
