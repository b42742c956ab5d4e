"""The system checks of the settings: what ``manage.py check`` says, without network calls."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.core.files.storage.handler import InvalidStorageError
from django.utils.module_loading import import_string
from storages.backends.s3 import S3Storage

from attachments.conf import DEFAULTS, conf
from attachments.media import can_strip
from attachments.policy import AccessPolicy
from attachments.rates import find_redis
from attachments.rules.addresses import is_address
from attachments.rules.content_types import get_file_type
from attachments.rules.setting_values import explain_wrong_value
from attachments.task_framework import works_in_requests


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check the dict ``ATTACHMENTS``: its keys and types, and the model and class that it names."""
    configured: dict[str, Any] = getattr(settings, "ATTACHMENTS", {})
    return [
        *_check_keys(configured),
        *_check_values(configured),
        *_check_pairs(),
        *_check_message_model(),
        *_check_access_policy(),
        *_check_content_types(conf["ALLOWED_CONTENT_TYPES"]),
        *_check_scanner(),
        *_check_strippable(conf["ALLOWED_CONTENT_TYPES"]),
    ]


def _check_keys(configured: dict[str, Any]) -> list[CheckMessage]:
    errors: list[CheckMessage] = []
    for key in configured.keys() - DEFAULTS.keys():
        close = get_close_matches(key, DEFAULTS, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"Known keys: {', '.join(DEFAULTS)}."
        errors.append(
            Error(f"ATTACHMENTS has an unknown key {key!r}.", hint=hint, id="attachments.E001")
        )
    return errors


def _check_values(configured: dict[str, Any]) -> list[CheckMessage]:
    errors: list[CheckMessage] = []
    for key, default in DEFAULTS.items():
        value = configured.get(key, default)
        wanted = explain_wrong_value(key, value, default)
        if wanted:
            is_secret = key.endswith("_KEY") or key == "METRICS_ALLOWED"
            shown = type(value).__name__ if is_secret else repr(value)
            errors.append(
                Error(f"ATTACHMENTS[{key!r}] must be {wanted}, not {shown}.", id="attachments.E002")
            )
    return errors


def _check_pairs() -> list[CheckMessage]:
    """An access key and its secret are set together."""
    return [
        Error(
            f"ATTACHMENTS has {role}_ACCESS_KEY or {role}_SECRET_KEY, but not both.",
            hint="Set the other one too, or neither: then the key in STORAGES is used.",
            id="attachments.E006",
        )
        for role in ("SIGNER", "READER", "ADMIN")
        if bool(conf[f"{role}_ACCESS_KEY"]) is not bool(conf[f"{role}_SECRET_KEY"])
    ]


def _check_message_model() -> list[CheckMessage]:
    name = conf["MESSAGE_MODEL"]
    if not name:
        problem = "ATTACHMENTS['MESSAGE_MODEL'] is not set."
    else:
        try:
            apps.get_model(name)
        except ValueError:
            problem = f"ATTACHMENTS['MESSAGE_MODEL'] is {name!r}, not 'app_label.Model'."
        except LookupError:
            problem = f"ATTACHMENTS['MESSAGE_MODEL'] names {name!r}, which is not installed."
        else:
            return []
    hint = (
        "Name the model that attachments hang on, as AUTH_USER_MODEL does: "
        "ATTACHMENTS = {'MESSAGE_MODEL': 'chat.Message'}, with its app in INSTALLED_APPS. "
        "Set it before the first migrate."
    )
    return [Error(problem, hint=hint, id="attachments.E003")]


def _check_access_policy() -> list[CheckMessage]:
    path = conf.access_policy
    try:
        policy = import_string(path)
    except ImportError as error:
        problem = f"ATTACHMENTS['ACCESS_POLICY'] names {path!r}, which cannot be imported: {error}"
    else:
        if isinstance(policy, type) and issubclass(policy, AccessPolicy):
            return []
        problem = f"ATTACHMENTS['ACCESS_POLICY'] names {path!r}, which is not an AccessPolicy."
    return [Error(problem, hint="Subclass attachments.policy.AccessPolicy.", id="attachments.E004")]


def _check_content_types(allowed: Any) -> list[CheckMessage]:
    if not isinstance(allowed, list | tuple):
        return []  # _check_values explains
    hint = (
        "The README lists the known types. application/octet-stream takes any file, and is "
        "always a download."
    )
    return [
        checks.Warning(
            f"ATTACHMENTS['ALLOWED_CONTENT_TYPES'] has {name!r}. Nothing can recognise its files: "
            "each will be rejected.",
            hint=hint,
            id="attachments.W005",
        )
        for name in allowed
        if isinstance(name, str) and get_file_type(name) is None
    ]


def _check_scanner() -> list[CheckMessage]:
    path = conf.scanner
    if not path:
        return []
    try:
        if callable(getattr(import_string(path), "scan", None)):
            return []
        problem = f"ATTACHMENTS['SCANNER'] names {path!r}, which has no method scan."
    except ImportError as error:
        problem = f"ATTACHMENTS['SCANNER'] names {path!r}, which cannot be imported: {error}"
    hint = "See “Scanning for viruses” in the README."
    return [Error(problem, hint=hint, id="attachments.E008")]


def _check_strippable(allowed: Any) -> list[CheckMessage]:
    if not conf["STRIP_METADATA"] or not isinstance(allowed, list | tuple):
        return []
    return [
        checks.Warning(
            f"ATTACHMENTS['STRIP_METADATA'] is on, and nothing can take metadata out of {name!r}: "
            "each such file will be rejected.",
            hint="Take the type out of ALLOWED_CONTENT_TYPES, or turn STRIP_METADATA off.",
            id="attachments.W006",
        )
        for name in allowed
        if isinstance(name, str) and name.startswith("image/") and not can_strip(name)
    ]


def check_storage(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check that ``STORAGES["attachments"]`` is an S3 backend, and one that changes no key."""
    hint = "See STORAGES in the README: storages.backends.s3.S3Storage with bucket_name."
    try:
        backend = storages["attachments"]
    except InvalidStorageError as error:
        return [Error(str(error), hint=hint, id="attachments.E005")]
    if not isinstance(backend, S3Storage):
        problem = "STORAGES['attachments'] is not a django-storages S3 backend."
    elif not backend.bucket_name:
        problem = "STORAGES['attachments'] has no bucket_name."
    elif backend.location:
        problem = "STORAGES['attachments'] has a location: keys and bucket policy would not match."
    elif backend.endpoint_url and not is_address(backend.endpoint_url):
        problem = (
            f"STORAGES['attachments'] has the endpoint_url {backend.endpoint_url!r}, which is no "
            "address such as 'https://minio.example.com'."
        )
    else:
        return []
    return [Error(problem, hint=hint, id="attachments.E005")]


def check_time_zones(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Leases, forms and links end at moments that other machines read too."""
    if settings.USE_TZ:
        return []
    hint = "Set USE_TZ = True. TIME_ZONE still says in which zone Django shows times."
    return [Error("attachments needs USE_TZ.", hint=hint, id="attachments.E007")]


def check_tasks(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Background work is done by a worker. A backend that works in the request gets none of it."""
    try:
        if not works_in_requests():
            return []
    except ImproperlyConfigured as error:
        return [Error(f"TASKS has no usable default: {error}", id="attachments.E009")]
    problem = (
        "TASKS names the ImmediateBackend, or nothing: background work would run inside requests. "
        "Of large files and missing checksums, purge_orphans does it then, and nobody sooner."
    )
    hint = "Name a backend that has workers, as django_tasks_db.DatabaseBackend has db_worker."
    return [checks.Warning(problem, hint=hint, id="attachments.W004")]


def check_rates(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Rates hold across processes where one Redis counts."""
    rates = (conf.presign_rate, conf.confirm_rate, conf.token_rate)
    if not any(rates) or find_redis() is not None:
        return []
    problem = (
        "Each process counts rates by itself, as CACHES['default'] is not Redis: with two "
        "processes, twice as many requests pass."
    )
    hint = (
        "Use django.core.cache.backends.redis.RedisCache (CACHE_URL=redis://host:6379/0 in the "
        "environment of nodus), or set PRESIGN_RATE, CONFIRM_RATE and TOKEN_RATE to None."
    )
    return [checks.Warning(problem, hint=hint, id="attachments.W007")]


def check_isolation(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Whoever waited for another's presign has to see what that took."""
    has_quotas = conf.quota_bytes is not None or conf.max_unconfirmed is not None
    options = settings.DATABASES["default"].get("OPTIONS", {})
    if not has_quotas or options.get("isolation_level") != _REPEATABLE_READ:
        return []
    problem = "DATABASES['default'] is read REPEATABLE READ: presigns at once may pass a quota."
    hint = "Use READ COMMITTED, PostgreSQL's default, or SERIALIZABLE."
    return [checks.Warning(problem, hint=hint, id="attachments.W008")]


_REPEATABLE_READ = 3  # as psycopg numbers it

# Of each key that clients or servers should not share: what happens if they do.
_DANGERS = {
    "SIGNER": (
        "attachments.W001",
        "The main key signs upload forms, and every form shows it. On MinIO whoever knows an "
        "access key can write what it may write (GHSA-9c4q-hq6p-c237): any user can overwrite any "
        "published file.",
        "may only put to pending/",
    ),
    "READER": (
        "attachments.W002",
        "The key that signs private links may write too, and every link shows it. On MinIO whoever "
        "knows an access key can write what it may write (GHSA-9c4q-hq6p-c237); on MinIO and Ceph "
        "a form of a key that may also read lets a client copy private files.",
        "may only get attachments/ and thumbnails/",
    ),
    "ADMIN": (
        "attachments.W003",
        "The key of setup_storage is the main key, or one that clients see. If it may change the "
        "bucket's policy, whoever takes it can open the whole bucket to anybody.",
        "may set up the bucket",
    ),
}


def check_access_keys(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """With ``--deploy``: each of the keys that clients see, and the one of the set-up, is its own.

    docs/security.md has the reasons.
    """
    try:
        main = getattr(storages["attachments"], "access_key", None)
    except InvalidStorageError:
        return []  # check_storage explains
    warnings, others = [], {main}
    for role, danger in _DANGERS.items():
        key = conf[f"{role}_ACCESS_KEY"] or main
        if key in others:
            warnings.append(_warn_of_key(role, *danger))
        others.add(key)
    return warnings


def _warn_of_key(role: str, warning_id: str, danger: str, rights: str) -> CheckMessage:
    names = f"ATTACHMENTS['{role}_ACCESS_KEY'] and ATTACHMENTS['{role}_SECRET_KEY']"
    hint = (
        f"Set {names} (S3_{role}_ACCESS_KEY and S3_{role}_SECRET_KEY in the environment of nodus) "
        f"to a key of its own that {rights}: `manage.py setup_storage --print-policies` prints its "
        "policy."
    )
    return checks.Warning(danger, hint=hint, id=warning_id)
