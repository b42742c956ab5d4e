"""What must fail, whoever tries it: a probe does it, and then looks whether it was done."""

from django.utils.translation import gettext

from attachments import storage
from attachments.doctor.examination import has_object
from attachments.doctor.findings import Seen

_BUSY = (408, 429)  # a moment later it may be another answer


def judge_read(reply: storage.Reply) -> Seen:
    """Of a request that must give nothing away."""
    if reply.is_success:
        return Seen("error", gettext("%s: allowed") % reply)
    return _judge_refusal(reply)


def judge_write(reply: storage.Reply, key: str) -> Seen:
    """Of a request that must not bring an object to ``key``."""
    if has_object(key):
        return Seen("error", gettext("%s: the object is there") % reply)
    return judge_read(reply)


def judge_delete(reply: storage.Reply, key: str) -> Seen:
    """Of a request that must leave the object at ``key``; many stores answer before they look."""
    if not has_object(key):
        return Seen("error", gettext("%s: the object is gone") % reply)
    return judge_read(reply)


def _judge_refusal(reply: storage.Reply) -> Seen:
    if 400 <= reply.status < 500 and reply.status not in _BUSY:  # noqa: PLR2004
        return Seen("ok", gettext("refused: %s") % reply)
    meaning = gettext("This is no refusal: whether it is allowed is not known.")
    mend = gettext("Look at the log of the store, and of what stands before it.")
    return Seen("error", str(reply), meaning, mend)
