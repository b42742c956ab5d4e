"""How a command ends: what it may meet, its exit status, and the line that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import DatabaseError, Error, InterfaceError, OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils.translation import gettext as _

from attachments.errors import (
    OUTAGES,
    BackupDamaged,
    OperatorError,
    RowsDoNotFit,
    StorageRefused,
    WouldOverwrite,
)

SOMETHING_IS_WRONG = 1
"""The exit status of a command that found something wrong, or left something undone."""
COULD_NOT_RUN = 2
INTERRUPTED = 130
"""As a shell spells an end by SIGINT."""


@contextmanager
def end_at_outages(hint: str = "") -> Iterator[None]:
    """Raise ``CommandError``, with its status and one line, for whatever a command may meet.

    ``hint`` follows what the store or the like says. An error of the code itself passes.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise CommandError(_("Interrupted."), returncode=INTERRUPTED) from error
    except CommandError:
        raise
    except Exception as error:
        if isinstance(error, RowsDoNotFit) and _lacks_migrations():
            raise CommandError(_explain_unmigrated(error), returncode=COULD_NOT_RUN) from error
        if not (text := _explain(error, hint)):
            raise
        status = SOMETHING_IS_WRONG if isinstance(error, _FINDINGS) else COULD_NOT_RUN
        raise CommandError(" ".join(text.split()), returncode=status) from error


_FINDINGS = (BackupDamaged, RowsDoNotFit, WouldOverwrite)


def _explain(error: Exception, hint: str) -> str:
    """What it is, and what to do; "" for an error of the code itself."""
    match error:
        case StorageRefused():  # no "try again later" here
            return error.reason
        case _ if isinstance(error, OUTAGES):
            cause = f"({error.__cause__})" if error.__cause__ else ""
            return " ".join(filter(None, [str(error.detail), hint, cause]))
        case OperatorError():
            return error.detail
        case Error():
            return _explain_database(error)
        # Without settings no text is translated. A disk is full, or nobody reads the output.
        case ImproperlyConfigured() | OSError():
            return str(error)
    return ""


def _explain_database(error: Error) -> str:
    if _lacks_migrations():
        return _explain_unmigrated(error)
    if isinstance(error, OperationalError | InterfaceError):
        return _(
            "The database is not available: look whether it runs, and at DATABASES (DATABASE_URL). "
            "(%s)"
        ) % (error)
    return ""


def _explain_unmigrated(error: Exception) -> str:
    words = " ".join(str(error).split())
    return _("The database is not migrated: run manage.py migrate first. (%s)") % words


def _lacks_migrations() -> bool:
    try:
        executor = MigrationExecutor(connection)
        return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    except DatabaseError:
        return False
