"""Workers are told what there is to do, which they would find without being told, but later."""

from functools import partial
from uuid import UUID

from django.db import transaction

from attachments import events
from attachments.models import Attachment
from attachments.services.soon import Soon


def _nudge(asked: list[tuple[str, str]]) -> None:
    """Each is an attachment, and the request that left the work."""
    attachment_ids, request_ids = map(list, zip(*asked, strict=True))
    events.work_left.send_robust(Attachment, attachment_ids=attachment_ids, request_ids=request_ids)


served = Soon(_nudge)


def nudge(attachment_id: UUID) -> None:
    """Somebody waits for this attachment."""
    _nudge([(str(attachment_id), events.request_id.get())])


def nudge_soon(attachment_id: UUID) -> None:
    """It is served already: tell of many at once, after the answer and the commit."""
    asked = (str(attachment_id), events.request_id.get())
    transaction.on_commit(partial(served.add, asked), robust=True)
