"""Calls of the API as one user, and of the store: each again and again, as docs/clients.md says."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPMessage
from itertools import chain, repeat
from random import Random
from time import monotonic, perf_counter, sleep
from typing import Any
from urllib.parse import urlsplit

from tests.described import check_described
from tests.load.tally import DONE, LOST, TIMEOUT, Tally

API = "/api/v1/attachments"
ANSWER_SECONDS = 60
PAUSES = (1, 2, 4)
PATIENCE_SECONDS = 60
"""Then a client gives up."""
# Waiting mends these; the same call is sent again.
PASSING = {
    "database_unavailable",
    "rate_limit_unavailable",
    "storage_unavailable",
    "throttled",
    "upload_in_progress",
}


class GaveUp(Exception):
    """A step did not succeed within the client's patience."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    status_code: int
    headers: HTTPMessage
    content: bytes

    def get(self, name: str) -> str | None:
        return self.headers.get(name)

    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def code(self) -> str:
        """Of the error, or of an answer that is no error of the API at all; empty if all is well."""
        if self.status_code < 400:
            return DONE
        try:
            return str(self.json()["errors"][0]["code"])
        except (ValueError, TypeError, LookupError):
            return f"HTTP {self.status_code}"


class Caller:
    """Keeps a connection to each server open, as clients do.

    Of the calls of the API it loses ``loses`` (a share) itself: sent, and hung up before the answer.
    """

    def __init__(
        self, *, port: int, token: str, tally: Tally, random: Random, loses: float
    ) -> None:
        self._site, self._token = f"127.0.0.1:{port}", token
        self._tally, self._random, self._loses = tally, random, loses
        self._connections: dict[str, HTTPConnection] = {}

    def call(self, step: str, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """The answer that no waiting would change. Raises ``GaveUp``."""
        content = None if body is None else json.dumps(body).encode()
        headers |= {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        for pause in self._wait_longer(step):
            is_lost = self._random.random() < self._loses
            address = f"http://{self._site}{path}"
            answer = self.send(step, method, address, content, headers, is_lost=is_lost)
            if answer is not None:
                self._judge(step, method, path, answer)
                if answer.code not in PASSING:
                    return answer
            sleep(float((answer and answer.get("Retry-After")) or pause))
        raise GaveUp(step)

    def send(
        self,
        step: str,
        method: str,
        address: str,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        is_lost: bool = False,
    ) -> Answer | None:
        """The answer of any server, once; None if there was none."""
        started, url = perf_counter(), urlsplit(address)
        connection = self._connect(url.netloc)
        path = f"{url.path}?{url.query}" if url.query else url.path
        try:
            connection.request(method, path, content, headers or {})
            if is_lost:
                raise ConnectionAbortedError
            response = connection.getresponse()
            answer = Answer(
                status_code=response.status, headers=response.headers, content=response.read()
            )
        except (OSError, HTTPException) as error:
            connection.close()
            code = TIMEOUT if isinstance(error, TimeoutError) else LOST
            self._tally.note(step, 0, code)
            return None
        self._tally.note(step, perf_counter() - started, answer.code)
        return answer

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()

    def _connect(self, netloc: str) -> HTTPConnection:
        if netloc not in self._connections:
            self._connections[netloc] = HTTPConnection(netloc, timeout=ANSWER_SECONDS)
        return self._connections[netloc]

    def _wait_longer(self, step: str) -> Iterator[float]:
        """Pauses, as long as the client's patience lasts."""
        deadline = monotonic() + PATIENCE_SECONDS
        for pause in chain(PAUSES, repeat(8)):
            if monotonic() > deadline:
                return
            yield pause

    def _judge(self, step: str, method: str, path: str, answer: Answer) -> None:
        """A problem, if the contract has no such answer."""
        try:
            assert answer.status_code != 500, "a defect of the server"
            assert not answer.code.startswith("HTTP"), "no error of the API"
            check_described(method, path.partition("?")[0], answer)
        except AssertionError as error:
            self._tally.blame(f"{step}: {answer.status_code} {answer.content[:300]!r}: {error}")
