"""Errors as HTTP answers: one shape, and one place that maps each kind of error to its status."""

import logging
from typing import Any

from django.db import InterfaceError, OperationalError
from django.utils.translation import gettext_lazy as _
from drf_standardized_errors.handler import ExceptionHandler
from drf_standardized_errors.types import ExceptionHandlerContext
from rest_framework import exceptions
from rest_framework.response import Response

from attachments import errors
from attachments.storage import StoreError

logger = logging.getLogger(__name__)

STATUS_CODES: dict[type[errors.AttachmentError], int] = {
    errors.InvalidInput: 400,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.Unprocessable: 422,
    errors.Unavailable: 503,
}
RETRY_AFTER_SECONDS = {503: 5, errors.UploadInProgress.code: 2}
# How SQLSTATE begins where the database is away, full, or wants to be asked again. It is there and
# works when it cancels a statement that took too long, or does not wait for a lock.
OUTAGES = ("08", "40", "53", "57P", "58")


class DatabaseUnavailable(exceptions.APIException):
    """The database does not answer; nothing was done."""

    status_code = 503
    default_code = "database_unavailable"
    default_detail = _("The database is not available. Try again later.")


class AttachmentAPIError(exceptions.APIException):
    """An ``AttachmentError``, as an exception that REST framework knows."""

    def __init__(self, error: errors.AttachmentError) -> None:
        self.status_code = get_status_code(type(error))
        super().__init__(error.detail, error.code)


class AttachmentsExceptionHandler(ExceptionHandler):
    """Teaches drf-standardized-errors our errors, and the errors of a database that is down."""

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        if isinstance(exc, errors.InvalidInput):
            return exceptions.ValidationError({exc.attr or "": [exc.detail]}, exc.code)
        if isinstance(exc, errors.AttachmentError):
            return AttachmentAPIError(exc)
        if isinstance(exc, OperationalError | InterfaceError) and is_outage(exc):
            return DatabaseUnavailable()
        converted: Exception = super().convert_known_exceptions(exc)
        return converted

    def format_exception(self, exc: exceptions.APIException) -> dict[str, Any]:
        data: dict[str, Any] = super().format_exception(exc)
        if isinstance(self.exc, errors.AttachmentError):
            data["errors"][0]["attr"] = self.exc.attr
        return data

    def get_headers(self, exc: exceptions.APIException) -> dict[str, str]:
        headers: dict[str, str] = super().get_headers(exc)
        code = exc.get_codes()
        wait = RETRY_AFTER_SECONDS.get(exc.status_code) or (
            isinstance(code, str) and RETRY_AFTER_SECONDS.get(code)
        )
        if wait:
            headers.setdefault("Retry-After", str(wait))
        return headers

    def report_exception(self, exc: exceptions.APIException, response: Response) -> None:
        """Log an outage as one line: it is no defect of this code and needs no crash report."""
        is_told = isinstance(self.exc, errors.StorageUnavailable) and isinstance(
            self.exc.__cause__, StoreError | TimeoutError
        )
        if is_told:
            return
        if isinstance(self.exc, errors.RateLimitUnavailable):
            return  # it was logged when it began
        if isinstance(exc, DatabaseUnavailable | AttachmentAPIError):
            logger.warning("%s: %r", exc.get_codes(), self.exc.__cause__ or self.exc)
        else:
            super().report_exception(exc, response)


def exception_handler(exc: Exception, context: ExceptionHandlerContext) -> Response | None:
    """REST framework's ``EXCEPTION_HANDLER``: {"type", "errors": [{"code", "detail", "attr"}]}."""
    response: Response | None = AttachmentsExceptionHandler(exc, context).run()
    return response


def get_status_code(error: type[errors.AttachmentError]) -> int:
    """The HTTP status of this kind of error."""
    return next(status for kind, status in STATUS_CODES.items() if issubclass(error, kind))


def is_outage(error: Exception) -> bool:
    """Whether the database is away or full, and not the statement at fault."""
    state = getattr(error.__cause__, "sqlstate", None)  # none if no server said anything
    return state is None or state.startswith(OUTAGES)
