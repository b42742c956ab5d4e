"""Tell workers what there is to do. They find it by themselves, too, but later."""

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
    """Nobody waits, as it is served already: tell of many at once, after the commit."""
    asked = (str(attachment_id), events.request_id.get())
    transaction.on_commit(partial(served.add, asked))
