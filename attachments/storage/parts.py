"""One part of the bucket, as policy, CORS or lifecycle: a list of rules, some of them ours.

Ours are recognised by their ids. Whatever else the bucket holds is written back as it was found.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import sleep
from typing import Any, Literal

from django.utils.translation import gettext as _

from attachments.errors import StorageRefused, StorageUnavailable
from attachments.storage.client import translate_errors
from attachments.storage.refusals import UNSUPPORTED
from attachments.storage.state import NotSupported, Reading, Rule

# Seconds. AWS may give the old rules for a moment: https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel
READ_BACK_AFTER = (0, 0.5, 1)

State = Literal["unchanged", "created", "changed", "missing", "impossible", "refused", "failed"]
Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class SetupStep:
    """One part of the bucket: what was found, or what was done about it."""

    part: str
    state: State
    detail: str = ""
    level: Level = "ok"
    """``error``: what the settings need is not in force."""


class BucketPart:
    """A list of rules in the bucket, some of them ours."""

    name: str
    id_field = "ID"
    ids: frozenset[str]

    def read(self) -> Reading:
        raise NotImplementedError

    def get_rules(self, value: Any) -> list[Rule]:
        """The rules in what was read."""
        rules: list[Rule] = value
        return rules

    def write(self, rules: list[Rule]) -> None:
        raise NotImplementedError

    def clear(self) -> None:
        raise NotImplementedError

    def get_variants(self) -> Sequence[list[Rule]]:
        """Our rules as the settings want them; then those for a store that takes less, if any."""
        raise NotImplementedError

    def describe(self, others: list[Rule]) -> str:
        """What is in force."""
        raise NotImplementedError

    def warn(self, others: list[Rule], *, is_less: bool) -> str:
        """What is wrong although our rules are in force, or those of a lesser variant; or ""."""
        return ""

    def is_obeyed(self) -> bool:
        """Whether users of the store get what our rules say; it may keep them and obey others."""
        return True

    def settle(self, state: State, words: str) -> SetupStep:
        """What it means that the rules cannot be had, for the reason in ``words``, a sentence."""
        return SetupStep(part=self.name, state=state, detail=words, level="error")

    def bring(self) -> SetupStep:
        """Make our rules what is wanted, and look whether the store took them."""
        return self._report(self._bring)

    def look(self) -> SetupStep:
        """Tell whether our rules are in force, and change nothing."""
        return self._report(self._look)

    def preview(self) -> SetupStep:
        """What ``bring`` would do, as far as the rules tell: writes nothing, not even a probe."""
        try:
            ours, others = self._load()
            wanted = self.get_variants()
        except NotSupported as error:
            return SetupStep(part=self.name, state="impossible", detail=str(error), level="warning")
        except StorageRefused as refusal:
            return SetupStep(part=self.name, state="refused", detail=refusal.reason, level="error")
        except StorageUnavailable as error:
            return self._fail(error)
        if normalise(ours) in map(normalise, wanted):
            return SetupStep(part=self.name, state="unchanged", detail=self.describe(others))
        text = _("to be set: %s") % self.describe(others)
        return SetupStep(part=self.name, state="missing", detail=text, level="error")

    def _report(self, act: Callable[[], SetupStep]) -> SetupStep:
        try:
            return act()
        except NotSupported as error:
            return self._settle("impossible", str(error))
        except StorageRefused as refusal:
            return self._settle("refused", refusal.reason)
        except StorageUnavailable as error:
            return self._fail(error)

    def _settle(self, state: State, words: str) -> SetupStep:
        try:
            return self.settle(state, words if words.endswith(".") else f"{words}.")
        except StorageUnavailable as error:
            return self._fail(error)

    def _fail(self, error: StorageUnavailable) -> SetupStep:
        return SetupStep(part=self.name, state="failed", detail=error.reason, level="error")

    def _bring(self) -> SetupStep:
        """Our rules, or less if the store does not take the best, or does not do as they say."""
        before, others = self._load()
        present, variants = before, self.get_variants()
        for variant in variants:
            try:
                self._establish(variant, present, others)
            except (NotSupported, StorageRefused):
                if variant is variants[-1]:
                    raise
            else:
                if any(self._is_obeyed_after(seconds) for seconds in READ_BACK_AFTER):
                    state = _compare(before, variant)
                    return self._tell(state, others, is_less=variant is not variants[0])
            present = self._load()[0]
        words = _("the bucket keeps our rules, and other rules decide")
        return self._settle(_compare(before, present), words)

    def _is_obeyed_after(self, seconds: float) -> bool:
        sleep(seconds)
        return self.is_obeyed()

    def _look(self) -> SetupStep:
        ours, others = self._load()
        best, *lesser = self.get_variants()
        if normalise(ours) not in map(normalise, [best, *lesser]):
            return self._settle("missing", _("our rules are not in force"))
        return self._tell("unchanged", others, is_less=normalise(ours) != normalise(best))

    def _tell(self, state: State, others: list[Rule], *, is_less: bool) -> SetupStep:
        warning = self.warn(others, is_less=is_less)
        return SetupStep(
            part=self.name,
            state=state,
            detail=warning or self.describe(others),
            level="warning" if warning else "ok",
        )

    def _establish(self, wanted: list[Rule], present: list[Rule], others: list[Rule]) -> None:
        if normalise(present) == normalise(wanted):
            return
        with translate_errors(dict.fromkeys(UNSUPPORTED, NotSupported)):
            self.write(others + wanted) if others or wanted else self.clear()
        if not any(self._holds(wanted, after=seconds) for seconds in READ_BACK_AFTER):
            raise NotSupported(_("the store does not keep these rules"))

    def _holds(self, wanted: list[Rule], *, after: float) -> bool:
        sleep(after)
        return bool(normalise(self._load()[0]) == normalise(wanted))

    def _load(self) -> tuple[list[Rule], list[Rule]]:
        """Our rules and those of others. Raises ``NotSupported`` and ``StorageUnavailable``."""
        reading = self.read()
        if reading.state == "unsupported":
            raise NotSupported(reading.words)
        if reading.state == "refused":
            raise StorageRefused(code="", reason=reading.words)
        rules = self.get_rules(reading.value) if reading.state == "found" else []
        ours = [rule for rule in rules if rule.get(self.id_field) in self.ids]
        return ours, [rule for rule in rules if rule not in ours]


def _compare(before: list[Rule], after: list[Rule]) -> State:
    if normalise(before) == normalise(after):
        return "unchanged"
    return "changed" if before else "created"


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def normalise(value: Any) -> Any:
    """Stores spell one value as ``"x"`` or ``["x"]``, and ``{"AWS": "*"}`` as ``"*"``."""
    if isinstance(value, list):
        items = sorted((normalise(item) for item in value), key=repr)
        return items[0] if len(items) == 1 else items
    if isinstance(value, dict):
        simple = {key: normalise(item) for key, item in sorted(value.items())}
        return simple["AWS"] if simple.keys() == {"AWS"} else simple
    return value
