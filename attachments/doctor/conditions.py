"""What stores differ in and nothing here rests on: it is told."""

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from attachments import storage
from attachments.doctor.examination import HEADERS, Examination
from attachments.doctor.findings import Probe, Seen


def copy_with_another_etag(case: Examination) -> Seen:
    target = case.name_key("attachments", "condition")
    try:
        storage.copy_object(source=case.original, target=target, headers=HEADERS, etag=_NO_ETAG)
    except storage.ObjectChanged:
        return Seen("ok", gettext("refused"))
    return Seen("ok", gettext("the store ignores the condition; nothing here rests on it"))


_NO_ETAG = f'"{0:032x}"'

PROBES = [
    Probe(
        name="copy-condition",
        what=_("a copy on the condition of another ETag"),
        look=copy_with_another_etag,
        meaning=_("The store neither copies nor says that the object is another."),
        needs=("freeze",),
    )
]
