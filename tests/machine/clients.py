"""The rules of clients, and of those who delete."""

import threading
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection
from hypothesis import strategies as st
from hypothesis.stateful import rule

from attachments.models import Attachment
from tests.machine.actions import TIMES, Actions
from tests.machine.inputs import (
    DEATHS,
    DECLARED,
    FILES,
    KEYS,
    NUMBERS,
    SLOW,
    TROUBLES,
    USERS,
)
from tests.machine.kinds import Trouble
from tests.machine.world import BASE


class Clients(Actions):
    @rule(
        user=USERS,
        declares=DECLARED,
        file=FILES,
        key=KEYS,
        message=st.booleans(),
        troubled=st.sampled_from(["confirm", "work"]),
        trouble=TROUBLES,
    )
    def upload(
        self,
        user: int,
        declares: str,
        file: str,
        key: str,
        message: bool,
        troubled: str,
        trouble: Trouble | None,
    ) -> None:
        """All that a client does, and a worker perhaps; one of them meets the trouble."""
        for upload in self._presign(user, declares, file, key, message, None):
            self.world.post(upload, file)
            self.confirm(0, None, None if troubled == "work" else trouble)
            if troubled == "work":
                self._act(trouble, lambda: self._work("rows"))

    @rule(user=USERS, file=FILES, trouble=SLOW)
    def upload_slowly(self, user: int, file: str, trouble: Trouble) -> None:
        """Others act in the middle of the confirm."""
        self.upload(user, "", file, "", False, "confirm", trouble)

    @rule(user=USERS, file=FILES, dying=st.sampled_from(["confirm", "work"]), trouble=DEATHS)
    def upload_and_die(self, user: int, file: str, dying: str, trouble: Trouble) -> None:
        """The confirm or the worker; another one tries again when nobody owns the row any more."""
        for upload in self._presign(user, "", file, "", False, None):
            self.world.post(upload, file)
            for met in (trouble, None):
                self.confirm(0, None, met if dying == "confirm" else None)
                if dying == "work":
                    self._act(met, lambda: self._work("rows"))
                self.world.wait(TIMES["lease"])

    @rule(
        user=USERS, declares=DECLARED, file=FILES, key=KEYS, message=st.booleans(), trouble=TROUBLES
    )
    def presign(
        self, user: int, declares: str, file: str, key: str, message: bool, trouble: Trouble | None
    ) -> None:
        for upload in self._presign(user, declares, file, key, message, trouble):
            self.world.post(upload, file)

    @rule(
        user=USERS,
        declares=DECLARED,
        files=st.lists(FILES, min_size=1, max_size=3),
        trouble=TROUBLES,
    )
    def batch(self, user: int, declares: str, files: list[str], trouble: Trouble | None) -> None:
        body = {"files": [self._declare(file, declares) for file in files]}
        response = self._ask(trouble, user, f"{BASE}/presigned/batch", body)
        for upload, file in zip(self.world.present(user, body, response), files, strict=False):
            self.world.post(upload, file)

    @rule(number=NUMBERS, file=FILES)
    def post(self, number: int, file: str) -> None:
        if upload := self._choose(number):
            self.world.post(upload, file)

    @rule(number=NUMBERS, message=st.none() | NUMBERS, trouble=TROUBLES)
    def confirm(self, number: int, message: int | None, trouble: Trouble | None) -> None:
        if upload := self._choose(number):
            found = None if message is None else self._find_message(message)
            fields = {} if found is None else {"message_id": found}
            self._act(trouble, lambda: self.world.confirm(upload, **fields))

    @rule(number=NUMBERS, trouble=TROUBLES)
    def confirm_later(self, number: int, trouble: Trouble | None) -> None:
        """When nobody owns the row any more."""
        self.world.wait(TIMES["lease"])
        self.confirm(number, None, trouble)

    @rule(number=NUMBERS, file=FILES)
    def confirm_twice_at_once(self, number: int, file: str) -> None:
        """Somebody posts another file meanwhile."""
        upload = self._choose(number)
        if upload is None:
            return
        answers: list[Any] = []

        def confirm() -> None:
            try:
                answers.append(self.world.confirm(upload))
            finally:
                connection.close()

        threads = [threading.Thread(target=confirm) for _ in range(2)]
        for thread in threads:
            thread.start()
        self.world.post(upload, file)
        for thread in threads:
            thread.join()
        assert len(answers) == 2
        for answer in answers:
            self._check_answer(answer, is_quiet=False)  # a busy store may fail while it is written

    @rule(user=USERS, numbers=st.lists(NUMBERS, max_size=2), trouble=TROUBLES)
    def link(self, user: int, numbers: list[int], trouble: Trouble | None) -> None:
        uploads = {upload.pk for number in numbers if (upload := self._choose(number))}
        path = f"/api/v1/conversations/{self.world.conversation}/messages"
        self._ask(trouble, user, path, {"text": "Look", "attachment_ids": sorted(uploads)})

    @rule(user=USERS)
    def change_password(self, user: int) -> None:
        old = self.world.make_token(user)
        person = get_user_model().objects.get(pk=self.world.people[user].pk)
        person.set_password(f"{person.username}-{self.world.steps}")
        person.save()
        assert self.world.call(user, "get", BASE, token=old).status_code == 401
        assert self.world.call(user, "get", BASE).status_code == 200

    # Those who delete

    @rule(number=NUMBERS, how=st.sampled_from(["api", "staff", "rows", "sql"]), trouble=TROUBLES)
    def delete(self, number: int, how: str, trouble: Trouble | None) -> None:
        if upload := self._choose(number):
            self._act(trouble, lambda: self._delete(upload, how))

    @rule(what=st.sampled_from(["message", "message", "user"]), number=NUMBERS, trouble=TROUBLES)
    def cascade(self, what: str, number: int, trouble: Trouble | None) -> None:
        """Delete what attachments hang on."""
        if what == "message":
            model = Attachment._meta.get_field("message").related_model
            rows = model.objects.filter(pk=self._find_message(number))
            self._act(trouble, lambda: rows.delete() and None)
        else:
            person = self.world.people[number % 2]
            rows = get_user_model().objects.filter(pk=person.pk)
            self._act(trouble, lambda: rows.delete() and None)
            self._bring_back()
