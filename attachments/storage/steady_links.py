"""Links that stay the same for half their life, in every process, so that caches know them.

The time at which a link is signed is rounded down to halves of its life. So it has always more
than the other half to live.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from botocore.auth import AUTH_TYPE_MAPS, SIGV4_TIMESTAMP, S3SigV4QueryAuth

_STEADY = "steady-s3v4-query"  # botocore looks for the end of this name


class SteadyQueryAuth(S3SigV4QueryAuth):
    _expires: int

    def _modify_request_before_signing(self, request: Any) -> None:
        now, half_life = int(time.time()), max(self._expires // 2, 1)
        signed_at = datetime.fromtimestamp(now - now % half_life, UTC)
        request.context["timestamp"] = signed_at.strftime(SIGV4_TIMESTAMP)
        super()._modify_request_before_signing(request)  # type: ignore[misc]


AUTH_TYPE_MAPS[_STEADY] = SteadyQueryAuth


def choose_signer(signature_version: Any, **kwargs: Any) -> Any:
    """Botocore's event ``choose-signer``: sign links by the class above, and nothing else."""
    return _STEADY if str(signature_version).endswith("-query") else None


def find_link_expiry(url: str) -> datetime | None:
    """When this address ends, by what it says itself; None if it is not signed."""
    query = parse_qs(urlsplit(url).query)
    if "X-Amz-Date" not in query:
        return None
    signed_at = datetime.strptime(query["X-Amz-Date"][0], SIGV4_TIMESTAMP).replace(tzinfo=UTC)
    return signed_at + timedelta(seconds=int(query["X-Amz-Expires"][0]))
