"""What an examination made is deleted: at its end, or by the next one if it was killed."""

from dataclasses import replace

from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from attachments import storage
from attachments.doctor.examination import PREFIXES, Examination
from attachments.doctor.findings import POLICIES, Probe, Seen
from attachments.rules.keys import PROBE_MARK


def remove_leftovers(case: Examination) -> Seen:
    """Delete the objects of every examination."""
    keys = _list_keys()
    refused = storage.delete_objects(keys)
    if remaining := refused or dict.fromkeys(_list_keys(), gettext("still there")):
        key, reason = next(iter(remaining.items()))
        return Seen("error", f"{len(remaining)}: {key}: {reason}")
    count = len(keys)
    return Seen("ok", ngettext("%s object removed", "%s objects removed", count) % count)


def _list_keys() -> list[str]:
    keys: list[str] = []
    for prefix in PREFIXES:
        keys += (item.key for item in storage.list_objects(f"{prefix}/{PROBE_MARK}"))
    return keys


LEFTOVERS = Probe(
    name="leftovers",
    what=_("what a check that was killed left behind"),
    look=remove_leftovers,
    meaning=_("Objects of checks stay in the bucket; “check-storage” stands in their keys."),
    mend=POLICIES,
    needs=("bucket",),
)
CLEAN_UP = replace(LEFTOVERS, name="clean-up", what=_("what this check made"))
