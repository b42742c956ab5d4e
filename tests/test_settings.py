"""The settings that nodus makes of its environment."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from attachments.checks import check_settings

ROOT = Path(__file__).resolve().parent.parent
PRODUCTION = {
    "DJANGO_DEBUG": "false",
    "DJANGO_SECRET_KEY": "Zk3v9qTtX0c2mWb8rLd5yHf7sGj1nPa4uEoKiVxQwRzCyBtN6e",
    "DJANGO_ALLOWED_HOSTS": "chat.example.com,www.example.com",
    "DATABASE_URL": "postgres://nodus:horse-battery@db/nodus",
    "CACHE_URL": "redis://redis:6379/0",
    "S3_ACCESS_KEY": "nodus",
    "S3_SECRET_KEY": "staple-correct",
    **{
        f"S3_{role}_{part}_KEY": f"{role}-{part}"
        for role in ("SIGNER", "READER", "ADMIN")
        for part in ("ACCESS", "SECRET")
    },
}
# AWS, where the machine has a role that stands for the main key.
ON_AWS = {"S3_ENDPOINT_URL": "", "S3_ACCESS_KEY": "", "S3_SECRET_KEY": ""}


@pytest.fixture
def read(monkeypatch):
    """Read the settings in this environment."""

    def read(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(ROOT / "nodus" / "settings.py"))

    return read


def manage(*args, **variables):
    command = [sys.executable, "manage.py", *args]
    environment = {**os.environ, **variables}
    return subprocess.run(
        command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )


# Production


def test_production_is_secure(read):
    values = read(**PRODUCTION)

    assert values["DEBUG"] is False
    assert values["ALLOWED_HOSTS"] == ["chat.example.com", "www.example.com"]
    assert values["SECURE_SSL_REDIRECT"] is True


def test_production_answers_over_https_alone(read, client, settings):
    values = read(**PRODUCTION)
    for name in values:
        if name.startswith(("SECURE_", "SESSION_COOKIE_", "CSRF_COOKIE_")):
            setattr(settings, name, values[name])

    plain = client.get("/admin/login/")
    probe = client.get("/api/docs", headers={"X-Forwarded-Proto": "https"})

    assert (plain.status_code, plain["Location"]) == (301, "https://testserver/admin/login/")
    assert probe["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"
    page = client.get("/admin/login/", headers={"X-Forwarded-Proto": "https"})
    assert page.cookies["csrftoken"]["secure"]
    assert page.cookies["csrftoken"]["samesite"] == "Lax"


def test_djangos_own_deployment_check_finds_nothing():
    check = manage("check", "--deploy", "--fail-level=WARNING", **PRODUCTION)

    assert check.returncode == 0, check.stderr
    assert "no issues" in check.stdout


def test_check_deploy_warns_of_keys_that_are_not_set_and_passes():
    unset = {name: "" for name in PRODUCTION if re.match("S3_(SIGNER|READER|ADMIN)_", name)}

    check = manage("check", "--deploy", **{**PRODUCTION, **unset})

    assert check.returncode == 0
    for warning_id in ("attachments.W001", "attachments.W002", "attachments.W003"):
        assert warning_id in check.stderr
    assert "any user can overwrite any published file" in check.stderr
    assert "W00" not in manage("check", **{**PRODUCTION, **unset}).stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DJANGO_SECRET_KEY", ""),
        ("DJANGO_SECRET_KEY", "insecure-key-for-development-only"),
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "postgres://nodus:nodus@db.example.com/nodus"),
        ("S3_ACCESS_KEY", ""),
        ("S3_SECRET_KEY", ""),
        ("S3_SECRET_KEY", "minioadmin"),
        ("S3_SIGNER_SECRET_KEY", "minioadmin"),
    ],
)
def test_production_refuses_a_secret_that_is_none(read, name, value):
    with pytest.raises(ImproperlyConfigured) as raised:
        read(**{**PRODUCTION, name: value})

    assert str(raised.value) == (
        f"DJANGO_DEBUG is off, and {name} is not set, or is the default that everybody knows."
    )


def test_all_that_is_missing_is_named_at_once(read):
    secrets = ("DJANGO_SECRET_KEY", "DATABASE_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY")

    with pytest.raises(ImproperlyConfigured) as raised:
        read(DJANGO_DEBUG="false", **dict.fromkeys(secrets, ""))

    assert [name for name in secrets if name in str(raised.value)] == list(secrets)


def test_on_aws_a_role_is_enough(read):
    values = read(**{**PRODUCTION, **ON_AWS})

    options = values["STORAGES"]["attachments"]["OPTIONS"]
    assert options["endpoint_url"] is None
    assert not {"access_key", "secret_key", "security_token"} & options.keys()


@pytest.mark.parametrize("missing", ["S3_ACCESS_KEY", "S3_SECRET_KEY"])
def test_on_aws_half_a_key_is_refused(read, missing):
    with pytest.raises(ImproperlyConfigured, match=f"and {missing} is not set"):
        read(**{**PRODUCTION, "S3_ENDPOINT_URL": "", missing: ""})


def test_a_token_of_the_shell_does_not_go_with_a_key_of_ours(read):
    options = read(**PRODUCTION, AWS_SESSION_TOKEN="of-the-shell")["STORAGES"]["attachments"]

    assert options["OPTIONS"]["security_token"] is None


def test_development_needs_nothing(read):
    secrets = ("DJANGO_SECRET_KEY", "DATABASE_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY")

    values = read(DJANGO_DEBUG="true", **dict.fromkeys(secrets, ""))

    assert values["DATABASES"]["default"]["NAME"] == "nodus"


# The app's settings


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("MAX_SIZE_MB", "5", 5),
        ("RETENTION_DAYS", "30", 30),
        ("RETENTION_DAYS", "", None),
        ("PRESIGN_RATE", "100/minute", "100/minute"),
        ("PRESIGN_RATE", "", ""),
        ("CONFIRM_RATE", "5/second", "5/second"),
        ("QUOTA_MB_PER_USER", "500", 500),
        ("TRUSTED_PROXIES", "1", 1),
        ("RATE_LIMIT_FAIL_OPEN", "false", False),
        ("PUBLIC_READ", "false", False),
        ("CDN_URL", "https://cdn.example.com", "https://cdn.example.com"),
        ("ALLOWED_CONTENT_TYPES", "image/png, image/gif", ["image/png", "image/gif"]),
    ],
)
def test_each_key_is_a_variable(read, settings, name, text, value):
    settings.ATTACHMENTS = read(**{f"ATTACHMENTS_{name}": text})["ATTACHMENTS"]

    assert settings.ATTACHMENTS[name] == value
    assert check_settings(None) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MAX_SIZE_MB", "abc"),
        ("MAX_SIZE_MB", ""),
        ("MAX_SIZE_MB", "1.5"),
        ("ORPHAN_DAYS", "-7"),
        ("RETENTION_DAYS", "year"),
    ],
)
def test_what_is_no_number_is_an_error_of_check(read, settings, name, text):
    settings.ATTACHMENTS = read(**{f"ATTACHMENTS_{name}": text})["ATTACHMENTS"]

    (error,) = check_settings(None)

    assert error.msg == f"ATTACHMENTS[{name!r}] must be a whole number above zero, not {text!r}."


def test_check_names_all_that_is_wrong():
    check = manage("check", ATTACHMENTS_MAX_SIZE="5", ATTACHMENTS_UPLOAD_EXPIRES_SECONDS="soon")

    assert check.returncode == 1
    assert "Traceback" not in check.stderr
    assert "ATTACHMENTS has an unknown key 'MAX_SIZE'" in check.stderr
    assert "Did you mean MAX_SIZE_MB?" in check.stderr
    assert "ATTACHMENTS['UPLOAD_EXPIRES_SECONDS'] must be a whole number" in check.stderr


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("CDN_URL", "CDN_URL", "https://cdn.example.com"),
        ("S3_PUBLIC_ENDPOINT_URL", "PUBLIC_ENDPOINT_URL", "https://files.example.com"),
        ("S3_SIGNER_ACCESS_KEY", "SIGNER_ACCESS_KEY", "signer"),
        ("S3_SIGNER_SECRET_KEY", "SIGNER_SECRET_KEY", "secret"),
        ("S3_READER_ACCESS_KEY", "READER_ACCESS_KEY", "reader"),
        ("S3_READER_SECRET_KEY", "READER_SECRET_KEY", "secret"),
        ("S3_ADMIN_ACCESS_KEY", "ADMIN_ACCESS_KEY", "admin"),
        ("S3_ADMIN_SECRET_KEY", "ADMIN_SECRET_KEY", "secret"),
    ],
)
def test_the_contracts_own_names(read, name, key, value):
    assert read(**{name: value})["ATTACHMENTS"][key] == value


def test_origins_and_publicity(read):
    values = read(CORS_ALLOWED_ORIGINS="https://a.example, https://b.example", S3_PUBLIC_READ="0")

    assert values["ATTACHMENTS"]["CORS_ALLOWED_ORIGINS"] == [
        "https://a.example",
        "https://b.example",
    ]
    assert values["ATTACHMENTS"]["PUBLIC_READ"] is False


def test_the_sites_own_origin_is_among_the_defaults(read):
    assert "http://localhost:8000" in read()["ATTACHMENTS"]["CORS_ALLOWED_ORIGINS"]
    assert "http://localhost:8001" in read(PORT="8001")["CORS_ALLOWED_ORIGINS"]
