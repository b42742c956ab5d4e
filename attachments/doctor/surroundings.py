"""What stands around the bucket: its address for clients, the clock, the region, the keys."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from attachments import storage
from attachments.conf import conf
from attachments.doctor.examination import Examination
from attachments.doctor.findings import Level, Probe, Seen
from attachments.errors import StorageUnavailable
from attachments.storage import Role

SKEW_TOLD = timedelta(seconds=60)
_NO_STORE = _("What answers there is not a store.")
# Beyond it S3 refuses each signature.
SKEW_REFUSED = timedelta(minutes=15)


def reach_store() -> None:
    """Raises ``StorageUnavailable`` if the store is away, or what stands before it says so."""
    reply = _list_one()
    if reply.status >= 500:  # noqa: PLR2004
        raise StorageUnavailable from storage.StoreError(str(reply))


def find_bucket(case: Examination) -> Seen:
    reply = _list_one()
    if not reply.is_success:
        mend = storage.advise(reply.code, keys="S3_ACCESS_KEY", right="s3:ListBucket")
        return Seen("error", str(reply), mend=mend)
    if b"<ListBucketResult" not in reply.body:
        return Seen("error", str(reply), _NO_STORE)
    return Seen("ok", storage.get_bucket())


def _list_one() -> storage.Reply:
    return storage.send("GET", storage.sign_call("main", "list_objects_v2", MaxKeys=1))


def reach_endpoint(case: Examination) -> Seen:
    """Whether what answers there is the store, and has the bucket: any refusal by S3 tells it."""
    address = storage.get_public_url("")
    reply = storage.send("GET", address)
    if reply.code == "NoSuchBucket":
        return Seen("error", str(reply), mend=storage.advise(reply.code))
    if not (reply.code or b"<ListBucketResult" in reply.body):
        return Seen("error", f"{address}: {reply}", _NO_STORE)
    return Seen("ok", address)


def judge_address(case: Examination) -> Seen:
    """What a look from this machine cannot tell."""
    url = urlsplit(storage.get_public_url(""))
    host = url.hostname or ""
    if url.scheme == "http" and any(
        origin.startswith("https://") for origin in conf.cors_allowed_origins
    ):
        meaning = gettext("A page on https may not post to a store on http.")
        return Seen("warning", f"http://{url.netloc}", meaning)
    if "." not in host and ":" not in host and host != "localhost":
        return Seen("warning", host, gettext("Only machines beside the store know such a name."))
    return Seen("ok", f"{url.scheme}://{url.netloc}")


def compare_clocks(case: Examination) -> Seen:
    reply = storage.send("HEAD", storage.sign_call("main", "head_bucket"))
    try:
        told = parsedate_to_datetime(reply.headers.get("Date", ""))
    except ValueError:
        return Seen("ok", gettext("the store does not tell its time"))
    skew = abs(datetime.now(UTC) - told.replace(tzinfo=told.tzinfo or UTC))
    text = gettext("%s s apart") % round(skew.total_seconds())
    if skew < SKEW_TOLD:
        return Seen("ok", text)
    level: Level = "warning" if skew < min(SKEW_REFUSED, conf.upload_expires_in) else "error"
    return Seen(level, text, mend=storage.advise("RequestTimeTooSkewed"))


def compare_regions(case: Examination) -> Seen:
    reply = storage.send("HEAD", storage.sign_call("main", "head_bucket"))
    wanted, found = storage.get_region(), reply.headers.get("x-amz-bucket-region")
    if found not in (None, wanted):
        mend = storage.advise("InvalidLocationConstraint")
        return Seen("error", gettext("the bucket is in %s") % found, mend=mend)
    return Seen("ok", wanted)


def _compare_key(role: Role, *others: Role) -> Probe:
    """A key is worth its policy only if no other purpose needs it."""

    def look(case: Examination) -> Seen:
        own = storage.find_credential(role)
        same = [other for other in others if storage.find_credential(other) == own]
        if same:
            return Seen("warning", gettext("it is the key of: %s") % ", ".join(same))
        return Seen("ok", gettext("a key of its own"))

    return Probe(
        name=f"{role}-key",
        what=f"S3_{role.upper()}_ACCESS_KEY",
        look=look,
        meaning=_DANGERS[role],
        mend=_("Set it to a key of its own: docs/security.md."),
    )


def try_admin_key(case: Examination) -> Seen:
    """Whether the store knows it: `in_force` tells what it may not do."""
    reply = storage.send("GET", storage.sign_call("admin", "list_objects_v2", MaxKeys=1))
    if reply.code in ("", "AccessDenied"):
        return Seen("ok", str(reply))
    mend = storage.advise(reply.code, keys="S3_ADMIN_ACCESS_KEY")
    return Seen("error", str(reply), mend=mend)


_DANGERS = {
    "signer": _(
        "Every form shows the main key. On MinIO whoever knows an access key writes what it may "
        "write: any user overwrites any published file."
    ),
    "reader": _(
        "Every private link shows a key that may do more than read. On MinIO whoever knows an "
        "access key writes what it may write."
    ),
    "admin": _(
        "A key that servers or clients have may change the bucket's policy: whoever takes it opens "
        "the whole bucket."
    ),
}

PROBES = [
    Probe(
        name="bucket",
        what=_("the bucket, by the main key"),
        look=find_bucket,
        meaning=_("Nothing works: no upload, no confirm, no deletion."),
        mend=_("Look at S3_ENDPOINT_URL, S3_BUCKET, S3_ACCESS_KEY and S3_SECRET_KEY."),
    ),
    Probe(
        name="endpoint",
        what=_("the store, where clients reach it"),
        look=reach_endpoint,
        meaning=_("Clients can neither upload nor download."),
        mend=_("Set S3_PUBLIC_ENDPOINT_URL to the address of the store for clients."),
    ),
    Probe(
        name="address",
        what=_("the address that clients get"),
        look=judge_address,
        mend=_("Set S3_PUBLIC_ENDPOINT_URL to the address of the store for clients."),
    ),
    Probe(
        name="clock",
        what=_("the clocks of the store and of this machine"),
        look=compare_clocks,
        meaning=_("Forms and links end too early or too late; beyond 15 minutes all are refused."),
    ),
    Probe(
        name="region",
        what=_("the region"),
        look=compare_regions,
        meaning=_("Stores refuse signatures that name another region."),
    ),
    _compare_key("signer", "main"),
    _compare_key("reader", "main", "signer"),
    _compare_key("admin", "main", "signer", "reader"),
    Probe(
        name="admin-known",
        what=_("the bucket, by the admin key"),
        look=try_admin_key,
        meaning=_("setup_storage cannot work, and what is in force is not seen."),
        mend=_("Look at S3_ADMIN_ACCESS_KEY and S3_ADMIN_SECRET_KEY."),
        needs=("bucket", "admin-key"),
    ),
]
