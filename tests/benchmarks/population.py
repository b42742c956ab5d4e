"""Make many attachments at once: rows by one statement, objects by one form that fits them all."""

import hashlib
import http.client
import uuid
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import urlsplit

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from attachments.storage.client import get_bucket, get_client

CONTENT = b"%PDF-1.7\n"
AGE = timedelta(days=365)
"""How old the rows are: old enough that a purge takes them as orphans."""
_BOUNDARY = "nodus-population"
_THREADS = 16  # more do not make the store any faster

# A user per hundred attachments, and a message per two of them: a hundred messages, and two users, in
# a conversation.
FILL_HOST = """
INSERT INTO auth_user (id, username, password, first_name, last_name, email, is_staff,
    is_superuser, is_active, date_joined)
SELECT n, 'user-' || n, '', '', '', '', false, false, true, now()
FROM generate_series(1, {rows} / 100) AS n;
INSERT INTO messaging_conversation (id, created_at)
SELECT n, now() FROM generate_series(1, {rows} / 200 + 1) AS n;
INSERT INTO messaging_conversation_participants (conversation_id, user_id)
SELECT 1 + (n - 1) / 2, n FROM generate_series(1, {rows} / 100) AS n;
INSERT INTO messaging_message (id, conversation_id, author_id, text, created_at)
SELECT n, 1 + (n - 1) / 100, 1, '', now() FROM generate_series(1, {rows} / 2) AS n;
"""

# The id of number n is md5(n), so that rows and objects can be made apart and still agree.
_INSERT_ROWS = """
INSERT INTO attachments (
    id, user_id, filename, content_type, size_bytes, checksum_sha256, storage_key, metadata,
    status, created_at, confirmed_at, expires_at
)
SELECT id, %(user_id)s, 'file.pdf', 'application/pdf', %(size_bytes)s, %(checksum_sha256)s,
    'attachments/' || id || '/file.pdf', '{}', 'ready', %(moment)s, %(moment)s, %(moment)s
FROM (SELECT md5(number::text)::uuid AS id FROM generate_series(0, %(count)s - 1) AS number) AS ids
"""


def make_schema(schema: str, fill: str) -> None:
    """Make a schema with our tables, run ``fill`` in it, and leave this connection there."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {schema}")
        cursor.execute(f"SET search_path TO {schema}")
    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute(fill)


def make_key(number: int) -> str:
    """The key of the ``number``-th object, from 0."""
    digest = hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
    return f"attachments/{uuid.UUID(digest)}/file.pdf"


def make_rows(count: int) -> None:
    """Make ``count`` ready rows of one user, on no message. Needs PostgreSQL."""
    user, _ = get_user_model().objects.get_or_create(username="population")
    values = {
        "user_id": user.pk,
        "size_bytes": len(CONTENT),
        "checksum_sha256": b64encode(hashlib.sha256(CONTENT).digest()).decode(),
        "moment": timezone.now() - AGE,
        "count": count,
    }
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_ROWS, values)
        cursor.execute("ANALYZE attachments")


def make_objects(count: int) -> None:
    """Put the objects of ``make_rows(count)`` into the bucket. 200,000 take two or three minutes.

    One form serves all objects, because signing each put would cost more than the put.
    """
    form = get_client().generate_presigned_post(
        get_bucket(),
        "${filename}",
        Fields={"Content-Type": "application/pdf"},
        Conditions=[
            ["starts-with", "$key", "attachments/"],
            {"Content-Type": "application/pdf"},
        ],
        ExpiresIn=24 * 3600,
    )
    del form["fields"]["key"]
    with ThreadPoolExecutor(_THREADS) as threads:
        shares = [range(first, count, _THREADS) for first in range(_THREADS)]
        list(threads.map(lambda numbers: _post(form["url"], form["fields"], numbers), shares))


def _post(url: str, fields: dict[str, str], numbers: range) -> None:
    address = urlsplit(url)
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    shared = "".join(_make_part(f'name="{name}"', value) for name, value in fields.items())
    file = _make_part('name="file"; filename="file.pdf"', CONTENT.decode())
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    for number in numbers:
        key = _make_part('name="key"', make_key(number))
        body = f"{shared}{key}{file}--{_BOUNDARY}--\r\n".encode()
        connection.request("POST", address.path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status != http.HTTPStatus.NO_CONTENT:
            raise RuntimeError(f"{response.status} {answer.decode(errors='replace')}")
    connection.close()


def _make_part(header: str, value: str) -> str:
    return f"--{_BOUNDARY}\r\nContent-Disposition: form-data; {header}\r\n\r\n{value}\r\n"
