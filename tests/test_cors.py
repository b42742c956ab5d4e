"""Browsers may call the API from the named origins and from no others."""

import pytest

ORIGIN = "http://localhost:5173"
PRESIGNED = "/api/v1/attachments/presigned"


def ask(client, origin):
    """Send the preflight request of a browser that wants to post JSON with a token and a key."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }
    return client.options(PRESIGNED, headers=headers)


def test_a_named_origin_may_call(client):
    answer = ask(client, ORIGIN)

    assert answer["Access-Control-Allow-Origin"] == ORIGIN
    allowed = answer["Access-Control-Allow-Headers"].split(", ")
    assert {"authorization", "content-type", "idempotency-key"} <= set(allowed)


def test_another_origin_may_not(client):
    assert "Access-Control-Allow-Origin" not in ask(client, "https://evil.example")


@pytest.mark.django_db
def test_scripts_may_read_what_the_contract_says_in_headers(api, user):
    request = {"filename": "a.png", "content_type": "image/png"}
    headers = {"Origin": ORIGIN, "Idempotency-Key": "1"}
    client = api(user)
    client.post(PRESIGNED, request, format="json", headers=headers)

    answer = client.post(PRESIGNED, request, format="json", headers=headers)

    assert answer["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" in answer["Access-Control-Expose-Headers"]
