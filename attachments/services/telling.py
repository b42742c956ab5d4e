"""Presign and confirm as events: what came of them, however they end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from time import monotonic
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from attachments import events
from attachments.errors import AttachmentError
from attachments.models import Attachment
from attachments.policy import User

P = ParamSpec("P")
Tickets = TypeVar("Tickets")


def tell_refused(presign: Callable[P, Tickets]) -> Callable[P, Tickets]:
    """Tell why there is no ticket. The ``user`` is a keyword of the function."""

    @wraps(presign)
    def told(*args: P.args, **options: P.kwargs) -> Tickets:
        try:
            return presign(*args, **options)
        except AttachmentError as error:
            user: Any = options["user"]
            events.presign_refused.tell(user_id=user.pk, code=error.code)
            raise

    return told


def tell_presigned(ticket: Any, request: Mapping[str, Any], *, user: User) -> None:
    events.presigned.tell(
        attachment_id=ticket.attachment_id,
        user_id=user.pk,
        content_type=request["content_type"],
        size_bytes=request.get("size_bytes"),
        filename=request["filename"],
        is_replayed=ticket.is_replayed,
    )


def tell_batch_presigned(tickets: Sequence[Any], *, user: User) -> None:
    """Once for all: a line for each would be a fifteenth of a batch."""
    events.batch_presigned.tell(
        attachment_ids=[str(ticket.attachment_id) for ticket in tickets],
        user_id=user.pk,
        count=len(tickets),
        replayed_count=sum(ticket.is_replayed for ticket in tickets),
    )


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
