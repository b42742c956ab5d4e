"""Presign and confirm as events: what came of them, however they end."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from time import monotonic
from typing import Any, TypeVar
from uuid import UUID

from attachments import events
from attachments.errors import AttachmentError
from attachments.models import Attachment
from attachments.policy import User

Ticket = TypeVar("Ticket", bound=Any)


def tell_presigned(presign: Callable[..., list[Ticket]]) -> Callable[..., list[Ticket]]:
    """Tell of each ticket, or why there is none."""

    @wraps(presign)
    def told(
        requests: Mapping[str, Mapping[str, Any]], *, user: User, **options: Any
    ) -> list[Ticket]:
        try:
            tickets = presign(requests, user=user, **options)
        except AttachmentError as error:
            events.presign_refused.tell(user_id=user.pk, code=error.code)
            raise
        for ticket, request in zip(tickets, requests.values(), strict=True):
            events.presigned.tell(
                attachment_id=ticket.attachment_id,
                user_id=user.pk,
                content_type=request["content_type"],
                size_bytes=request.get("size_bytes"),
                filename=request["filename"],
                is_replayed=ticket.is_replayed,
            )
        return tickets

    return told


@contextmanager
def tell_confirmed(*, attachment_id: UUID, user: User) -> Iterator[Callable[[Attachment], None]]:
    """Give a function that takes what was confirmed; without that, tell the error."""
    facts: dict[str, Any] = {"result": "error"}

    def take(attachment: Attachment) -> None:
        facts["result"] = str(attachment.status)
        facts["content_type"] = attachment.content_type
        facts["size_bytes"] = attachment.size_bytes

    started = monotonic()
    try:
        yield take
    except AttachmentError as error:
        facts["result"] = error.code
        raise
    finally:
        seconds = round(monotonic() - started, 4)
        events.confirmed.tell(
            attachment_id=attachment_id, user_id=user.pk, seconds=seconds, **facts
        )
