"""The machine: what clients, staff, workers and operators do, in any order, with troubles between."""

import sys
import threading
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from attachments.models import Attachment
from tests.machine import kinds
from tests.machine.actions import TIMES, Actions, run_command
from tests.machine.invariants import ANY_ARROW, ARROWS, check
from tests.machine.kinds import Trouble
from tests.machine.settling import find_disagreements, settle
from tests.machine.world import BASE

USERS = st.integers(0, 1)
NUMBERS = st.integers(0, 2)
FILES = st.sampled_from(
    ["picture", "picture", "picture", "large", "large", "other", "page", "pdf", "virus", "virus"]
)
DECLARED = st.sampled_from(["", "size", "checksum", "size and checksum"])
KEYS = st.sampled_from(["", "", "same"])
MEANWHILE = st.sampled_from(
    ["outlast and confirm", "outlast and work", "outlast and purge"] * 3
    + ["post"] * 3
    + ["confirm", "work", "delete", "purge", "outlast", "carry out", "scan", "presign"]
)
SLOW = st.builds(
    Trouble, st.sampled_from(kinds.SLOW_STORE), st.sampled_from([0, 0, 1, 1, 2, 3]), MEANWHILE
)
TROUBLES = st.one_of(
    st.none(),
    SLOW,
    SLOW,
    st.builds(Trouble, st.sampled_from(kinds.STORE), st.sampled_from([0, 0, 1, 1, 2, 3, 4])),
    st.builds(Trouble, st.sampled_from(kinds.DATABASE), st.integers(0, 9)),
    st.builds(Trouble, st.sampled_from(kinds.PROCESS), st.integers(0, 24)),
)


class Machine(Actions):
    """Each rule is one step; its arguments are literals, so that the steps are a script."""

    def __init__(self) -> None:
        super().__init__()
        self.world.arrows = ARROWS
        self.world.begin()
        self.world.troubles.do_meanwhile = self._do_meanwhile

    @invariant()
    def holds(self) -> None:
        self.world.steps += 1
        self.world.outage -= 1
        check(self.world)

    def teardown(self) -> None:
        if sys.exception() is None:
            settle(self.world)

    @initialize(files=st.lists(FILES, min_size=2, max_size=4), mode=st.sampled_from(["off", "on"]))
    def start(self, files: list[str], mode: str) -> None:
        """A message with a file, and files that wait for their confirm."""
        self.world.scanners.use(mode)
        self.upload(0, "", "picture", "", False, "", None)
        self._act(None, lambda: self._work("rows"))
        self.link(user=0, numbers=[0], trouble=None)
        self.batch(user=0, declares="", files=files, trouble=None)

    # Clients

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
                self.work("rows", trouble)

    @rule(user=USERS, file=FILES, trouble=SLOW)
    def upload_slowly(self, user: int, file: str, trouble: Trouble) -> None:
        """Others act in the middle of the confirm."""
        self.upload(user, "", file, "", False, "confirm", trouble)

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
            self._bring_back(number % 2)

    # Workers and operators

    @rule(how=st.sampled_from(["rows", "rows", "rows", "tasks", "schedule"]), trouble=TROUBLES)
    def work(self, how: str, trouble: Trouble | None) -> None:
        self._act(trouble, lambda: self._work(how))

    @rule(older_than=st.sampled_from(["7d", "7d", "1h"]), trouble=TROUBLES)
    def purge(self, older_than: str, trouble: Trouble | None) -> None:
        """It may say that something stays: what a run holds that was killed, say."""
        self._act(
            trouble, lambda: run_command("purge_orphans", f"--older-than={older_than}", ends=(0, 1))
        )

    @rule(mends=st.booleans(), trouble=TROUBLES)
    def reconcile(self, mends: bool, trouble: Trouble | None) -> None:
        """It never finds anything but what came after its form was over."""
        options = ["--checksums", "--delete-unknown", "--mark-missing"] if mends else []
        found = self._act(trouble, lambda: find_disagreements(*options))
        assert not [line for line in found or () if not line["key"].startswith("pending/")], found

    @rule(trouble=TROUBLES)
    def scan(self, trouble: Trouble | None) -> None:
        """What is served already."""
        if self.world.scanners.mode != "off":
            self._act(trouble, self._scan)

    @rule(trouble=TROUBLES)
    def back_up(self, trouble: Trouble | None) -> None:
        self._act(trouble, lambda: run_command("backup_attachments", self.world.archive))

    @rule(how=st.sampled_from(["keep", "overwrite", "all is lost"]), trouble=TROUBLES)
    def restore(self, how: str, trouble: Trouble | None) -> None:
        """What fails is run again, as the operator is told."""
        world = self.world
        if world.outage or not list(world.archive.glob("snapshots/*/snapshot.json")):
            return
        world.troubles.land()
        if how == "all is lost":
            world.lose_everything()
        options = ["--overwrite", "--yes"] if how == "overwrite" else ["--keep-existing"]
        world.arrows = ANY_ARROW
        for met in (trouble, None) if trouble else (None,):
            self._act(met, lambda: run_command("restore_attachments", world.archive, *options))
        world.linked.clear()
        world.limits.is_restored = True
        check(world)
        world.arrows = ARROWS

    # The world

    @rule(how=st.sampled_from(sorted(TIMES)))
    def wait(self, how: str) -> None:
        self.world.troubles.land()
        self.world.wait(TIMES[how])

    @rule(steps=st.integers(1, 3))
    def stop_store(self, steps: int) -> None:
        """It comes back by itself after so many steps."""
        self.world.outage = steps + 1

    @rule(
        mode=st.sampled_from(["off", "on", "on", "on", "down", "dies", "slow"]), meanwhile=MEANWHILE
    )
    def use_scanner(self, mode: str, meanwhile: str) -> None:
        self.world.scanners.use(mode, meanwhile)
