"""What a signed form must not take."""

import base64
import hashlib
from collections.abc import Callable
from datetime import timedelta

from django.utils.translation import gettext_lazy as _

from attachments import storage
from attachments.doctor.examination import CONTENT, Examination
from attachments.doctor.findings import Probe, Seen, Text
from attachments.doctor.refusals import judge_read, judge_write

_OF_OTHER_BYTES = base64.b64encode(hashlib.sha256(b"other bytes").digest()).decode()
_AN_HOUR_AGO = timedelta(hours=-1)


def _post(
    purpose: str,
    *,
    content: bytes = CONTENT,
    fields: dict[str, str] | None = None,
    checksum_sha256: str = "",
    lifetime: timedelta = timedelta(minutes=5),
) -> Callable[[Examination], Seen]:
    def look(case: Examination) -> Seen:
        form = case.sign_form(purpose, checksum_sha256=checksum_sha256, expires_in=lifetime)
        reply = storage.post_form(form, content, fields=fields)
        return judge_write(reply, case.name_key("pending", purpose))

    return look


def post_to_another_key(case: Examination) -> Seen:
    key = case.name_key("pending", "another")
    reply = storage.post_form(case.sign_form("form-key"), CONTENT, fields={"key": key})
    return judge_write(reply, key)


def post_with_acl(case: Examination) -> Seen:
    """SeaweedFS takes the field and gives no right for it, so what anybody reads is what counts."""
    form = case.sign_form("form-acl")
    reply = storage.post_form(form, CONTENT, fields={"acl": "public-read"})
    if reply.is_success:
        reply = storage.send("GET", storage.get_public_url(form.fields["key"]))
    return judge_read(reply)


def _refuse(name: str, what: Text, look: Callable[[Examination], Seen], meaning: Text) -> Probe:
    return Probe(
        name=name,
        what=what,
        look=look,
        must_fail=True,
        meaning=meaning,
        mend=_("Use a store, or a release of it, that checks what was signed: docs/stores.md."),
        needs=("post",),
    )


PROBES = [
    _refuse(
        "form-type",
        _("a form with another content type"),
        _post("form-type", fields={"Content-Type": "text/html"}),
        _("Clients choose the type of what lies in pending/. Confirm still judges the bytes."),
    ),
    _refuse(
        "form-too-long",
        _("a form with one byte too many"),
        _post("form-too-long", content=CONTENT + b"+"),
        _("Clients fill the store with files of any size."),
    ),
    _refuse(
        "form-too-short",
        _("a form with one byte too few"),
        _post("form-too-short", content=CONTENT[:-1]),
        _("Broken uploads are found no sooner than at confirm."),
    ),
    _refuse(
        "form-field",
        _("a form with an extra field"),
        _post("form-field", fields={"x-amz-meta-extra": "1"}),
        _("Clients choose how objects are stored."),
    ),
    _refuse(
        "form-acl",
        _("a form that asks for public reading"),
        post_with_acl,
        _("Clients make their files public before anybody has checked them."),
    ),
    _refuse(
        "form-key",
        _("a form with another key"),
        post_to_another_key,
        _("Any user overwrites the uploads of others."),
    ),
    _refuse(
        "form-checksum",
        _("a form with the SHA-256 of other bytes"),
        _post("form-checksum", checksum_sha256=_OF_OTHER_BYTES),
        _("Broken uploads are found no sooner than at confirm."),
    ),
    _refuse(
        "form-expired",
        _("a form that has expired"),
        _post("form-expired", lifetime=_AN_HOUR_AGO),
        _("Whoever had a form once may write to pending/ for ever."),
    ),
]
