"""The system that the machine drives, and what the machine keeps in mind of it."""

import json
import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import requests
from django.contrib.auth import get_user_model
from django.db import connection
from rest_framework_simplejwt.tokens import AccessToken

from attachments.services import nudges, pending
from tests.databases import empty_tables
from tests.described import CheckedClient
from tests.machine.clock import Clock
from tests.machine.limits import Limits
from tests.machine.troubles import Troubles
from tests.machine.uploads import Listener, Upload, make_files
from tests.machine.view import list_begun

BASE = "/api/v1/attachments"
NAMES = ("alice", "bob")
LATEST = timedelta(minutes=30)
"""A call that was sent has arrived by then."""


class World:
    def __init__(
        self, *, bucket: Any, png: bytes, troubles: Troubles, directory: Path, scanners: Any
    ) -> None:
        self.bucket, self.files, self.troubles = bucket, make_files(png), troubles
        self.archive, self.scanners = directory / "archive", scanners
        self.visited: Counter[str] = Counter()
        self.steps = 0
        self.listener, self.clock = Listener(), Clock()
        self.session = requests.Session()

    def begin(self) -> None:
        """An empty system, with two people who talk."""
        from nodus.messaging.models import Conversation

        self.troubles.forget()
        self.outage = 0
        self.lose_everything()
        shutil.rmtree(self.archive, ignore_errors=True)
        self.scanners.use("off")
        self.people = [
            get_user_model().objects.create_user(name, password=f"{name}-demo") for name in NAMES
        ]
        conversation = Conversation.objects.create()
        conversation.participants.set(self.people)
        self.conversation = conversation.pk
        self.limits = Limits()
        self.uploads: list[Upload] = []
        self.judged: dict[str, str] = {}
        """The SHA-256 of what was found at each key when its row was first seen ready."""
        self.linked: dict[str, int] = {}
        self.clock.begin()
        self.contents: dict[tuple[str, str], bytes] = {}
        self.named_uploads: set[str] = set()
        """The copies in parts that were begun, and named by a row or a note."""
        self.asked: set[Any] = set()
        self.said: list[bytes] = []
        self.listener.lines.clear()

    @property
    def outage(self) -> int:
        """For so many steps the store is down."""
        return self._outage

    @outage.setter
    def outage(self, steps: int) -> None:
        self._outage = max(steps, 0)
        self.troubles.is_store_down = bool(self._outage)

    def lose_everything(self) -> None:
        """Rows and objects; what a process keeps in memory too."""
        connection.close()
        empty_tables(self)
        self.forget_memory()
        self.bucket.objects.all().delete()
        for upload in list_begun(self.bucket):
            self.bucket.meta.client.abort_multipart_upload(
                Bucket=self.bucket.name, Key=upload["Key"], UploadId=upload["UploadId"]
            )
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM machine_moves")

    def die(self) -> None:
        """The process ends: the next one has another connection, and nothing in memory."""
        self.forget_memory()
        connection._close()  # whatever transaction it is in
        connection.connect()

    def forget_memory(self) -> None:
        """What a dying process loses."""
        pending._originals.take()
        nudges.served.take()

    def call(
        self,
        user: int,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        **headers: str,
    ) -> Any:
        """A call of the API by one of the people."""
        client = CheckedClient()
        token = token or self.make_token(user)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}", **headers)
        with self.limits.watch(self.people[user].pk, path) as asked:
            response = getattr(client, method)(path, body, format="json")
            asked.tell(response.status_code)
        self.said.append(response.content)
        return response

    def make_token(self, user: int) -> str:
        """That of somebody who is gone, or whom a restore did not bring back yet, opens nothing."""
        person = self.people[user]
        found = get_user_model().objects.filter(pk=person.pk).first()
        return str(AccessToken.for_user(found or person))

    def find(self, number: int) -> Upload | None:
        """The last upload, the one before it, and so on."""
        return self.uploads[-1 - number % len(self.uploads)] if self.uploads else None

    def present(self, user: int, body: dict[str, Any], response: Any) -> list[Upload]:
        """Keep in mind what presign gave."""
        if response is None or response.status_code != 201:
            return []
        answer, files = json.loads(response.content), body.get("files", [body])
        made = []
        for ticket, declared in zip(answer.get("tickets", [answer]), files, strict=True):
            pk = ticket["attachment_id"]
            known = next((upload for upload in self.uploads if upload.pk == pk), None)
            upload = known or Upload(pk=pk, user=user, form=ticket, declared=declared)
            upload.form = ticket
            if known is None:
                self.uploads.append(upload)
            made.append(upload)
        return made

    def post(self, upload: Upload, file: str) -> None:
        """As a client does, straight to the store."""
        content = self.files[file]
        answer = self.session.post(
            upload.form["url"],
            data=upload.form["fields"],
            files={"file": ("f", content)},
            timeout=30,
        )
        if answer.status_code == 204:
            upload.posted.append(content)

    def confirm(self, upload: Upload, **fields: Any) -> Any:
        body = {"attachment_id": upload.pk, **fields}
        response = self.call(upload.user, "post", f"{BASE}/confirm", body)
        if response.status_code == 200:
            self.remember_links(upload, json.loads(response.content))
        return response

    def remember_links(self, upload: Upload, answer: dict[str, Any]) -> None:
        upload.links |= {answer[name] for name in ("download_url", "thumbnail_url")} - {None}

    def wait(self, time: timedelta) -> None:
        """Let time go by: for the rows, and for the store's objects as the app sees them."""
        if time > LATEST:
            self.troubles.land()
        self.clock.wait(time)

    def read(self, key: str, etag: str) -> bytes:
        """What the store has there; an ETag stands for the same bytes."""
        if (key, etag) not in self.contents:
            self.contents[key, etag] = self.bucket.Object(key).get()["Body"].read()
        return self.contents[key, etag]

    def open(self, address: str) -> requests.Response:
        """As anybody may who has it."""
        return self.session.get(address, timeout=30)
