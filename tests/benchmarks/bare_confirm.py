"""What no confirm can do without, and nothing else: the calls to the store and the statements.

No framework, no token, no check, no error is handled. It shows how quick a confirm in Python that
freezes first could be, on boto3 and the store at hand. Run by gunicorn, as nodus is.
"""

import json
import secrets
from collections.abc import Callable, Iterable
from typing import Any

import django
from django.db import connection

django.setup()

from attachments.storage.client import get_bucket, get_client, get_copier  # noqa: E402

_STATEMENTS = (
    "SELECT id, password FROM auth_user WHERE id = (SELECT min(id) FROM auth_user)",
    "SELECT * FROM attachments WHERE id = %(id)s",
    "UPDATE attachments SET status = 'verifying', copy_key = %(key)s, "
    "lease_expires_at = now() + interval '1 minute' WHERE id = %(id)s AND copy_key = ''",
)
_PUBLISH = (
    "UPDATE attachments SET status = 'ready', copy_key = '', storage_key = %(key)s, "
    "size_bytes = %(size)s, checksum_sha256 = 'unknown', lease_expires_at = NULL, "
    "confirmed_at = now(), is_inspected = true WHERE id = %(id)s AND copy_key = %(key)s"
)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    attachment_id = json.loads(body)["attachment_id"]
    key = f"attachments/{attachment_id}/{secrets.token_hex(16)}/file"
    values = {"id": attachment_id, "key": key}
    try:
        with connection.cursor() as cursor:
            for statement in _STATEMENTS:
                cursor.execute(statement, values)
        source = {"Bucket": get_bucket(), "Key": f"pending/{attachment_id}"}
        get_copier().copy_object(Bucket=get_bucket(), Key=key, CopySource=source)
        frozen = get_client().get_object(Bucket=get_bucket(), Key=key, Range="bytes=0-16383")
        size = len(frozen["Body"].read())
        with connection.cursor() as cursor:
            cursor.execute(_PUBLISH, {**values, "size": size})
    finally:
        connection.close()
    answer = json.dumps({"id": attachment_id, "size_bytes": size}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))]
    start_response("200 OK", headers)
    return [answer]
