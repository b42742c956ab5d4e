"""Whether clamd says so when it could not look into all of a file."""

import zipfile
from io import BytesIO

from django.utils.translation import gettext_lazy as _

from attachments.conf import conf
from attachments.doctor.examination import Examination
from attachments.doctor.findings import Probe, Seen
from attachments.errors import ScannerUnavailable
from attachments.scanning import Outcome, get_scanner

# Deeper than any clamd looks: its MaxRecursion is 17, unless it is set, and 100 at most.
DEPTH = 101


def get_probes() -> list[Probe]:
    """None without a clamd: what another scanner should say is not known."""
    return [_LIMITS] if conf.clamav_url and conf.uses_clamd else []


def scan_too_deep(case: Examination) -> Seen:
    """A clamd without AlertExceedsMax calls clean what it has not looked into."""
    try:
        verdict = get_scanner().scan([nest_archives(DEPTH)])
    except ScannerUnavailable as error:
        meaning = _("Files wait, and are not served before the scanner answers.")
        return Seen("error", str(error.detail), meaning, _("Look at CLAMAV_URL and at clamd."))
    is_told = verdict.outcome == Outcome.UNSCANNABLE
    return Seen("ok" if is_told else "error", verdict.reason or str(verdict.outcome.label))


def nest_archives(depth: int) -> bytes:
    """A harmless archive in an archive, so many times; some kilobytes."""
    content = b"A probe of the scanner."
    for _level in range(depth):
        outer = BytesIO()
        with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner.zip", content)
        content = outer.getvalue()
    return content


_LIMITS = Probe(
    name="scanner",
    what=_("the virus scanner, with an archive that is nested too deep for it"),
    look=scan_too_deep,
    meaning=_("It calls files clean that it has not looked into."),
    mend=_("Set “AlertExceedsMax yes” in clamd.conf."),
)
