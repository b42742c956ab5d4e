"""An id of somebody else's looks like an id of nothing: in the answer, and in the work for it.

No clock is used: the same statements in the same order, and the same calls of the store, take the
same time.
"""

import re
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from tests.access import STATUSES, make_file

pytestmark = pytest.mark.django_db

PRESIGN = {"filename": "a.png", "content_type": "image/png"}
# By what the id is of. ``{id}`` in a path or a body is the id; ``{mine}`` is the caller's own.
CALLS = {
    "attachment": [
        ("GET", "attachments/{id}", None),
        ("DELETE", "attachments/{id}", None),
        ("GET", "attachments/{id}/download", None),
        ("GET", "attachments/{id}/download?disposition=attachment", None),
        ("POST", "attachments/confirm", {"attachment_id": "{id}"}),
        ("POST", "attachments/confirm", {"attachment_id": "{id}", "message_id": "{my_message}"}),
        ("POST", "conversations/{my_conversation}/messages", {"text": "", "attachment_ids": ["{id}"]}),
        ("POST", "conversations/{my_conversation}/messages", {"text": "", "attachment_ids": ["{mine}", "{id}"]}),
    ],
    "message": [
        ("POST", "attachments/presigned", {**PRESIGN, "message_id": "{id}"}),
        ("POST", "attachments/presigned/batch", {"files": [PRESIGN, {**PRESIGN, "message_id": "{id}"}]}),
        ("POST", "attachments/confirm", {"attachment_id": "{mine}", "message_id": "{id}"}),
        ("GET", "attachments?message_id={id}", None),
        ("GET", "attachments?message_id={id}&status=pending", None),
    ],
    "conversation": [
        ("GET", "conversations/{id}/messages", None),
        ("POST", "conversations/{id}/messages", {"text": "hello"}),
        ("POST", "conversations/{id}/messages", {"text": "hello", "attachment_ids": ["{mine}"]}),
    ],
}  # fmt: skip


@pytest.fixture
def ask(bucket, api, user, other_user, message_of, store_calls):
    """What the API answers to the other user, and the statements and calls that it made."""
    message = message_of(other_user)
    mine = make_file("ready", user=other_user)
    names = {
        "mine": str(mine.pk),
        "my_message": str(message.pk),
        "my_conversation": str(message.conversation_id),
    }
    client = api(other_user)

    def ask(method: str, path: str, body: Any, some_id: Any) -> tuple[Any, ...]:
        ids = {**names, "id": str(some_id)}
        with CaptureQueriesContext(connection) as queries, transaction.atomic():
            response = client.generic(
                method, f"/api/v1/{fill(path, ids)}", fill(repr(body), ids).replace("'", '"'),
                "application/json",
            )  # fmt: skip
            transaction.set_rollback(True)
        statements = [hide_values(query["sql"]) for query in queries]
        content = response.content.decode().replace(str(some_id), "{id}")
        own = ("Content-Length", "X-Request-ID")
        headers = {name: value for name, value in response.items() if name not in own}
        return response.status_code, content, headers, statements, store_calls()

    return ask


def fill(text: str, ids: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], text)


def hide_values(sql: str) -> str:
    sql = re.sub(r"'[^']*'(::\w+)?", "?", sql)
    return re.sub(r"\b\d+\b", "?", re.sub(r'"s\d+_x\d+"|"\w+_x\d+"', "savepoint", sql))


@pytest.mark.parametrize("status", STATUSES)
def test_others_attachments_look_like_none(ask, user, message_of, status):
    for hung_on in (None, message_of(user)):
        foreign = make_file(status, user=user, message=hung_on)
        for call in CALLS["attachment"]:
            there, none = ask(*call, foreign.pk), ask(*call, uuid4())
            assert there == none, call
            assert there[0] == 404, call


@pytest.mark.parametrize("status", [status for status in STATUSES if status != "ready"])
def test_readers_of_a_message_do_not_see_what_is_not_ready(
    ask, user, other_user, message_of, status
):
    foreign = make_file(status, user=user, message=message_of(user, other_user))

    for call in CALLS["attachment"]:
        assert ask(*call, foreign.pk) == ask(*call, uuid4()), call


def test_others_messages_look_like_none(ask, user, message_of):
    message = message_of(user)
    make_file("ready", user=user, message=message)

    for call in CALLS["message"]:
        there, none = ask(*call, message.pk), ask(*call, message.pk + 10**6)
        assert there == none, call
        assert there[0] == (200 if call[0] == "GET" else 404)


def test_others_conversations_look_like_none(ask, user, message_of):
    conversation_id = message_of(user).conversation_id

    for call in CALLS["conversation"]:
        there, none = ask(*call, conversation_id), ask(*call, conversation_id + 10**6)
        assert there == none, call
        assert there[0] == 404


def test_the_comparison_notices_other_work(ask, other_user):
    mine = make_file("ready", user=other_user)

    found, none = (ask("GET", "attachments/{id}", None, pk) for pk in (mine.pk, uuid4()))

    assert (found[0], none[0]) == (200, 404)
    assert len(found[3]) == len(none[3]) - 1  # the host's policy is not asked


def test_no_call_that_takes_an_id_is_left_out():
    from tests.described import make_schema

    compared = {re.sub(r"\{\w+\}", "{}", path.partition("?")[0]) for calls in CALLS.values() for _, path, _ in calls}  # fmt: skip
    taking = set()
    schema = make_schema()
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            text = str(operation.get("parameters", ""))
            for content in operation.get("requestBody", {}).get("content", {}).values():
                name = content["schema"]["$ref"].rpartition("/")[2]
                text += str(schema["components"]["schemas"][name])
            if re.search(r"(attachment|message|conversation)_ids?'", text):
                taking.add(re.sub(r"\{\w+\}", "{}", path.removeprefix("/api/v1/")))

    assert taking == compared - {"attachments/presigned/batch"}  # described by a $ref of its own
