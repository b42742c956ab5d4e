"""Compare what the API answers with what its schema and docs/clients.md say."""

import re
from functools import cache
from typing import Any

from rest_framework.test import APIClient

from tests.documents import read_table

# Not of one call: the description of ApiError.code names them.
GENERAL = {"authentication_failed", "error", "method_not_allowed"}


class CheckedClient(APIClient):
    """Fails the test whose answer has a status or an error code that no document describes."""

    def request(self, **kwargs: Any) -> Any:
        response = super().request(**kwargs)
        check_described(kwargs["REQUEST_METHOD"], kwargs["PATH_INFO"], response)
        return response


def check_described(method: str, path: str, response: Any) -> None:
    if response.status_code < 400 or response.get("Content-Type") != "application/json":
        return
    codes = {error["code"] for error in response.json().get("errors", [])}
    assert codes <= {code for code, status in read_told() if status == str(response.status_code)}
    described = find_described(method, path)
    if described is not None:
        assert str(response.status_code) in described or codes <= GENERAL
        text = described.get(str(response.status_code), {}).get("description", "")
        assert codes - GENERAL <= set(re.findall(r"`(\w+)`", text)), (method, path, codes)


def find_described(method: str, path: str) -> Any:
    """The answers of this call by status; None if there is no such call."""
    for template, operations in make_schema()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            operation = operations.get("get" if method == "HEAD" else method.lower())
            return operation and operation["responses"]
    return None


@cache
def make_schema() -> Any:
    from drf_spectacular.generators import SchemaGenerator

    return SchemaGenerator().get_schema(request=None, public=True)


@cache
def read_told() -> set[tuple[str, str]]:
    """Each error code with its status, as the table for authors of clients has them."""
    return {
        (code.strip("` "), status)
        for codes, status, _ in read_table("Errors", "docs/clients.md")
        for code in codes.split(",")
    }
