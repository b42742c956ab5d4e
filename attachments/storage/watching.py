"""Every call to the store passes here: how long it took, and what came of it."""

from time import monotonic
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from attachments import events
from attachments.storage.places import hold_place

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MISSING, _SERVER_ERRORS = 404, 500
OUTCOMES = ("ok", "missing", "refused", "failed", "unreachable")


def watch(client: "S3Client") -> None:
    """Tell of each call that this client makes, also of those that its paginators make.

    All its methods end in this one, as those who trace botocore know. Its own events would not do:
    none of them comes in every case of an error.
    """
    call = client._make_api_call  # type: ignore[attr-defined]

    def call_watched(operation: str, params: dict[str, Any]) -> Any:
        with hold_place():
            started, outcome = monotonic(), "unreachable"
            try:
                answer = call(operation, params)
                outcome = "ok"
                return answer
            except ClientError as error:
                outcome = _name_outcome(error)
                raise
            finally:
                seconds = round(monotonic() - started, 4)
                events.store_called.tell(operation=operation, outcome=outcome, seconds=seconds)

    client._make_api_call = call_watched  # type: ignore[attr-defined]


def _name_outcome(error: ClientError) -> str:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status == _MISSING:
        return "missing"
    return "failed" if status >= _SERVER_ERRORS else "refused"
