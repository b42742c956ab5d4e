"""How the machine acts: each action meets its trouble, and without any nothing may fail."""

import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from io import StringIO
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import Error, connection
from hypothesis.stateful import RuleBasedStateMachine

from attachments import services
from attachments.errors import OUTAGES
from attachments.models import Attachment
from tests.machine.kinds import Trouble
from tests.machine.troubles import Killed
from tests.machine.world import BASE, NAMES, World
from tests.stores import get_checksum

TIMES = {
    "lease": timedelta(minutes=6),
    "hours": timedelta(hours=2),
    "days": timedelta(days=2),
    "weeks": timedelta(days=8),
}
FAILURES = (*OUTAGES, Error, CommandError, SystemExit)
UNAVAILABLE = 503


class Actions(RuleBasedStateMachine):
    world: World
    _current = 0

    def _choose(self, number: int) -> Any:
        self._current = number
        return self.world.find(number)

    def _declare(self, file: str, declares: str) -> dict[str, Any]:
        content = self.world.files[file]
        body: dict[str, Any] = {
            "filename": f"{file}.bin",
            "content_type": "application/pdf" if file == "pdf" else "image/png",
        }
        if "size" in declares:
            body["size_bytes"] = len(content)
        if "checksum" in declares:
            body["checksum_sha256"] = get_checksum(content)
        return body

    def _presign(
        self,
        user: int,
        declares: str,
        file: str,
        key: str,
        has_message: bool,
        trouble: Trouble | None,
    ) -> list[Any]:
        body = self._declare(file, declares)
        message = self._find_message(0) if has_message else None
        body |= {} if message is None else {"message_id": message}
        headers = {"HTTP_IDEMPOTENCY_KEY": f"{key}-{file}-{declares}"} if key else {}
        response = self._ask(trouble, user, f"{BASE}/presigned", body, **headers)
        return self.world.present(user, body, response)

    def _find_message(self, number: int) -> int | None:
        model = Attachment._meta.get_field("message").related_model
        found = list(model.objects.order_by("-pk").values_list("pk", flat=True)[: number + 1])
        return found[-1] if found else None

    def _ask(self, trouble: Trouble | None, user: int, path: str, body: Any, **headers: str) -> Any:
        return self._act(trouble, lambda: self.world.call(user, "post", path, body, **headers))

    def _act(self, trouble: Trouble | None, action: Callable[[], Any]) -> Any:
        """Do it, and meet the trouble; without any, nothing may fail."""
        is_quiet, answer = trouble is None and self._is_quiet(), None
        try:
            with self.world.troubles.meet(trouble):
                answer = action()
        except Killed:
            self.world.die()
        except FAILURES:
            if is_quiet:
                raise
        finally:
            connection.close()
        self._check_answer(answer, is_quiet=is_quiet)
        return answer

    def _is_quiet(self) -> bool:
        world = self.world
        return not world.outage and world.scanners.mode in ("off", "on")

    def _check_answer(self, answer: Any, *, is_quiet: bool) -> None:
        status = getattr(answer, "status_code", 200)
        assert status < 500 or (status == UNAVAILABLE and not is_quiet), (status, answer.content)

    def _work(self, how: str) -> None:
        if how == "rows":
            services.process_waiting()
        elif how == "tasks":
            with keep_signals():
                call_command("db_worker", batch=True, interval=0, verbosity=0)
        else:
            services.run_due_jobs()
        services.remove_now()

    def _delete(self, upload: Any, how: str) -> Any:
        rows = Attachment.objects.filter(pk=upload.pk)
        if how == "api":
            return self.world.call(upload.user, "delete", f"{BASE}/{upload.pk}")
        if how == "staff":
            services.delete_attachments(rows)
        elif how == "rows":
            rows.delete()
        else:
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM attachments WHERE id = %s", [upload.pk])
        return None

    def _bring_back(self) -> None:
        """Whoever was deleted, or is in no backup, comes back as somebody new."""
        from nodus.messaging.models import Conversation

        world = self.world
        users = get_user_model().objects
        for user, person in enumerate(world.people):
            if not users.filter(pk=person.pk).exists():
                world.people[user] = users.create_user(f"{NAMES[user]}-{world.steps}")
        Conversation.objects.get(pk=world.conversation).participants.set(world.people)

    def _scan(self) -> None:
        services.scan_published(services.find_unscanned())

    def _do_meanwhile(self, what: str) -> None:
        """Others do this, while a call of the store or a scan takes its time."""
        try:
            for part in what.split(" and "):
                with suppress(*FAILURES):
                    self._do_part(part)
        finally:
            connection.close()

    def _do_part(self, part: str) -> None:
        upload = self.world.find(self._current)
        if part == "outlast":
            self.world.wait(TIMES["lease"])
        elif part == "work":
            services.process_waiting()
        elif part == "purge":
            services.purge_attachments()
        elif part == "carry out":
            services.carry_out_deletions()
        elif part == "scan":
            self._scan()
        elif part == "presign":
            body = self._declare("picture", "")
            self.world.present(0, body, self.world.call(0, "post", f"{BASE}/presigned", body))
        elif upload is None:
            pass
        elif part == "post":
            self.world.post(upload, "page")
        elif part == "confirm":
            self._check_answer(self.world.confirm(upload), is_quiet=False)
        elif part == "delete":
            self._delete(upload, "api")


@contextmanager
def keep_signals() -> Iterator[None]:
    """The worker takes them over, and a killed one gives none back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def run_command(*words: Any, ends: Collection[int] = (0,)) -> None:
    """Raises ``SystemExit`` or ``CommandError`` if it ends with another status."""
    try:
        call_command(*map(str, words), stdout=StringIO(), stderr=StringIO())
    except SystemExit as stopped:
        if stopped.code not in ends:
            raise
