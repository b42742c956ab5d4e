"""A REST client of nodus, as an application would have it: it knows only the HTTP API."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests

TIMEOUT_SECONDS = (5, 60)  # for connecting, and for each answer


class UnexpectedAnswer(Exception):
    """The server did not answer as the contract says."""

    def __init__(self, response: requests.Response, *, expected: int) -> None:
        request = response.request
        super().__init__(
            f"{request.method} {request.url}\nanswered {response.status_code} instead of "
            f"{expected}:\n{response.text[:2000]}"
        )


class FormBody:
    """The body of a presigned POST, read from the disk as it is sent.

    Its length is known beforehand, because S3 asks for it. ``on_progress`` is called with the
    number of bytes of the file that were sent.
    """

    def __init__(
        self, *, fields: dict[str, str], path: Path, on_progress: Callable[[int], None]
    ) -> None:
        boundary = uuid4().hex
        part = f"--{boundary}\r\nContent-Disposition: form-data; name="
        head = "".join(f'{part}"{name}"\r\n\r\n{value}\r\n' for name, value in fields.items())
        head += f'{part}"file"; filename="file"\r\n\r\n'  # the last: S3 ignores fields after it
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._head, self._tail = head.encode(), f"\r\n--{boundary}--\r\n".encode()
        self._path, self._on_progress = path, on_progress
        self._chunks = self._read_parts()

    def __len__(self) -> int:
        return len(self._head) + self._path.stat().st_size + len(self._tail)

    def read(self, size: int = -1) -> bytes:
        """The next chunk, whatever ``size`` is; empty at the end."""
        return next(self._chunks, b"")

    def _read_parts(self) -> Iterator[bytes]:
        yield self._head
        sent = 0
        with self._path.open("rb") as file:
            while chunk := file.read(64 * 1024):
                yield chunk
                sent += len(chunk)
                self._on_progress(sent)
        yield self._tail


class Client:
    """The session of one user. Raises ``UnexpectedAnswer`` for what the contract does not say."""

    def __init__(self, base_url: str, *, on_wait: Callable[[int], None] = lambda seconds: None):
        self.base_url = base_url.rstrip("/")
        self._on_wait = on_wait
        self._session = requests.Session()

    def log_in(self, username: str, password: str) -> None:
        body = {"username": username, "password": password}
        token = self.call("POST", "/auth/token", json=body).json()["access"]
        self._session.headers["Authorization"] = f"Bearer {token}"
        # The claims name the user. Only the server can check the signature.
        claims = token.split(".")[1]
        padded = claims + "=" * (-len(claims) % 4)
        self.user_id = int(json.loads(base64.urlsafe_b64decode(padded))["user_id"])

    def call(
        self, method: str, path: str, *, expected: int = HTTPStatus.OK, **options: Any
    ) -> requests.Response:
        """Call the API. If that was too often, wait as long as the answer says, and call again."""
        while True:
            response = self._session.request(
                method,
                f"{self.base_url}/api/v1{path}",
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
                **options,
            )
            if response.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                break
            seconds = int(response.headers["Retry-After"])
            self._on_wait(seconds)
            time.sleep(seconds)
        if response.status_code != expected:
            raise UnexpectedAnswer(response, expected=expected)
        return response

    def presign(self, **request: Any) -> dict[str, Any]:
        """Give the ticket."""
        path = "/attachments/presigned"
        ticket: dict[str, Any] = self.call("POST", path, expected=201, json=request).json()
        return ticket

    def confirm(self, ticket: dict[str, Any]) -> dict[str, Any]:
        """Give the attachment, ready."""
        body = {"attachment_id": ticket["attachment_id"]}
        attachment: dict[str, Any] = self.call("POST", "/attachments/confirm", json=body).json()
        return attachment

    def find_file(self, attachment_id: str) -> str:
        """Give the address that the attachment's stable address leads to now."""
        path = f"/attachments/{attachment_id}/download"
        return self.call("GET", path, expected=HTTPStatus.FOUND).headers["Location"]


def post_file(
    ticket: dict[str, Any],
    path: Path,
    *,
    on_progress: Callable[[int], None] = lambda sent: None,
    expected: int = HTTPStatus.NO_CONTENT,
) -> requests.Response:
    """Post the file straight to the store, with the form alone."""
    body = FormBody(fields=ticket["fields"], path=path, on_progress=on_progress)
    headers = {"Content-Type": body.content_type}
    response = requests.post(ticket["url"], data=body, headers=headers, timeout=TIMEOUT_SECONDS)
    if response.status_code != expected:
        raise UnexpectedAnswer(response, expected=expected)
    return response
