"""What commands share: arguments, questions, progress bars and tables."""

import argparse
import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from django.core.management.base import CommandError, OutputWrapper
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from attachments.event_log import EVENT_LOGGER
from attachments.management.outages import COULD_NOT_RUN

Item = TypeVar("Item")

MAX_DURATION = timedelta(days=100 * 365)  # a date that lies further back may not exist
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(text: str) -> timedelta:
    """Read ``7d``, ``12h``, ``30m``, ``90s`` or ``2w``; a number alone is days. For argparse."""
    match = re.fullmatch(r"(\d{1,6})([smhdw]?)", text.strip())
    if not match:
        raise argparse.ArgumentTypeError(_("not a duration such as 7d, 12h or 30m: %s") % text)
    duration = timedelta(**{_UNITS[match[2] or "d"]: int(match[1])})
    if duration > MAX_DURATION:
        raise argparse.ArgumentTypeError(_("longer than a hundred years: %s") % text)
    return duration


def parse_moment(text: str) -> datetime:
    """Read ``2026-01-31`` or ``2026-01-31T12:00``, without offset in local time. For argparse."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        error = _("not a date or a moment such as 2026-01-31: %s") % text
        raise argparse.ArgumentTypeError(error) from None
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)


def parse_count(text: str) -> int:
    """Read a whole number above zero that a database holds too. For argparse."""
    if not re.fullmatch(r"\d{1,9}", text) or int(text) == 0:
        raise argparse.ArgumentTypeError(_("not a whole number from 1 to 999999999: %s") % text)
    return int(text)


def ask(question: str) -> None:
    """Ask on standard error; end the command with ``COULD_NOT_RUN`` on any answer but yes."""
    with redirect_stdout(sys.stderr), suppress(EOFError):  # a program reads standard output
        if input(f"{question} [yes/no] ").strip().lower() == "yes":
            return
    raise CommandError(_("Nothing was changed."), returncode=COULD_NOT_RUN)


def check_can_ask(option: str) -> None:
    """End the command with ``COULD_NOT_RUN`` where nobody answers what this option asks."""
    if sys.stdin.isatty():
        return
    text = _("%(option)s asks first. Where there is no terminal, it needs --yes.")
    raise CommandError(text % {"option": option}, returncode=COULD_NOT_RUN)


@contextmanager
def show_progress(
    description: str, *, total: int | None = None, is_bytes: bool = False, is_hidden: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show a progress bar if standard error is a terminal; give a function that moves it."""
    console = Console(stderr=True)
    amount: list[ProgressColumn] = (
        [DownloadColumn(binary_units=True), TransferSpeedColumn()]
        if is_bytes
        else [MofNCompleteColumn()]
    )
    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), *amount]
    is_disabled = is_hidden or not sys.stderr.isatty()
    with (
        nullcontext() if is_disabled else _without_events(),
        Progress(*columns, TimeRemainingColumn(), console=console, disable=is_disabled) as progress,
    ):
        task = progress.add_task(description, total=total)
        yield lambda step: progress.advance(task, step)


@contextmanager
def _without_events() -> Iterator[None]:
    """Keep lines of the log of events out of the progress bar. Warnings break it."""
    logger = logging.getLogger(EVENT_LOGGER)
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


class Shortlist(Generic[Item]):
    """The first few of many things, and how many more there were."""

    def __init__(self, limit: int) -> None:
        self.items: list[Item] = []
        self.count = 0
        self._limit = limit

    def add(self, item: Item) -> None:
        self.count += 1
        if len(self.items) < self._limit:
            self.items.append(item)

    @property
    def left_out(self) -> int:
        return self.count - len(self.items)


def print_table(
    stdout: OutputWrapper, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Print a table for people, with numbers to the right. In a pipe it cuts no text."""
    table = Table(*columns)
    for index, column in enumerate(table.columns):
        if rows and all(isinstance(row[index], int) for row in rows):
            column.justify = "right"
        column.overflow = "fold"
    for row in rows:
        table.add_row(*map(_format_cell, row))
    width = None if stdout.isatty() else 200
    console = _Output(file=stdout, width=width, no_color=not stdout.isatty(), highlight=False)  # type: ignore[arg-type]
    console.print(table)


class _Output(Console):
    """By itself it ends the command with 1, and says nothing, when nobody reads its output."""

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - what the caller is handling


def _format_cell(cell: Any) -> str:
    return number_format(cell, force_grouping=True) if isinstance(cell, int) else str(cell)
