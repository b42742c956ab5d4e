import json
import re

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from drf_spectacular.validation import validate_schema

from attachments.api.errors import STATUS_CODES
from tests.described import GENERAL

NO_ID = "2f9f1e6c-5b1c-4f57-9d35-0c7f4a1f8a11"


@pytest.fixture
def schema(api):
    return api().get("/api/schema", headers={"Accept": "application/json"}).json()


def test_the_schema_is_valid_and_made_without_warnings(schema, capsys, tmp_path):
    validate_schema(schema)
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "s.yml"))


def test_operations_stand_in_the_order_of_use_under_their_tags(schema):
    operations = [
        (operation["tags"], operation["operationId"])
        for methods in schema["paths"].values()
        for operation in methods.values()
    ]

    assert operations == [
        (["Tokens"], "obtainToken"),
        (["Tokens"], "refreshToken"),
        (["Attachments"], "presignAttachment"),
        (["Attachments"], "presignAttachments"),
        (["Attachments"], "getUsage"),
        (["Attachments"], "confirmAttachment"),
        (["Attachments"], "listAttachments"),
        (["Attachments"], "downloadAttachment"),
        (["Attachments"], "getAttachment"),
        (["Attachments"], "deleteAttachment"),
        (["Conversations"], "createConversation"),
        (["Conversations"], "createMessage"),
        (["Conversations"], "listMessages"),
        (["Health"], "getHealth"),
        (["Health"], "getLiveness"),
        (["Health"], "getReadiness"),
    ]


def test_each_call_describes_these_statuses_and_no_other(schema):
    """A status that never comes is seen here: the client of the tests only finds missing ones."""
    statuses = {
        operation["operationId"]: " ".join(sorted(operation["responses"]))
        for methods in schema["paths"].values()
        for operation in methods.values()
    }

    assert statuses == {
        "obtainToken": "200 400 401 413 415 429 503",
        "refreshToken": "200 400 401 413 415 503",
        "presignAttachment": "201 400 401 403 404 413 415 422 429 503",
        "presignAttachments": "201 400 401 403 404 413 415 422 429 503",
        "getUsage": "200 401 503",
        "confirmAttachment": "200 202 400 401 403 404 409 410 413 415 422 429 503",
        "listAttachments": "200 400 401 404 503",
        "downloadAttachment": "302 400 401 404 409 503",
        "getAttachment": "200 401 404 503",
        "deleteAttachment": "204 401 403 404 409 503",
        "createConversation": "201 400 401 403 413 415 503",
        "createMessage": "201 400 401 403 404 409 413 415 503",
        "listMessages": "200 401 404 503",
        "getHealth": "200 503",
        "getLiveness": "200",
        "getReadiness": "200 503",
    }


def test_components_have_formats_and_names_of_their_own(schema):
    schemas = schema["components"]["schemas"]
    attachment = schemas["Attachment"]["properties"]
    formats = {name: value.get("format") for name, value in attachment.items()}

    assert formats == {
        **dict.fromkeys(attachment),
        "id": "uuid",
        "user_id": "int64",
        "message_id": "int64",
        "size_bytes": "int64",
        "checksum_sha256": "byte",
        "created_at": "date-time",
        "confirmed_at": "date-time",
        "download_url": "uri",
        "download_expires_at": "date-time",
        "thumbnail_url": "uri",
    }
    assert schemas["PresignRequest"]["properties"]["size_bytes"]["format"] == "int64"
    clashing = {"error", "exception", "object", "request", "response", "type", "file", "map", "set"}
    assert not clashing & {name.lower() for name in schemas}


@pytest.mark.django_db
def test_the_examples_run_as_offered(api, user, schema, upload):
    """In their order; ids in paths, and that of the confirm, are those of earlier answers."""
    client, ids = api(user), {"conversation_id": None, "attachment_id": upload(user).attachment_id}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            if operation["operationId"] == "refreshToken" or not content:
                continue
            (example,) = content["application/json"]["examples"].values()
            body = example["value"] | {key: ids[key] for key in example["value"] if key in ids}
            answer = client.generic(
                method.upper(),
                path.format(**ids),
                json.dumps(body, default=str),
                "application/json",
            )
            assert answer.status_code in (200, 201), answer.content
            if operation["operationId"] == "createConversation":
                ids["conversation_id"] = answer.json()["id"]


WRONG = [
    None, "", "\0", "\ud800", "x" * 20_000, "9" * 1001, True, -1, 0, 1.5, 2**70, -(2**70), {}, {"a": 1},
    [], [None], ["x"], [2**70], ["9" * 1001], [NO_ID] * 1001, [{}], [{"filename": None}],
]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("auth/token", {"username": "alice", "password": "x"}),
        ("auth/token/refresh", {"refresh": "x"}),
        ("attachments/presigned", {"filename": "a", "content_type": "image/png", "size_bytes": 1, "checksum_sha256": None, "message_id": None, "metadata": {}}),
        ("attachments/presigned/batch", {"files": [{"filename": "a", "content_type": "image/png"}]}),
        ("attachments/confirm", {"attachment_id": NO_ID, "message_id": None, "metadata": {}}),
        ("conversations", {"participants": []}),
        ("conversations/1/messages", {"text": "", "attachment_ids": []}),
    ],
)  # fmt: skip
def test_no_body_gets_an_error_that_is_not_described(api, user, path, body):
    """The client of the tests compares each answer with the schema and docs/clients.md."""
    client = api(user)
    variants = [{**body, name: wrong} for name in body for wrong in WRONG]
    variants += [{key: body[key] for key in body if key != name} for name in body]

    for variant in [*variants, [], None, "x"]:
        answer = client.generic("POST", f"/api/v1/{path}", json.dumps(variant), "application/json")
        assert answer.status_code < 500, variant


def test_every_error_code_is_described(schema):
    text = str(schema["paths"])

    leaves = {
        leaf
        for kind in STATUS_CODES
        for leaf in [kind, *kind.__subclasses__(), *_grandchildren(kind)]
    }
    for error in leaves:
        if "code" in vars(error):
            assert error.code in text
    assert all(code in str(schema["components"]) for code in GENERAL)


def _grandchildren(kind):
    return [leaf for child in kind.__subclasses__() for leaf in child.__subclasses__()]


def test_swagger_ui_needs_no_network(api, client):
    page = api().get("/api/docs", headers={"Accept": "text/html"})

    assert page.status_code == 200
    script = "/api/docs?script="
    assert '"persistAuthorization": true' in api().get(script).content.decode()
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.content.decode())
    assert script in addresses
    for address in set(addresses) - {script}:
        assert address.startswith(("/static/drf_spectacular_sidecar/", "/static/nodus/")), address
        assert finders.find(address.removeprefix("/static/")), address
