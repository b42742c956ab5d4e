"""Rates as clients meet them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest
from django.db import connections
from rest_framework.throttling import BaseThrottle

from attachments import rates
from attachments.api.views import AttachmentViewSet
from attachments.rates.process import ProcessWindows
from nodus.policy import ParticipantsPolicy

pytestmark = pytest.mark.django_db

PRESIGNED = "/api/v1/attachments/presigned"
TOKEN = "/api/v1/auth/token"
FILE = {"filename": "a.png", "content_type": "image/png"}


@pytest.fixture(autouse=True)
def limit(settings, monkeypatch):
    """Set the rates; no hit of another test counts."""
    monkeypatch.setattr(rates, "_of_this_process", ProcessWindows())

    def set_rates(**values):
        settings.ATTACHMENTS = {**settings.ATTACHMENTS, **values}

    return set_rates


class UnlimitedStaff(ParticipantsPolicy):
    """A host's policy: staff throttle themselves."""

    def get_limits(self, user):
        limits = super().get_limits(user)
        return replace(limits, presign_rate=None) if user.is_staff else limits


def post(client, path, body, **headers):
    return client.post(path, body, format="json", headers=headers)


def presign(client, body=FILE, **headers):
    return post(client, PRESIGNED, body, **headers)


def log_in(api, password="alice-demo", address="192.0.2.1", **headers):
    body = {"username": "alice", "password": password}
    client = api()
    return client.post(TOKEN, body, format="json", REMOTE_ADDR=address, headers=headers)


def assert_is_throttled(response, most=60):
    assert response.status_code == 429
    body = response.json()
    assert body["errors"][0].pop("detail")
    assert body == {"type": "client_error", "errors": [{"code": "throttled", "attr": None}]}
    assert 0 < int(response["Retry-After"]) <= most


def test_presigns_beyond_the_rate_are_refused(api, user, other_user, limit):
    limit(PRESIGN_RATE="10/minute")

    answers = [presign(api(user)).status_code for _ in range(10)]

    assert answers == [201] * 10
    assert_is_throttled(presign(api(user)))
    assert_is_throttled(post(api(user), f"{PRESIGNED}/batch", {"files": [FILE]}))
    assert presign(api(other_user)).status_code == 201
    assert api(user).get("/api/v1/attachments/usage").status_code == 200


def test_a_batch_counts_once_and_so_does_each_replay_and_refusal(api, user, limit):
    limit(PRESIGN_RATE="4/hour")

    key = {"Idempotency-Key": "k"}
    assert post(api(user), f"{PRESIGNED}/batch", {"files": [FILE] * 20}).status_code == 201
    assert presign(api(user), **key).status_code == 201
    assert presign(api(user), **key)["Idempotent-Replayed"] == "true"
    assert presign(api(user), {"filename": "a"}).status_code == 400

    assert_is_throttled(presign(api(user), **key), most=3600)


def test_who_is_not_signed_in_counts_nowhere(api, user, limit):
    limit(PRESIGN_RATE="1/minute")

    assert [presign(api()).status_code for _ in range(3)] == [401] * 3

    assert presign(api(user)).status_code == 201


def test_confirms_have_a_rate_of_their_own(api, user, limit):
    limit(CONFIRM_RATE="2/minute", PRESIGN_RATE="1/minute")
    body = {"attachment_id": str(uuid4())}
    path = "/api/v1/attachments/confirm"

    assert [post(api(user), path, body).status_code for _ in range(2)] == [404] * 2
    assert_is_throttled(post(api(user), path, body))
    assert presign(api(user)).status_code == 201


def test_the_policy_sets_the_rate_of_each_user(api, user, staff_user, limit):
    limit(PRESIGN_RATE="1/minute", ACCESS_POLICY=f"{__name__}.UnlimitedStaff")

    assert [presign(api(staff_user)).status_code for _ in range(3)] == [201] * 3
    assert [presign(api(user)).status_code for _ in range(2)] == [201, 429]


def test_the_hosts_own_throttles_hold_beside_ours(api, user, limit, monkeypatch):
    class Never(BaseThrottle):
        def allow_request(self, request, view):
            return False

        def wait(self):
            return 7

    limit(PRESIGN_RATE=None)
    monkeypatch.setattr(AttachmentViewSet, "throttle_classes", [Never])

    response = presign(api(user))

    assert_is_throttled(response)
    assert response["Retry-After"] == "7"


def test_while_redis_is_away_the_settings_decide(api, user, limit, settings, tmp_path):
    backend = "django.core.cache.backends.redis.RedisCache"
    location = f"unix://{tmp_path}/nobody.sock"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": location}}
    limit(PRESIGN_RATE="1/minute", TOKEN_RATE="1/minute")
    assert [presign(api(user)).status_code for _ in range(3)] == [201] * 3
    assert [log_in(api, "wrong").status_code for _ in range(3)] == [401] * 3

    limit(RATE_LIMIT_FAIL_OPEN=False)

    for response in (presign(api(user)), log_in(api)):
        assert response.status_code == 503
        assert response.json()["errors"][0]["code"] == "rate_limit_unavailable"
        assert response["Retry-After"] == "5"


# Logins


def test_failed_logins_beyond_the_rate_are_refused(api, user, limit):
    limit(TOKEN_RATE="3/minute")

    assert [log_in(api, "wrong").status_code for _ in range(3)] == [401] * 3

    assert_is_throttled(log_in(api, "wrong"))
    assert_is_throttled(log_in(api))  # or else the answer would tell that a guess was right
    assert log_in(api, address="192.0.2.2").status_code == 200


def test_logins_that_do_not_fail_do_not_count(api, user, limit):
    limit(TOKEN_RATE="2/minute")

    for _ in range(4):
        assert log_in(api).status_code == 200
        assert post(api(), TOKEN, {"username": "alice"}).status_code == 400
    assert log_in(api, "wrong").status_code == 401
    assert log_in(api).status_code == 200  # and does not forgive the failed one
    assert log_in(api, "wrong").status_code == 401

    assert_is_throttled(log_in(api))


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_no_more_passwords_are_judged_at_once_than_the_rate(api, user, limit):
    limit(TOKEN_RATE="5/minute")

    def guess(number):
        try:
            return log_in(api, f"wrong {number}").status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(20) as threads:
        answers = sorted(threads.map(guess, range(20)))

    assert answers == [401] * 5 + [429] * 15


def test_a_header_does_not_change_who_fails(api, user, limit):
    limit(TOKEN_RATE="1/minute")
    assert log_in(api, "wrong").status_code == 401

    assert_is_throttled(log_in(api, **{"X-Forwarded-For": "198.51.100.7"}))


def test_behind_a_proxy_each_client_counts_by_itself(api, user, limit):
    limit(TOKEN_RATE="1/minute", TRUSTED_PROXIES=1)
    first, second = ({"X-Forwarded-For": f"made up, 198.51.100.{n}"} for n in (1, 2))
    assert log_in(api, "wrong", **first).status_code == 401

    assert_is_throttled(log_in(api, **first))
    assert log_in(api, **second).status_code == 200


def test_logins_are_not_limited_without_a_rate(api, user, limit):
    limit(TOKEN_RATE="")

    assert [log_in(api, "wrong").status_code for _ in range(3)] == [401] * 3
