"""What users do with existing attachments: see, download, delete."""

from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

from django.db import IntegrityError, transaction

from attachments import storage
from attachments.conf import conf
from attachments.errors import InUse, NotFound, NotYours
from attachments.models import Attachment
from attachments.policy import User


def get_attachment(*, attachment_id: UUID, user: User) -> Attachment:
    """An attachment that ``user`` may see; raises ``NotFound``."""
    # Try the usual case first: the SQL of the host's policy costs more than the rest of a request.
    attachment = Attachment.find(attachment_id)
    if attachment is not None and attachment.user_id == user.pk:
        return attachment
    visible = Attachment.objects.visible_to(user).filter(pk=attachment_id).first()
    if visible is None:
        raise NotFound
    return visible


def get_download_url(attachment: Attachment, *, as_attachment: bool = False) -> str | None:
    """A link that works now, or None until the attachment is ready. Does not call the store.

    ``as_attachment`` makes browsers save the file, by a signed link past the CDN: no other address
    can say so.
    """
    if not attachment.is_ready:
        return None
    if not as_attachment:
        return _make_link(attachment.key)
    return storage.sign_download(
        key=attachment.key,
        expires_in=conf.download_expires_in,
        disposition=attachment.spell_disposition(as_attachment=True),
    )


def get_file_origins() -> list[str]:
    """Where links lead to, for the Content-Security-Policy of a site that shows files."""
    urls = [storage.get_public_url(""), conf.cdn_url]
    return sorted({f"{url.scheme}://{url.netloc}" for url in map(urlsplit, urls) if url.netloc})


def get_thumbnail_url(attachment: Attachment) -> str | None:
    """A link to its thumbnail as ``get_download_url`` gives one; None if there is none."""
    key = attachment.thumbnail_key
    return _make_link(key) if key and attachment.is_ready else None


def _make_link(key: str) -> str:
    if conf.cdn_url:
        return f"{conf.cdn_url}/{quote(key)}"
    if conf.public_read:
        return storage.get_public_url(key)
    return storage.sign_download(key=key, expires_in=conf.download_expires_in)


def delete_attachment(*, attachment_id: UUID, user: User) -> None:
    """Delete the row; its objects go after the commit.

    Raises ``NotFound``, ``NotYours``, and ``InUse`` if a row of the host protects it.
    """
    attachment = get_attachment(attachment_id=attachment_id, user=user)
    if attachment.user_id != user.pk and not _may_delete_others(user):
        raise NotYours
    try:
        with transaction.atomic():
            if not attachment.delete()[1].get(Attachment._meta.label, 0):
                raise NotFound  # another request was faster, and tells of it
    except IntegrityError as error:  # ProtectedError and RestrictedError are, too
        raise InUse from error


def _may_delete_others(user: Any) -> bool:
    return getattr(user, "is_staff", False) and user.has_perm("attachments.delete_attachment")
