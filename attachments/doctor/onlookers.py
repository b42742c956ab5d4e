"""What the keys that clients see must not be good for to those who see them alone."""

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlencode

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from attachments import storage
from attachments.doctor.examination import CONTENT, Examination
from attachments.doctor.findings import COPIES, Probe, Seen
from attachments.doctor.refusals import judge_write
from attachments.storage import Role

_PROXY = _(
    "Let signer and reader be keys of their own, and a proxy before the store pass GET, HEAD, POST "
    "and OPTIONS alone: docs/security.md."
)
# A body of one chunk without a signature, as S3 spells it: its length, the byte, its checksum. A
# store that wants no signature looks at the checksum all the same.
_UNSIGNED_CHUNK = b"1\r\nx\r\n0\r\nx-amz-checksum-crc32:jNwWgw==\r\n\r\n"


def _write_unsigned(role: Role, prefix: str) -> Callable[[Examination], Seen]:
    """GHSA-9c4q-hq6p-c237: MinIO takes it for the key that it names, and asks for no signature."""

    def look(case: Examination) -> Seen:
        key = case.name_key(prefix, f"{role}-unsigned")
        query = urlencode({"X-Amz-Credential": storage.find_credential(role)})
        headers = {
            "X-Amz-Date": f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}",
            "X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "X-Amz-Decoded-Content-Length": "1",
            "X-Amz-Trailer": "x-amz-checksum-crc32",
        }
        address = f"{storage.get_public_url(key)}?{query}"
        return judge_write(storage.send("PUT", address, headers=headers, body=_UNSIGNED_CHUNK), key)

    return look


def put_with_copy_source(case: Examination) -> Seen:
    key = case.name_key("pending", "copy-source-put")
    address = storage.sign_call("signer", "put_object", Key=key)
    return _judge_copy(storage.send("PUT", address, headers=_name_source(case)), key)


def post_with_copy_source(case: Examination) -> Seen:
    form = case.sign_form("copy-source-post")
    reply = storage.post_form(form, bytes(len(CONTENT)), headers=_name_source(case))
    return _judge_copy(reply, form.fields["key"])


def _name_source(case: Examination) -> dict[str, str]:
    return {"x-amz-copy-source": f"/{storage.get_bucket()}/{case.copy}"}


def _judge_copy(reply: storage.Reply, key: str) -> Seen:
    try:
        is_copied = storage.inspect_object(key).head == CONTENT
    except storage.ObjectNotFound:
        is_copied = False
    if is_copied:
        return Seen("error", gettext("%s: the object was copied") % reply)
    return Seen("ok", gettext("%s: nothing was copied") % reply)


PROBES = [
    Probe(
        name="signer-unsigned",
        what=_("a write to attachments/ that only names the signer's key, unsigned"),
        look=_write_unsigned("signer", "attachments"),
        must_fail=True,
        meaning=_("Any user overwrites any published file: each form shows this key."),
        mend=_PROXY,
        needs=("post",),
    ),
    Probe(
        name="reader-unsigned",
        what=_("a write to attachments/ that only names the reader's key, unsigned"),
        look=_write_unsigned("reader", "attachments"),
        must_fail=True,
        meaning=_("Any user overwrites any published file: each private link shows this key."),
        mend=_PROXY,
        needs=("private-link",),
    ),
    Probe(
        name="copy-source-put",
        what=_("an unsigned copy source on a signed PUT"),
        look=put_with_copy_source,
        must_fail=True,
        meaning=COPIES,
        mend=_PROXY,
        needs=("freeze",),
    ),
    Probe(
        name="copy-source-post",
        what=_("an unsigned copy source on a signed form"),
        look=post_with_copy_source,
        must_fail=True,
        meaning=COPIES,
        mend=_PROXY,
        needs=("freeze",),
    ),
]
