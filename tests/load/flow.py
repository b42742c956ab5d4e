"""The whole flow of one file: presign, post, confirm, detail, list, download, delete."""

import time
from base64 import b64encode
from hashlib import sha256
from http import HTTPStatus
from random import Random

from tests.benchmarks.uploads import END, FORM_TYPE, build_form
from tests.load.caller import API, Answer, Caller, GaveUp
from tests.load.tally import Tally
from tests.load.uploads import Journal, Upload

FORMS = 10
"""So often a client asks for a fresh form of one file."""
WORKER_SECONDS = 5
"""A client looks so long whether a worker is done. Later, others will."""


class Unexpected(Exception):
    """An answer that no retry and no outage explains."""


class Flow:
    """One client. ``keeps`` is the share of its files that it does not delete."""

    def __init__(
        self,
        *,
        caller: Caller,
        journal: Journal,
        tally: Tally,
        random: Random,
        sizes: tuple[int, ...],
        keeps: float,
    ) -> None:
        self._caller, self._journal, self._tally = caller, journal, tally
        self._random, self._sizes, self._keeps = random, sizes, keeps

    def play(self) -> None:
        """Play it once. What goes wrong is in the tally."""
        started = time.perf_counter()
        try:
            self._play()
        except GaveUp as error:
            self._tally.note("flow", 0, f"gave up: {error}")
        except Unexpected as error:
            self._tally.note("flow", 0, "unexpected")
            self._tally.blame(str(error))
        else:
            self._tally.note("flow", time.perf_counter() - started)

    def close(self) -> None:
        self._caller.close()

    def _play(self) -> None:
        upload = self._journal.begin(self._random.choice(self._sizes))
        answer = self._upload(upload)
        upload.is_confirmed = True
        address = f"{API}/{upload.ids[-1]}"
        is_ready = self._wait_until_ready(address, answer)
        listed = self._ask("list", "GET", API).json()["results"]
        if upload.ids[-1] not in [item["id"] for item in listed]:
            raise Unexpected(f"{address} is not in its uploader's list")
        if is_ready:
            self._download(upload, address)
        if self._random.random() >= self._keeps:
            self._delete(upload, address)

    def _upload(self, upload: Upload) -> Answer:
        """Until it is confirmed; with a fresh form whenever one is over."""
        for _ in range(FORMS):
            ticket = self._presign(upload)
            if self._post(ticket, upload.content):
                body = {"attachment_id": ticket["attachment_id"]}
                answer = self._caller.call("confirm", "POST", f"{API}/confirm", body)
                if answer.code not in ("not_uploaded", "upload_expired"):
                    return self._expect("confirm", answer)
        raise GaveUp("post")

    def _presign(self, upload: Upload) -> dict:
        content = upload.content
        body = {"filename": f"{upload.key}.pdf", "content_type": "application/pdf"}
        if upload.number % 2:
            body["size_bytes"] = len(content)
            body["checksum_sha256"] = b64encode(sha256(content).digest()).decode()
        key = {"Idempotency-Key": upload.key}
        ticket = self._ask("presign", "POST", f"{API}/presigned", body, **key).json()
        if ticket["attachment_id"] not in upload.ids:
            upload.ids.append(ticket["attachment_id"])
        return ticket

    def _post(self, ticket: dict, content: bytes) -> bool:
        """Whether the store took it before the form was over."""
        deadline = time.monotonic() + ticket["expires_in"]
        body = build_form(ticket["fields"]) + content + END
        while True:
            answer = self._caller.send(
                "post", "POST", ticket["url"], body, {"Content-Type": FORM_TYPE}
            )
            if answer and answer.status_code == HTTPStatus.NO_CONTENT:
                return True
            if time.monotonic() > deadline or (answer and answer.status_code < 500):
                return False
            time.sleep(1)

    def _wait_until_ready(self, address: str, answer: Answer) -> bool:
        deadline = time.monotonic() + WORKER_SECONDS
        while True:
            status = answer.json()["status"]
            if status == "ready" or time.monotonic() > deadline:
                return bool(status == "ready")
            if status not in ("verifying", "scanning"):
                raise Unexpected(f"{address} is {status}: {answer.json()['error']}")
            time.sleep(0.2)
            answer = self._ask("detail", "GET", address)

    def _download(self, upload: Upload, address: str) -> None:
        self._ask("detail", "GET", address)
        link = self._ask("download", "GET", f"{address}/download").get("Location") or ""
        answer = self._caller.send("fetch", "GET", link)
        if answer and answer.status_code == HTTPStatus.OK and answer.content != upload.content:
            raise Unexpected(f"{address} serves other bytes than were uploaded")

    def _delete(self, upload: Upload, address: str) -> None:
        upload.is_delete_asked = True
        answer = self._caller.call("delete", "DELETE", address)
        if answer.code != "not_found":  # the second time, after a lost answer
            self._expect("delete", answer)
        upload.is_deleted = True

    def _ask(
        self, step: str, method: str, path: str, body: object = None, **headers: str
    ) -> Answer:
        return self._expect(step, self._caller.call(step, method, path, body, **headers))

    def _expect(self, step: str, answer: Answer) -> Answer:
        if answer.code:
            raise Unexpected(f"{step}: {answer.status_code} {answer.content[:300]!r}")
        return answer
