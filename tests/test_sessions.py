"""Cookies are written by whoever sends them."""

import pytest

pytestmark = pytest.mark.django_db

KEYS = [
    '"\\000aaaaaaaaaaa"',
    "'; DROP TABLE x",
    '"\\377aaaaaaaaa"',
    "a" * 4000,
    "",
    "null",
    "a" * 32,
]


@pytest.mark.parametrize("key", KEYS)
def test_no_key_of_a_session_makes_a_page_fail(client, key):
    client.raise_request_exception = False

    answers = {
        address: client.get(address, headers={"Cookie": f"sessionid={key}"}).status_code
        for address in ("/api/v1/attachments", "/admin/")
    }

    assert answers == {"/api/v1/attachments": 401, "/admin/": 302}


def test_a_session_that_somebody_made_up_is_not_begun(client, user):
    made_up = "a" * 32
    client.cookies["sessionid"] = made_up

    client.force_login(user)

    assert client.cookies["sessionid"].value != made_up
    assert client.get("/api/v1/attachments").status_code == 200
