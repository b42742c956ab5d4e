import pytest

from attachments import rates
from attachments.rates.process import ProcessWindows

pytestmark = pytest.mark.django_db

PATHS = ["/admin/login/", "/login"]


@pytest.fixture(autouse=True)
def _limit(settings, monkeypatch):
    monkeypatch.setattr(rates, "_of_this_process", ProcessWindows())
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "TOKEN_RATE": "2/minute"}


@pytest.fixture(params=PATHS)
def log_in(request, client):
    """Log in as carol by one of the forms."""
    return lambda password: client.post(request.param, {"username": "carol", "password": password})


def test_failed_logins_beyond_the_rate_are_refused(log_in, client, staff_user, api):
    assert {client.get(path).status_code for path in PATHS} == {200}
    assert log_in("carol-demo").status_code == 302
    client.logout()
    assert [log_in("wrong").status_code for _ in range(2)] == [200, 200]

    refused = log_in("carol-demo")

    assert (refused.status_code, "0" < refused["Retry-After"] <= "60") == (429, True)
    assert "Too many logins failed. Try again in " in refused.content.decode()
    assert refused["Cache-Control"] == "no-store"
    body = {"username": "carol", "password": "carol-demo"}
    assert api().post("/api/v1/auth/token", body, format="json").status_code == 429


def test_while_nobody_counts_the_settings_decide(log_in, client, staff_user, settings, tmp_path):
    backend = "django.core.cache.backends.redis.RedisCache"
    location = f"unix://{tmp_path}/nobody.sock"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": location}}
    assert log_in("carol-demo").status_code == 302
    client.logout()

    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "RATE_LIMIT_FAIL_OPEN": False}

    refused = log_in("carol-demo")
    assert refused.status_code == 503
    assert "Requests cannot be counted at the moment. Try again later." in refused.content.decode()
    assert refused["Content-Type"].endswith("; charset=utf-8")  # it may be in Russian
    assert refused["Retry-After"] == "5"
