"""Bearer tokens: one error for all that may be wrong, and no life after the user's."""

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from nodus.authentication import BearerAuthentication, get_token_user

pytestmark = pytest.mark.django_db

LIST = "/api/v1/attachments"


@pytest.fixture
def tokens(api, user):
    body = {"username": user.username, "password": "alice-demo"}
    return api().post("/api/v1/auth/token", body, format="json").json()


def ask(api, access):
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {access}")
    return client.get(LIST)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_has_any_case(api, tokens, scheme):
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"{scheme} {tokens['access']}")

    assert client.get(LIST).status_code == 200


def refresh(api, token):
    return api().post("/api/v1/auth/token/refresh", {"refresh": token}, format="json")


def assert_is_dead(response):
    body = response.json()
    detail = body["errors"][0].pop("detail")
    assert response.status_code == 401
    assert body == {"type": "client_error", "errors": [{"code": "token_not_valid", "attr": None}]}
    assert detail
    assert response["WWW-Authenticate"].startswith("Bearer")


def delete(user):
    user.delete()


def deactivate(user):
    user.is_active = False
    user.save()


def change_password(user):
    user.set_password("another")
    user.save()


def test_a_token_opens_the_api_and_can_be_refreshed(api, tokens):
    assert ask(api, tokens["access"]).status_code == 200

    response = refresh(api, tokens["refresh"])

    assert (response.status_code, response.json().keys()) == (200, {"access"})
    assert ask(api, response.json()["access"]).status_code == 200


@pytest.mark.parametrize("change", [delete, deactivate, change_password])
def test_tokens_die_with_what_they_stand_for(api, user, tokens, change):
    refreshed = refresh(api, tokens["refresh"]).json()["access"]

    change(user)

    assert_is_dead(ask(api, tokens["access"]))
    assert_is_dead(ask(api, refreshed))
    assert_is_dead(refresh(api, tokens["refresh"]))


def test_what_is_no_access_token_gives_the_same_error(api, tokens):
    for token in ("nonsense", "two parts", tokens["refresh"], tokens["access"][:-2]):
        assert_is_dead(ask(api, token))
    for token in ("nonsense", tokens["access"], tokens["refresh"][:-2]):
        assert_is_dead(refresh(api, token))


def test_a_token_that_was_taken_dies_when_its_time_is_over(api, tokens, monkeypatch):
    assert ask(api, tokens["access"]).status_code == 200

    later = timezone.now() + timedelta(hours=1, seconds=1)
    monkeypatch.setattr("nodus.authentication.aware_utcnow", lambda: later)

    assert_is_dead(ask(api, tokens["access"]))


def test_a_token_is_verified_once_and_each_request_has_its_own(user, monkeypatch):
    decode, verified = TokenBackend.decode, []

    def watch(self, token, *args, **kwargs):
        verified.append(token)
        return decode(self, token, *args, **kwargs)

    monkeypatch.setattr(TokenBackend, "decode", watch)
    raw_token = str(AccessToken.for_user(user)).encode()

    first = BearerAuthentication().get_validated_token(raw_token)
    first["user_id"] = "1000000"
    second = BearerAuthentication().get_validated_token(raw_token)

    assert second["user_id"] == str(user.pk)
    assert verified == [raw_token]


def test_all_that_the_api_asks_of_the_user_is_one_query(user, django_assert_num_queries):
    with django_assert_num_queries(1) as queries:
        found = get_token_user(AccessToken.for_user(user))
        facts = (found.pk, found.is_active, found.is_staff, found.is_superuser)

    assert facts == (user.pk, True, False, False)
    assert "email" not in queries[0]["sql"]


def encode(value):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(text).rstrip(b"=").decode()


def forge(token, *, algorithm="HS256", key=None, digest=hashlib.sha256, **claims):
    """The same token with other claims, signed in another way. ``digest=None`` signs nothing."""
    payload = {name: value for name, value in {**token.payload, **claims}.items() if value != "-"}
    signed = f"{encode({'alg': algorithm, 'typ': 'JWT'})}.{encode(payload)}"
    key = settings.SECRET_KEY.encode() if key is None else key
    signature = hmac.digest(key, signed.encode(), digest) if digest else b""
    return f"{signed}.{encode(signature)}"


FORGERIES = {
    "expired": {"exp": int(time.time()) - 1},
    "without an end": {"exp": "-"},
    "of no type": {"token_type": "-"},
    "of another type": {"token_type": "sliding"},
    "without an id": {"jti": "-"},
    "of nobody": {"user_id": "-"},
    "of somebody who never was": {"user_id": "999999999"},
    "of a number that no id is": {"user_id": "9" * 30},
    "of no number": {"user_id": "alice"},
    "of a list": {"user_id": [1]},
    "without its password": {"hash_password": "-"},
    "of another password": {"hash_password": "0" * 32},
    "not signed": {"algorithm": "none", "digest": None},
    "said to be signed by nothing": {"algorithm": "none"},
    "signed by another key": {"key": b"another"},
    "signed by an empty key": {"key": b""},
    "signed in another way": {"algorithm": "HS512", "digest": hashlib.sha512},
    "signed otherwise than it says": {"digest": hashlib.sha512},
    "signed by a public key as a secret": {"algorithm": "RS256", "key": b"-----BEGIN PUBLIC KEY-----"},
    "of an algorithm that is none": {"algorithm": None},
    "of an algorithm that is a list": {"algorithm": ["HS256"]},
}  # fmt: skip


@pytest.mark.parametrize("changes", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_token_gives_the_same_error(api, user, changes):
    assert ask(api, forge(AccessToken.for_user(user))).status_code == 200
    assert refresh(api, forge(RefreshToken.for_user(user))).status_code == 200

    assert_is_dead(ask(api, forge(AccessToken.for_user(user), **changes)))
    assert_is_dead(refresh(api, forge(RefreshToken.for_user(user), **changes)))


@pytest.mark.parametrize("part", [b"[" * 10_000, b"{", b"[]", b"null", b"\xff", b"1" * 10_000])
def test_a_token_of_broken_json_gives_the_same_error(api, user, part):
    header, payload, signature = str(AccessToken.for_user(user)).split(".")

    for token in (f"{encode(part)}.{payload}.{signature}", f"{header}.{encode(part)}.{signature}"):
        assert_is_dead(ask(api, token))
        assert_is_dead(refresh(api, token))


@pytest.fixture
def hashing(monkeypatch):
    """The passwords that were hashed."""
    hashed = []
    encode_password = MD5PasswordHasher.encode

    def note(hasher, password, salt):
        hashed.append(password)
        return encode_password(hasher, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", note)
    return hashed


@pytest.mark.parametrize("path", ["/api/v1/auth/token", "/admin/login/"])
def test_a_login_does_the_same_work_for_whoever_does_not_exist(
    client, user, staff_user, other_user, django_user_model, hashing, path
):
    """Hashing takes a thousand times longer than all else: it would tell which names exist."""
    other_user.is_active = False
    other_user.save()
    django_user_model.objects.create_user("dave")  # has no password
    del hashing[:]
    answers = {}

    for name in ("nobody", "alice", "carol", "bob", "dave"):
        body = {"username": name, "password": "wrong"}
        form = {"content_type": "application/json"} if path.startswith("/api") else {}
        with CaptureQueriesContext(connection) as queries:
            response = client.post(path, body, **form)
        statements = [query["sql"].replace(name, "?") for query in queries]
        content = response.content.decode().replace(name, "?")
        answers[name] = (response.status_code, content, statements, len(hashing))
        del hashing[:]

    assert answers["nobody"][3] == 1
    if path == "/admin/login/":  # each form has a CSRF token of its own
        answers = {name: (code, *rest) for name, (code, _content, *rest) in answers.items()}
    assert all(answer == answers["nobody"] for answer in answers.values())
