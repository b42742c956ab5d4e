"""Requests as clients send them: plain HTTP, of which nothing is retried and nothing followed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from attachments.storage.client import find_trust, translate_errors

TIMEOUT_SECONDS = (2, 10)  # to connect, and to read
_MAX_BODY_BYTES = 2**16
# Else a body waits 40 ms for the acknowledgement of its headers.
_SOCKET_OPTIONS = [(IPPROTO_TCP, TCP_NODELAY, 1)]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a store, or whatever stands in its place, answered."""

    status: int
    headers: Mapping[str, str]
    """Names are looked up in any case."""
    body: bytes
    """Its first 64 KiB."""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300  # noqa: PLR2004

    @property
    def code(self) -> str:
        """S3's own error code; "" if there is none."""
        found = re.search(rb"<Error>.*?<Code>(\w+)</Code>", self.body, re.DOTALL)
        return found[1].decode() if found else ""

    def __str__(self) -> str:
        return f"{self.status} {self.code}".strip()


def send(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Reply:
    """Send this and nothing else. Raises ``StorageUnavailable`` if there is no answer."""
    request = AWSRequest(
        method=method, url=url, data=body, headers=headers, stream_output=True
    ).prepare()
    with translate_errors():
        answer = _open_session(_find_proxy(url), find_trust()).send(request)
        with answer.raw as raw:
            content = raw.read(_MAX_BODY_BYTES)
    return Reply(status=answer.status_code, headers=answer.headers, body=content)


def _find_proxy(url: str) -> str | None:
    """The proxy that the environment names for this address, as boto3 finds it."""
    proxy: str | None = get_environ_proxies(url).get(urlsplit(url).scheme)
    return proxy


@lru_cache(maxsize=4)
def _open_session(proxy: str | None, trust: bool | str) -> Any:
    proxies = {"http": proxy, "https": proxy} if proxy else {}
    return URLLib3Session(
        verify=trust,  # type: ignore[arg-type]
        timeout=TIMEOUT_SECONDS,  # type: ignore[arg-type]
        proxies=proxies,
        socket_options=_SOCKET_OPTIONS,  # type: ignore[arg-type]
    )
