"""What the keys that clients see must not be good for, although their secrets are known."""

from collections.abc import Callable

from django.utils.translation import gettext_lazy as _

from attachments import storage
from attachments.conf import conf
from attachments.doctor.examination import CONTENT, Examination
from attachments.doctor.findings import COPIES, POLICIES, Probe, Seen, Text
from attachments.doctor.refusals import judge_delete, judge_read, judge_write
from attachments.storage import Role

Look = Callable[[Examination], Seen]


def _write(role: Role, prefix: str) -> Look:
    def look(case: Examination) -> Seen:
        key = case.name_key(prefix, role)
        reply = storage.send("PUT", storage.sign_call(role, "put_object", Key=key), body=CONTENT)
        return judge_write(reply, key)

    return look


def _read(role: Role, get_key: Callable[[Examination], str]) -> Look:
    return lambda case: judge_read(
        storage.send("GET", storage.sign_call(role, "get_object", Key=get_key(case)))
    )


def _list(role: Role) -> Look:
    return lambda case: judge_read(storage.send("GET", storage.sign_call(role, "list_objects_v2")))


def _delete(role: Role, prefix: str) -> Look:
    def look(case: Examination) -> Seen:
        key = case.make_copy(prefix, f"{role}-delete")
        reply = storage.send("DELETE", storage.sign_call(role, "delete_object", Key=key))
        return judge_delete(reply, key)

    return look


def _of_role(role: Role, needs: str) -> Callable[[str, Text, Look, Text], Probe]:
    def make(name: str, what: Text, look: Look, meaning: Text) -> Probe:
        return Probe(
            name=f"{role}-{name}",
            what=what,
            look=look,
            must_fail=True,
            meaning=meaning,
            mend=POLICIES,
            needs=("freeze", needs, f"{role}-key"),
        )

    return make


_signer = _of_role("signer", "post")
_reader = _of_role("reader", "private-link")
_OVERWRITES = _(
    "Whoever takes the key, or knows how to use it unsigned, overwrites published files."
)
_READS = _("The key that signs forms reads files: each form shows it.")

_READ_SERVED = _signer(
    "read-attachments",
    _("signer: reading attachments/"),
    _read("signer", lambda case: case.copy),
    COPIES,
)
_PROBES = [
    _signer(
        "write-attachments",
        _("signer: writing to attachments/"),
        _write("signer", "attachments"),
        _OVERWRITES,
    ),
    _signer(
        "write-quarantine",
        _("signer: writing to quarantine/"),
        _write("signer", "quarantine"),
        _("Whoever takes the key exchanges a file that waits for the scanner."),
    ),
    _signer(
        "write-thumbnails",
        _("signer: writing to thumbnails/"),
        _write("signer", "thumbnails"),
        _OVERWRITES,
    ),
    _signer(
        "read-pending",
        _("signer: reading pending/"),
        _read("signer", lambda case: case.original),
        _READS,
    ),
    _signer("list", _("signer: a listing"), _list("signer"), _READS),
    _signer(
        "delete",
        _("signer: deleting from pending/"),
        _delete("signer", "pending"),
        _("Whoever takes the key deletes the uploads of others."),
    ),
    _reader(
        "write-pending",
        _("reader: writing to pending/"),
        _write("reader", "pending"),
        COPIES,
    ),
    _reader(
        "write-attachments",
        _("reader: writing to attachments/"),
        _write("reader", "attachments"),
        _OVERWRITES,
    ),
    _reader(
        "read-pending",
        _("reader: reading pending/"),
        _read("reader", lambda case: case.original),
        _("Each link shows a key that reads what nobody has checked yet."),
    ),
    _reader(
        "read-quarantine",
        _("reader: reading quarantine/"),
        _read("reader", lambda case: case.quarantined),
        _("Each link shows a key that reads what nobody has checked yet."),
    ),
    _reader(
        "list",
        _("reader: a listing"),
        _list("reader"),
        _("Each link shows a key that finds the keys of all files."),
    ),
    _reader(
        "delete",
        _("reader: deleting from attachments/"),
        _delete("reader", "attachments"),
        _("Whoever takes the key deletes published files."),
    ),
]


def get_probes() -> list[Probe]:
    """Those that the settings call for: what is public, the signer may read too."""
    return _PROBES if conf.public_read else [_READ_SERVED, *_PROBES]
