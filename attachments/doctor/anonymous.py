"""What nobody may do without a key."""

from collections.abc import Callable
from urllib.parse import urlencode

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from attachments import storage
from attachments.conf import conf
from attachments.doctor.examination import CONTENT, Examination
from attachments.doctor.findings import Probe, Seen, Text
from attachments.doctor.refusals import judge_delete, judge_read, judge_write

_SECRETS = _("Anybody reads what nobody has checked yet, private files among it.")
_CHANGES = _("Anybody in the network changes or deletes files.")
_FOUND = _("Anybody finds the key of every file, and with it the file.")
_CLOSE = _(
    "Remove what opens it from the bucket's policy and ACL, then run “manage.py setup_storage” "
    "with the admin key."
)


def _read(get_key: Callable[[Examination], str]) -> Callable[[Examination], Seen]:
    return lambda case: judge_read(storage.send("GET", storage.get_public_url(get_key(case))))


def _list(**query: str) -> Callable[[Examination], Seen]:
    address = f"?{urlencode(query)}"
    return lambda case: judge_read(storage.send("GET", storage.get_public_url("") + address))


def _write(prefix: str) -> Callable[[Examination], Seen]:
    def look(case: Examination) -> Seen:
        key = case.name_key(prefix, "anonymous")
        reply = storage.send("PUT", storage.get_public_url(key), body=CONTENT)
        return judge_write(reply, key)

    return look


def delete(case: Examination) -> Seen:
    key = case.make_copy("attachments", "anonymous-delete")
    return judge_delete(storage.send("DELETE", storage.get_public_url(key)), key)


def read_old_version(case: Examination) -> Seen:
    """Of a deleted object, as everybody may who was once given its link."""
    key = case.make_copy("attachments", "old")
    version = storage.send("GET", storage.sign_call("main", "get_object", Key=key)).headers.get(
        "x-amz-version-id", "null"
    )
    storage.delete_objects([key])
    if version == "null":
        return Seen("ok", gettext("the bucket keeps no versions"))
    return judge_read(storage.ask_for_version(key, version))


def _refuse(
    name: str,
    what: Text,
    look: Callable[[Examination], Seen],
    meaning: Text,
    *,
    mend: Text = _CLOSE,
) -> Probe:
    return Probe(
        name=name,
        what=what,
        look=look,
        must_fail=True,
        meaning=meaning,
        mend=mend,
        needs=("freeze",),
    )


def get_probes() -> list[Probe]:
    """Those that the settings call for."""
    private = _refuse(
        "anonymous-read",
        _("anonymous: reading attachments/"),
        _read(lambda case: case.copy),
        _("S3_PUBLIC_READ is false, and links work without a signature all the same."),
    )
    return [
        *([] if conf.public_read else [private]),
        _refuse(
            "anonymous-read-pending",
            _("anonymous: reading pending/"),
            _read(lambda case: case.original),
            _SECRETS,
        ),
        _refuse(
            "anonymous-read-quarantine",
            _("anonymous: reading quarantine/"),
            _read(lambda case: case.quarantined),
            _SECRETS,
        ),
        _refuse(
            "anonymous-read-version",
            _("anonymous: reading an old version"),
            read_old_version,
            _("Who once had the link still reads a file that was deleted."),
            mend=_(
                "Run “manage.py setup_storage” with the admin key. If that does not help, use a "
                "bucket without versions, or set S3_PUBLIC_READ=false."
            ),
        ),
        _refuse("anonymous-list", _("anonymous: a listing"), _list(**{"list-type": "2"}), _FOUND),
        _refuse(
            "anonymous-list-versions",
            _("anonymous: a listing of versions"),
            _list(versions=""),
            _FOUND,
        ),
        _refuse(
            "anonymous-list-uploads",
            _("anonymous: a listing of unfinished uploads"),
            _list(uploads=""),
            _FOUND,
        ),
        _refuse(
            "anonymous-write-pending",
            _("anonymous: writing to pending/"),
            _write("pending"),
            _CHANGES,
        ),
        _refuse(
            "anonymous-write-attachments",
            _("anonymous: writing to attachments/"),
            _write("attachments"),
            _CHANGES,
        ),
        _refuse(
            "anonymous-delete",
            _("anonymous: deleting from attachments/"),
            delete,
            _CHANGES,
        ),
    ]
