import pytest
from django.core.checks import WARNING
from django.core.management import load_command_class
from psycopg import IsolationLevel

from attachments.checks import (
    check_access_keys,
    check_isolation,
    check_rates,
    check_settings,
    check_storage,
    check_tasks,
    check_time_zones,
)
from attachments.policy import get_access_policy
from tests.commands import IMMEDIATE


def check(settings, **values):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, **values}
    return check_settings(None)


def test_the_project_is_in_order():
    checks = [check_settings, check_storage, check_tasks, check_time_zones]

    assert [check(None) for check in checks] == [[], [], [], []]


def test_a_mistyped_key(settings):
    (error,) = check(settings, MAX_SIZE=5)

    assert error.id == "attachments.E001"
    assert "MAX_SIZE" in error.msg
    assert error.hint == "Did you mean MAX_SIZE_MB?"


# What a value must be, and values that are not so.
WRONG_VALUES = {
    "a whole number above zero": [
        ("MAX_SIZE_MB", "100"),
        ("MAX_SIZE_MB", 0),
        ("MAX_SIZE_MB", True),
        ("UPLOAD_EXPIRES_SECONDS", -1),
        ("RETENTION_DAYS", "year"),
        ("QUOTA_MB_PER_USER", 0),
        ("QUOTA_MB_PER_USER", "100"),
        ("MAX_UNCONFIRMED_PER_USER", -1),
    ],
    "a whole number above zero, or 0 for none": [("TRUSTED_PROXIES", -1)],
    "at most 5120 (S3 takes no more in one piece)": [("MAX_SIZE_MB", 5121)],
    "at most 604800 (a signature holds for a week)": [
        ("UPLOAD_EXPIRES_SECONDS", 7 * 24 * 3600 + 1),
        ("DOWNLOAD_EXPIRES_SECONDS", 7 * 24 * 3600 + 1),
    ],
    "at most 36500 (that is a hundred years)": [
        ("ORPHAN_DAYS", 36_501),
        ("RETENTION_DAYS", 10**12),
    ],
    "a list of strings": [("ALLOWED_CONTENT_TYPES", "image/png"), ("CORS_ALLOWED_ORIGINS", [1])],
    "True or False": [("PUBLIC_READ", "yes")],
    "a string": [("CDN_URL", None)],
    "a rate such as '10/minute', or None for no limit": [
        ("PRESIGN_RATE", 10),
        ("PRESIGN_RATE", 0),
        ("PRESIGN_RATE", "10/minute; 100/day"),
        ("CONFIRM_RATE", "never"),
        ("TOKEN_RATE", "1"),
        ("PRESIGN_RATE", "often"),
        ("PRESIGN_RATE", "0/minute"),
        ("PRESIGN_RATE", "10/m"),
        ("PRESIGN_RATE", "10/fortnight"),
    ],
    "an address such as 'https://files.example.com'": [
        ("CDN_URL", "cdn.example.com"),
        ("CDN_URL", "//cdn.example.com"),
        ("CDN_URL", "https://"),
        ("CDN_URL", "https://cdn.example.com?v=1"),
        ("CDN_URL", "https://cdn.example.com?"),
        ("CDN_URL", "https://cdn.example.com#"),
        ("CDN_URL", "https://cdn.example.com/my files"),
        ("PUBLIC_ENDPOINT_URL", "localhost:9000"),
        ("PUBLIC_ENDPOINT_URL", "http://localhost:port"),
        ("PUBLIC_ENDPOINT_URL", "http://[::1"),
    ],
    "a list of origins such as 'https://app.example.com', without a path": [
        ("CORS_ALLOWED_ORIGINS", ["https://a.example", "app.example.com"]),
        ("CORS_ALLOWED_ORIGINS", ["https://app.example.com/"]),
        ("CORS_ALLOWED_ORIGINS", ["https://somebody@app.example.com"]),
        ("CORS_ALLOWED_ORIGINS", ["https://app.example.com#x"]),
        ("CORS_ALLOWED_ORIGINS", ["//app.example.com"]),
        ("CORS_ALLOWED_ORIGINS", ["https:"]),
        ("CORS_ALLOWED_ORIGINS", ["http://[::1"]),
        ("CORS_ALLOWED_ORIGINS", [""]),
    ],
    "'reject' or 'publish'": [("UNSCANNABLE", "ignore")],
    "unix:///path/to/clamd.ctl or tcp://host:3310": [
        ("CLAMAV_URL", "localhost:3310"),
        ("CLAMAV_URL", "http://localhost:3310"),
        ("CLAMAV_URL", "tcp://"),
        ("CLAMAV_URL", "tcp://clamav:port"),
        ("CLAMAV_URL", "unix://clamd.ctl"),
    ],
}


@pytest.mark.parametrize(
    ("wanted", "key", "value"),
    [(wanted, *item) for wanted, items in WRONG_VALUES.items() for item in items],
)
def test_a_value_of_the_wrong_kind(settings, wanted, key, value):
    (error,) = check(settings, **{key: value})

    assert error.id == "attachments.E002"
    assert error.msg == f"ATTACHMENTS[{key!r}] must be {wanted}, not {value!r}."


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PRESIGN_RATE", "100/minute"),
        ("PRESIGN_RATE", " 5 per 2 hours "),
        ("PRESIGN_RATE", "1/second"),
        ("PRESIGN_RATE", "10 / 15 days"),
        ("PRESIGN_RATE", "10 PER month"),
        ("PRESIGN_RATE", "10per2years"),
        ("PRESIGN_RATE", ""),
        ("PRESIGN_RATE", None),
        ("CONFIRM_RATE", "5/second"),
        ("TOKEN_RATE", ""),
        ("TRUSTED_PROXIES", 0),
        ("QUOTA_MB_PER_USER", 1),
        ("MAX_UNCONFIRMED_PER_USER", 1),
        ("UPLOAD_EXPIRES_SECONDS", 7 * 24 * 3600),
        ("MAX_SIZE_MB", 1),
        ("MAX_SIZE_MB", 5120),
        ("RETENTION_DAYS", 36_500),
        ("CDN_URL", "https://cdn.example.com/files/"),
        ("PUBLIC_ENDPOINT_URL", "http://[::1]:9000"),
        ("UNSCANNABLE", "publish"),
        ("CLAMAV_URL", "unix:///run/clamav/clamd.ctl"),
        ("CLAMAV_URL", "tcp://clamav"),
        ("CLAMAV_URL", "tcp://[::1]:3310"),
        ("CORS_ALLOWED_ORIGINS", ["*", "null", "https://*.example.com", "capacitor://localhost"]),
    ],
)
def test_a_value_at_the_edge(settings, key, value):
    assert check(settings, **{key: value}) == []


def test_moments_without_a_time_zone(settings):
    settings.USE_TZ = False

    (error,) = check_time_zones(None)

    assert error.id == "attachments.E007"
    assert "USE_TZ = True" in error.hint


def test_background_work_that_would_run_in_requests(settings):
    settings.TASKS = {"default": {"BACKEND": IMMEDIATE}}

    (warning,) = check_tasks(None)

    assert warning.id == "attachments.W004"
    assert "inside requests" in warning.msg


@pytest.mark.parametrize("name", ["default", "other"])
def test_a_backend_of_tasks_that_there_is_not(settings, name):
    settings.TASKS = {name: {"BACKEND": "chat.tasks.NoBackend"}}

    (error,) = check_tasks(None)

    assert error.id == "attachments.E009"


def test_a_secret_of_the_wrong_kind_is_not_told(settings):
    (error,) = check(settings, SIGNER_SECRET_KEY=12345678)

    assert error.id == "attachments.E002"
    assert error.msg == "ATTACHMENTS['SIGNER_SECRET_KEY'] must be a string, not int."


@pytest.mark.parametrize("part", ["ACCESS", "SECRET"])
@pytest.mark.parametrize("role", ["SIGNER", "READER", "ADMIN"])
def test_half_a_key(settings, role, part):
    key = {f"{role}_ACCESS_KEY": "", f"{role}_SECRET_KEY": "", f"{role}_{part}_KEY": "half"}

    (error,) = check(settings, **key)

    assert error.id == "attachments.E006"
    assert error.msg == f"ATTACHMENTS has {role}_ACCESS_KEY or {role}_SECRET_KEY, but not both."


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "is not set"),
        ("nosuch.Model", "not installed"),
        ("messaging.Nothing", "not installed"),
        ("garbage", "app_label.Model"),
    ],
)
def test_a_missing_or_wrong_message_model(settings, value, words):
    (error,) = check(settings, MESSAGE_MODEL=value)

    assert error.id == "attachments.E003"
    assert words in error.msg
    assert "AUTH_USER_MODEL" in error.hint


def test_a_type_that_nothing_can_recognise(settings):
    names = ["image/png", "text/x-mine", "application/geo+json", "font/woff2", "application/x-mine"]

    (warning,) = check(settings, ALLOWED_CONTENT_TYPES=names)

    assert (warning.id, warning.level) == ("attachments.W005", WARNING)
    assert "'application/x-mine'" in warning.msg
    assert "application/octet-stream" in warning.hint


def test_rates_that_each_process_counts_by_itself(settings):
    rates = {"PRESIGN_RATE": None, "CONFIRM_RATE": None, "TOKEN_RATE": "30/minute"}
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, **rates}

    (warning,) = check_rates(None)

    assert (warning.id, warning.level) == ("attachments.W007", WARNING)
    assert "CACHE_URL=redis://" in warning.hint
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "TOKEN_RATE": None}
    assert check_rates(None) == []


def test_rates_that_redis_counts(settings):
    backend = "django.core.cache.backends.redis.RedisCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": "redis://redis:6379/0"}}
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PRESIGN_RATE": "10/minute"}

    assert check_rates(None) == []


def test_quotas_need_to_see_what_others_took(settings, monkeypatch):
    options = {"isolation_level": IsolationLevel.REPEATABLE_READ}
    monkeypatch.setitem(settings.DATABASES["default"], "OPTIONS", options)
    assert check_isolation(None) == []

    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "MAX_UNCONFIRMED_PER_USER": 5}

    assert [warning.id for warning in check_isolation(None)] == ["attachments.W008"]


@pytest.mark.parametrize("value", ["nosuch.Scanner", "x", "attachments.policy.get_access_policy"])
def test_a_wrong_scanner(settings, value):
    (error,) = check(settings, SCANNER=value)

    assert error.id == "attachments.E008"
    assert repr(value) in error.msg


@pytest.mark.parametrize("value", ["nosuch.Policy", "attachments.policy.get_access_policy", "x"])
def test_a_wrong_access_policy(settings, value):
    (error,) = check(settings, ACCESS_POLICY=value)

    assert error.id == "attachments.E004"
    assert repr(value) in error.msg


@pytest.mark.parametrize(
    "config",
    [
        None,
        {"BACKEND": "django.core.files.storage.InMemoryStorage"},
        {"BACKEND": "storages.backends.s3.S3Storage"},
        {
            "BACKEND": "storages.backends.s3.S3Storage",
            "OPTIONS": {"bucket_name": "b", "location": "uploads"},
        },
        {
            "BACKEND": "storages.backends.s3.S3Storage",
            "OPTIONS": {"bucket_name": "b", "endpoint_url": "minio:9000"},
        },
    ],
)
def test_a_storage_that_cannot_serve(settings, config):
    storages = {**settings.STORAGES, "attachments": config}
    settings.STORAGES = {alias: value for alias, value in storages.items() if value}

    (error,) = check_storage(None)

    assert error.id == "attachments.E005"
    assert "S3Storage" in error.hint


# With --deploy: the keys of the store

KEYS = {"SIGNER": "signer", "READER": "reader", "ADMIN": "admin"}


@pytest.fixture
def warn(settings):
    """What is said of these access keys."""

    def warn(**keys):
        options = {**settings.STORAGES["attachments"]["OPTIONS"], "access_key": "main"}
        storage = {**settings.STORAGES["attachments"], "OPTIONS": options}
        settings.STORAGES = {**settings.STORAGES, "attachments": storage}
        named = {f"{role}_ACCESS_KEY": key for role, key in {**KEYS, **keys}.items()}
        settings.ATTACHMENTS = {**settings.ATTACHMENTS, **named}
        return {warning.id: warning for warning in check_access_keys(None)}

    return warn


def test_a_key_for_each_purpose_is_in_order(warn):
    assert warn() == {}


@pytest.mark.parametrize("key", ["", "main"])
@pytest.mark.parametrize(
    ("role", "warning_id", "danger"),
    [
        ("SIGNER", "attachments.W001", "any user can overwrite any published file"),
        ("READER", "attachments.W002", "every link shows it"),
        ("ADMIN", "attachments.W003", "may change the bucket's policy"),
    ],
)
def test_a_key_that_is_the_main_one(warn, role, key, warning_id, danger):
    ((found_id, warning),) = warn(**{role: key}).items()

    assert found_id == warning_id
    assert danger in warning.msg
    assert f"S3_{role}_ACCESS_KEY" in warning.hint
    assert "--print-policies" in warning.hint


def test_one_key_for_both_directions(warn):
    assert warn(READER="signer").keys() == {"attachments.W002"}


def test_one_key_for_all(warn):
    unset = dict.fromkeys(KEYS, "")

    assert warn(**unset).keys() == {"attachments.W001", "attachments.W002", "attachments.W003"}


def test_the_keys_of_a_storage_that_is_not_there(settings):
    settings.STORAGES = {"default": settings.STORAGES["default"]}

    assert check_access_keys(None) == []


@pytest.mark.django_db
def test_the_default_policy_shows_and_links_nothing(settings, user, message_of):
    settings.ATTACHMENTS = {
        **settings.ATTACHMENTS,
        "ACCESS_POLICY": "attachments.policy.OwnerOnlyPolicy",
    }
    message_of(user)

    policy = get_access_policy()

    assert not policy.readable_messages(user).exists()
    assert not policy.linkable_messages(user).exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["setup_storage"],
        ["check_storage"],
        ["purge_orphans"],
        ["reconcile_storage"],
        ["backup_attachments", "/nowhere"],
        ["restore_attachments", "/nowhere"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_with_wrong_settings_could_not_work(settings, arguments, capsys):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "SIGNER_SECRET_KEY": ""}
    command = load_command_class("attachments", arguments[0])

    with pytest.raises(SystemExit) as stopped:
        command.run_from_argv(["manage.py", *arguments])

    assert stopped.value.code == 2
    assert "SIGNER_ACCESS_KEY or SIGNER_SECRET_KEY, but not both" in capsys.readouterr().err
