"""What may become of one call of the store, between Django and the store."""

from tests.proxy import Answer, Exchange, Fault, Forward, Headers

OPERATIONS = (
    "AbortMultipartUpload", "CompleteMultipartUpload", "CopyObject", "CreateMultipartUpload",
    "DeleteObjects", "GetObject", "HeadBucket", "HeadObject", "ListMultipartUploads",
    "ListObjectsV2", "PutObject", "UploadPartCopy",
)  # fmt: skip


def drop(exchange: Exchange, forward: Forward) -> Answer:
    raise ConnectionAbortedError


def drop_answer(exchange: Exchange, forward: Forward) -> Answer:
    forward().discard()
    raise ConnectionAbortedError


def repeat(exchange: Exchange, forward: Forward) -> Answer:
    forward().discard()
    return forward()


def refuse(exchange: Exchange, forward: Forward) -> Answer:
    return _say(500, b"<Error><Code>InternalError</Code></Error>")


def lie(exchange: Exchange, forward: Forward) -> Answer:
    forward().discard()
    return _say(500, b"<Error><Code>InternalError</Code></Error>")


def talk_rubbish(exchange: Exchange, forward: Forward) -> Answer:
    return _say(200, b"<html>Please log in</html>")


STORE_FAULTS: dict[str, Fault] = {
    fault.__name__: fault for fault in (drop, drop_answer, repeat, refuse, lie, talk_rubbish)
}


def _say(status: int, body: bytes) -> Answer:
    headers = Headers([("Content-Type", "text/html"), ("Content-Length", str(len(body)))])
    return Answer(status=status, headers=headers, body=[body])
