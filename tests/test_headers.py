"""What answers say to browsers and caches besides their bodies."""

import pytest

from tests.access import make_file

pytestmark = pytest.mark.django_db

SAFE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
PAGES = [
    "/",
    "/login",
    "/conversations/newest",
    "/admin/",
    "/admin/login/",
    "/admin/attachments/attachment/",
    "/api/docs",
    "/api/docs?script=",
]
API = ["/api/schema", "/api/v1/attachments", "/api/v1/nothing", "/health", "/nothing", "/static/nothing"]  # fmt: skip


def read_policy(response):
    parts = response["Content-Security-Policy"].split("; ")
    return {name: sources for name, *sources in (part.split(" ") for part in parts)}


@pytest.mark.parametrize("address", [*PAGES, *API])
def test_every_answer_is_safe_to_show(admin_client, client, bucket, address):
    for response in (client.get(address), admin_client.get(address)):
        assert {name: response.get(name) for name in SAFE} == SAFE
        policy = read_policy(response)
        assert policy["default-src"] == ["'self'"]
        assert policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
        assert "script-src" not in policy
        assert "unsafe" not in str(policy)


def test_pages_show_files_from_where_they_are_served(client, settings):
    settings.ATTACHMENTS = {
        **settings.ATTACHMENTS,
        "PUBLIC_ENDPOINT_URL": "https://files.example.com",
        "CDN_URL": "https://cdn.example.com/some/where",
    }

    policy = read_policy(client.get("/admin/login/"))

    files = ["https://cdn.example.com", "https://files.example.com"]
    assert policy["img-src"] == ["'self'", "data:", *files]
    assert policy["object-src"] == policy["frame-src"] == files
    assert policy["media-src"] == policy["connect-src"] == ["'self'", *files]


def test_links_lead_to_the_origins_that_the_policy_names(client, settings, user):
    """Whatever links there are: public, signed, or forced to be saved."""
    file = make_file("ready", user=user)
    client.force_login(user)
    for public_read in (True, False):
        settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_READ": public_read}
        for query in ("", "?disposition=attachment"):
            response = client.get(f"/api/v1/attachments/{file.pk}/download{query}")
            origin = "/".join(response["Location"].split("/")[:3])
            assert origin in read_policy(response)["img-src"]


def test_djangos_pages_for_developers_keep_their_styles(client, settings):
    settings.DEBUG = True

    response = client.get("/nothing")

    assert response.status_code == 404
    assert "Content-Security-Policy" not in response


@pytest.mark.parametrize(
    ("method", "address", "body", "status"),
    [
        ("post", "auth/token", {"username": "alice", "password": "alice-demo"}, 200),
        ("post", "auth/token", {"username": "alice", "password": "wrong"}, 401),
        ("post", "auth/token/refresh", {"refresh": "wrong"}, 401),
        ("post", "attachments/presigned", {"filename": "a", "content_type": "image/png"}, 201),
        ("post", "attachments/presigned", {}, 400),
        ("post", "attachments/presigned/batch", {"files": [{"filename": "a", "content_type": "image/png"}]}, 201),
        ("post", "attachments/confirm", {"attachment_id": "{id}"}, 200),
        ("get", "attachments", None, 200),
        ("get", "attachments/{id}", None, 200),
        ("get", "attachments/{id}/download", None, 302),
        ("get", "attachments/nothing", None, 404),
        ("post", "conversations", {"participants": []}, 201),
        ("get", "conversations/{conversation}/messages", None, 200),
        ("delete", "attachments/{id}", None, 204),
    ],
)  # fmt: skip
def test_nobody_keeps_an_answer_of_the_api(
    api, user, bucket, conversation_of, method, address, body, status
):
    file = make_file("ready", user=user)
    address = address.format(id=file.pk, conversation=conversation_of(user).pk)
    body = body and {
        name: str(file.pk) if value == "{id}" else value for name, value in body.items()
    }

    response = getattr(api(user), method)(f"/api/v1/{address}", body, format="json")

    assert response.status_code == status
    assert response["Cache-Control"] == "no-store"
    assert "Accept-Language" in response["Vary"]


def test_nobody_keeps_a_page(admin_client, admin_user, user, conversation_of):
    file = make_file("ready", user=user)
    chat = conversation_of(admin_user)

    for address in (
        "",
        "conversations/newest",
        f"conversations/{chat.pk}",
        "admin/",
        f"admin/attachments/attachment/{file.pk}/change/",
        "admin/attachments/attachment/",
    ):
        response = admin_client.get(f"/{address}")
        assert "no-store" in response["Cache-Control"]
        assert {"Cookie", "Accept-Language"} <= set(response["Vary"].split(", "))
