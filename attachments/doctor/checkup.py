"""The probes in their order, and what they found."""

import time
from collections.abc import Callable

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from attachments import storage
from attachments.doctor import (
    anonymous,
    conditions,
    decoding,
    forms,
    in_force,
    keys,
    onlookers,
    round_trip,
    scanner,
    surroundings,
)
from attachments.doctor.examination import Examination
from attachments.doctor.findings import Finding, Probe, Seen
from attachments.doctor.leftovers import CLEAN_UP, LEFTOVERS
from attachments.errors import StorageRefused, StorageUnavailable

# So long probes go on being begun. What runs then ends with the timeouts of its few requests.
PATIENCE_SECONDS = 120


def check_storage(*, on_finding: Callable[[Finding], None] = lambda finding: None) -> list[Finding]:
    """Do what clients do, and what they must not; give what was found.

    ``on_finding`` is called with each finding as soon as it is there. Objects that this makes go
    at its end, and those that a killed one left go first; it changes nothing else. Raises
    ``StorageUnavailable`` if the store does not answer at all.
    """
    surroundings.reach_store()
    return _Checkup(on_finding).run(list_probes())


def list_probes() -> list[Probe]:
    """Those that the settings call for. Each comes after what it needs."""
    return [
        *surroundings.PROBES,
        LEFTOVERS,
        *in_force.PROBES,
        *round_trip.get_probes(),
        *forms.PROBES,
        *anonymous.get_probes(),
        *keys.get_probes(),
        *onlookers.PROBES,
        *conditions.PROBES,
        *scanner.get_probes(),
        decoding.PICTURE,
    ]


class _Checkup:
    def __init__(self, on_finding: Callable[[Finding], None]) -> None:
        self._on_finding = on_finding
        self._findings: list[Finding] = []
        self._case = Examination()
        self._deadline = time.monotonic() + PATIENCE_SECONDS

    def run(self, probes: list[Probe]) -> list[Finding]:
        left_out = []
        try:
            for probe in probes:
                if self._is_well(probe.needs) and time.monotonic() < self._deadline:
                    self._add(probe, _look(probe, self._case))
                else:
                    left_out.append(probe)
        finally:
            if self._is_well(CLEAN_UP.needs):
                self._add(CLEAN_UP, _look(CLEAN_UP, self._case))
        if left_out:
            self._add(_NOT_TRIED, Seen("warning", "; ".join(str(probe.what) for probe in left_out)))
        return self._findings

    def _is_well(self, names: tuple[str, ...]) -> bool:
        return {item.name for item in self._findings if item.level == "ok"}.issuperset(names)

    def _add(self, probe: Probe, seen: Seen) -> None:
        is_well = seen.level == "ok"
        finding = Finding(
            level=seen.level,
            name=probe.name,
            what=str(probe.what),
            seen=seen.text,
            meaning="" if is_well else str(seen.meaning or probe.meaning),
            mend="" if is_well else str(seen.mend or probe.mend),
        )
        self._findings.append(finding)
        self._on_finding(finding)


def _look(probe: Probe, case: Examination) -> Seen:
    try:
        return probe.look(case)
    except StorageUnavailable as error:
        meaning = gettext("Whether it is allowed is not known.") if probe.must_fail else ""
        text = error.reason if isinstance(error, StorageRefused) else str(error.__cause__)
        return Seen("error", text, meaning)
    except storage.ObjectNotFound:
        meaning = gettext("Another check has removed it, or the store loses what it took.")
        return Seen("error", gettext("an object that this check made is gone"), meaning)


_NOT_TRIED = Probe(
    name="not-tried",
    what=_("not tried"),
    look=lambda case: Seen("ok", ""),
    meaning=_("They tell nothing before other lines are well, or there was no time left for them."),
    mend=_("Mend what is above, then run this again."),
)
