"""What the admin says of workers, before it promises their work."""

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext as _

from attachments import services
from attachments.admin.display import show_moment


def warn_of_silence(request: HttpRequest) -> None:
    """Say on the page if no worker gives a sign of life."""
    silence = services.find_silence()
    if silence is None:
        return
    if silence.seen_at is None:
        text = _("No worker has given a sign of life yet: what is asked of one waits.")
    else:
        text = _(
            "No worker has given a sign of life since %(moment)s. "
            "What is asked of one waits until it runs again."
        ) % {"moment": show_moment(silence.seen_at)}
    messages.warning(request, text)
