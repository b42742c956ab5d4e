import re

import pytest
from django.core.management import call_command
from drf_spectacular.validation import validate_schema

from attachments.api.errors import STATUS_CODES


@pytest.fixture
def schema(api):
    return api().get("/api/schema", headers={"Accept": "application/json"}).json()


def test_the_schema_is_valid_and_made_without_warnings(schema, capsys, tmp_path):
    validate_schema(schema)
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "s.yml"))


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("post", "/api/v1/attachments/presigned", {201, 400, 401, 404, 413, 422, 503}),
        ("post", "/api/v1/attachments/presigned/batch", {201, 400, 401, 404, 413, 422, 503}),
        ("post", "/api/v1/attachments/confirm", {200, 202, 400, 401, 404, 409, 410, 413, 422, 503}),
        ("get", "/api/v1/attachments", {200, 400, 401, 404, 503}),
        ("get", "/api/v1/attachments/{attachment_id}", {200, 401, 404, 503}),
        ("delete", "/api/v1/attachments/{attachment_id}", {204, 401, 403, 404, 409, 503}),
        ("get", "/api/v1/attachments/{attachment_id}/download", {302, 401, 404, 409, 503}),
        ("post", "/api/v1/conversations", {201, 400, 401, 503}),
        ("post", "/api/v1/conversations/{conversation_id}/messages", {201, 400, 401, 404, 409, 503}),
        ("get", "/api/v1/conversations/{conversation_id}/messages", {200, 401, 404, 503}),
        ("post", "/api/v1/auth/token", {200, 400, 401, 503}),
        ("post", "/api/v1/auth/token/refresh", {200, 400, 401, 503}),
        ("get", "/health", {200, 503}),
    ],
)  # fmt: skip
def test_every_answer_is_described(schema, method, path, statuses):
    assert {int(status) for status in schema["paths"][path][method]["responses"]} == statuses


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


def _grandchildren(kind):
    return [leaf for child in kind.__subclasses__() for leaf in child.__subclasses__()]


def test_swagger_ui_needs_no_network(api, client):
    page = api().get("/api/docs", headers={"Accept": "text/html"})

    assert page.status_code == 200
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.content.decode())
    assert len(addresses) > 2
    for address in addresses:
        assert address.startswith("/static/drf_spectacular_sidecar/"), address
