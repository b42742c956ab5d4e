import pytest

from attachments import rates
from attachments.rates.process import ProcessWindows

pytestmark = pytest.mark.django_db

LOGIN = "/admin/login/"


@pytest.fixture(autouse=True)
def _limit(settings, monkeypatch):
    monkeypatch.setattr(rates, "_of_this_process", ProcessWindows())
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "TOKEN_RATE": "2/minute"}


def log_in(client, password, **headers):
    return client.post(LOGIN, {"username": "carol", "password": password}, headers=headers)


def test_failed_logins_beyond_the_rate_are_refused(client, staff_user, api):
    assert client.get(LOGIN).status_code == 200
    assert log_in(client, "carol-demo").status_code == 302
    assert [log_in(client, "wrong").status_code for _ in range(2)] == [200, 200]

    refused = log_in(client, "carol-demo")

    assert (refused.status_code, "0" < refused["Retry-After"] <= "60") == (429, True)
    assert refused.content.decode().startswith("Too many logins failed. Try again in ")
    body = {"username": "carol", "password": "carol-demo"}
    assert api().post("/api/v1/auth/token", body, format="json").status_code == 429


def test_while_nobody_counts_the_settings_decide(client, staff_user, settings, tmp_path):
    backend = "django.core.cache.backends.redis.RedisCache"
    location = f"unix://{tmp_path}/nobody.sock"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": location}}
    assert log_in(client, "carol-demo").status_code == 302

    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "RATE_LIMIT_FAIL_OPEN": False}

    refused = log_in(client, "carol-demo")
    assert (refused.status_code, refused.content.decode()) == (
        503,
        "Requests cannot be counted at the moment. Try again later.",
    )
    assert refused["Content-Type"] == "text/plain; charset=utf-8"  # it may be in Russian
    assert refused["Retry-After"] == "5"
