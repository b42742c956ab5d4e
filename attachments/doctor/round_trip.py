"""What must work: the way of a file, from the form to its deletion."""

from urllib.parse import quote

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from attachments import storage
from attachments.conf import conf
from attachments.doctor.examination import (
    CONTENT,
    CONTENT_TYPE,
    FORM_LIFETIME,
    HEADERS,
    Examination,
    has_object,
)
from attachments.doctor.findings import POLICIES, Probe, Seen


def post_form(case: Examination) -> Seen:
    reply = storage.post_form(case.sign_form("original"), CONTENT)
    if not reply.is_success:
        mend = storage.advise(reply.code, keys="S3_SIGNER_ACCESS_KEY", right="s3:PutObject")
        return Seen("error", str(reply), mend=mend)
    return _check_content(case.original, str(reply))


def freeze(case: Examination) -> Seen:
    case.make_copy("quarantine", "copy")
    case.make_copy("attachments", "copy")
    return _check_content(case.copy, gettext("copied"))


def _check_content(key: str, text: str) -> Seen:
    try:
        facts = storage.inspect_object(key)
    except storage.ObjectNotFound:
        return Seen("error", gettext("%s, but the object is not there") % text)
    if facts.head != CONTENT:
        return Seen("error", gettext("%s, but with other bytes") % text)
    return Seen("ok", text)


def read_private_link(case: Examination) -> Seen:
    url = storage.sign_download(key=case.copy, expires_in=FORM_LIFETIME)
    return _read_link(url, keys="S3_READER_ACCESS_KEY")


def read_public_link(case: Examination) -> Seen:
    return _read_link(storage.get_public_url(case.copy))


def read_by_cdn(case: Examination) -> Seen:
    return _read_link(f"{conf.cdn_url}/{quote(case.copy)}")


def _read_link(url: str, *, keys: str = "") -> Seen:
    """As a browser does; type and disposition must be those that stand on the object."""
    reply = storage.send("GET", url)
    if not reply.is_success:
        mend = storage.advise(reply.code, keys=keys, right="s3:GetObject") if keys else ""
        return Seen("error", str(reply), mend=mend)
    if reply.body != CONTENT:
        return Seen("error", gettext("%s, but with other bytes") % reply)
    found = [reply.headers.get(name, "") for name in ("Content-Type", "Content-Disposition")]
    if found != [CONTENT_TYPE, HEADERS.disposition]:
        meaning = gettext("Type and disposition are not those of the object.")
        return Seen("error", f"{reply}, {', '.join(found)}", meaning)
    return Seen("ok", str(reply))


def delete(case: Examination) -> Seen:
    key = case.make_copy("attachments", "deleted")
    refused = storage.delete_objects([key])
    if refused:
        return Seen("error", ", ".join(refused.values()))
    if has_object(key):
        return Seen("error", gettext("%s, but the object is still there") % gettext("deleted"))
    return Seen("ok", gettext("deleted"))


def get_probes() -> list[Probe]:
    """Those that the settings call for."""
    probes = [
        Probe(
            name="post",
            what=_("an upload by a signed form"),
            look=post_form,
            meaning=_("No client can upload."),
            mend=_("Look at the answer, and at what stands between clients and the store."),
            needs=("bucket", "endpoint"),
        ),
        Probe(
            name="freeze",
            what=_("the copy that confirm makes and judges"),
            look=freeze,
            meaning=_("No upload can be confirmed."),
            mend=POLICIES,
            needs=("post",),
        ),
        Probe(
            name="private-link",
            what=_("reading by a signed link"),
            look=read_private_link,
            meaning=_("Nobody can read private files."),
            mend=_("Look at S3_READER_ACCESS_KEY and at what stands before the store."),
            needs=("freeze",),
        ),
        Probe(
            name="delete",
            what=_("deletion"),
            look=delete,
            meaning=_("Deleted files stay in the store."),
            mend=POLICIES,
            needs=("freeze",),
        ),
    ]
    if conf.public_read:
        probes.append(
            Probe(
                name="public-link",
                what=_("reading by a public link"),
                look=read_public_link,
                meaning=_("Each download link that the API gives is refused."),
                mend=_(
                    "Run “manage.py setup_storage” with the admin key, or set S3_PUBLIC_READ=false."
                ),
                needs=("freeze",),
            )
        )
    if conf.cdn_url:
        probes.append(
            Probe(
                name="cdn-link",
                what=_("reading through the CDN"),
                look=read_by_cdn,
                meaning=_("Each download link that the API gives is refused."),
                mend=_("Let CDN_URL have the root of the bucket as its origin."),
                needs=("freeze",),
            )
        )
    return probes
