"""Settings from the environment, or from .env; README.md has the table.

Without any, the services of `make run` are used. With DJANGO_DEBUG off, nothing that is unset or
known to everybody is accepted as a secret. NAME_FILE names a file that holds the value of NAME, as
container platforms mount secrets.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import environ
from botocore.config import Config
from corsheaders.defaults import default_headers
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from attachments.conf import DEFAULTS as ATTACHMENTS_DEFAULTS
from nodus.databases import complete_postgres, read_url

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.FileAwareEnv()
env.read_env(BASE_DIR / ".env")


def _read_started(path: Path) -> None:
    """Read where `make run` says what it started. The keys of its store do not fit another one."""
    is_other_store = not {"S3_ENDPOINT_URL", "S3_ENDPOINT_URL_FILE"}.isdisjoint(env.ENVIRON)
    for line in path.read_text().splitlines() if path.exists() else ():
        name, _, value = line.partition("=")
        if not (is_other_store and name.startswith("S3_")):
            env.ENVIRON.setdefault(name, value)


_read_started(BASE_DIR / ".data" / "embedded.env")

INSECURE_SECRET_KEY = "insecure-key-for-development-only"  # noqa: S105
INSECURE_S3_SECRET_KEY = "minioadmin"  # noqa: S105
INSECURE_DATABASE_URL = "postgres://nodus:nodus@localhost:5432/nodus"

DEBUG = env.bool("DJANGO_DEBUG", default=True)
SECRET_KEY = env.str("DJANGO_SECRET_KEY", default=INSECURE_SECRET_KEY)
ALLOWED_HOSTS = env.list("DJANGO_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])

# Database and cache

DATABASES: dict[str, dict[str, Any]] = {
    "default": read_url(
        env.db_url_config,
        env.str("DATABASE_URL", default="") or INSECURE_DATABASE_URL,
        name="DATABASE_URL",
        example="postgres://user:password@host:5432/name",
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    DATABASES["default"] = complete_postgres(
        DATABASES["default"], is_pgbouncer=env.bool("DATABASE_PGBOUNCER", default=False)
    )
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {
    "default": read_url(
        env.cache_url_config,
        env.str("CACHE_URL", default="locmemcache://"),
        name="CACHE_URL",
        example="redis://host:6379/0",
    )
}

# The store

S3_ENDPOINT_URL = env.str("S3_ENDPOINT_URL", default="http://localhost:9000")
IS_AWS = not S3_ENDPOINT_URL
S3_ACCESS_KEY = env.str("S3_ACCESS_KEY", default="" if IS_AWS else "minioadmin")
S3_SECRET_KEY = env.str("S3_SECRET_KEY", default="" if IS_AWS else INSECURE_S3_SECRET_KEY)
# Without, boto3 finds the role of the machine, or what else AWS knows it by.
HAS_S3_KEY = bool(S3_ACCESS_KEY or S3_SECRET_KEY) or not IS_AWS
S3_KEY = {"access_key": S3_ACCESS_KEY, "secret_key": S3_SECRET_KEY, "security_token": None}

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "attachments": {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "endpoint_url": S3_ENDPOINT_URL or None,
            **(S3_KEY if HAS_S3_KEY else {}),
            "bucket_name": env.str("S3_BUCKET", default="attachments"),
            "region_name": env.str("S3_REGION", default="us-east-1"),
            "file_overwrite": False,
            "client_config": Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                connect_timeout=2,
                read_timeout=10,
                retries={"mode": "standard", "total_max_attempts": 2},
                max_pool_connections=32,
                # botocore spells its own name anew for each request: an eighth of a call's cost.
                user_agent="nodus",
                # Stores older than these checksums refuse them.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        },
    },
}

# Browsers of these origins may call the API, and post to and read from the bucket: by default the
# usual development server, and this site itself.
_PORT = env.ENVIRON.get("PORT") or "8000"
_DEV_HOSTS = ("localhost:5173", f"localhost:{_PORT}", f"127.0.0.1:{_PORT}")
_DEV_ORIGINS = [f"http://{host}" for host in _DEV_HOSTS]
_ORIGINS = env.list("CORS_ALLOWED_ORIGINS", default=_DEV_ORIGINS)
CORS_ALLOWED_ORIGINS = [origin.strip() for origin in _ORIGINS]
CORS_ALLOW_HEADERS = [*default_headers, "idempotency-key", "x-request-id"]
CORS_EXPOSE_HEADERS = ["Idempotent-Replayed", "Retry-After", "X-Request-ID"]

# The app's settings: those that the contract names, then ATTACHMENTS_<KEY> for each key. A key
# that does not exist is passed on too, for `manage.py check` to refuse.
ATTACHMENTS: dict[str, Any] = {
    "MESSAGE_MODEL": "messaging.Message",
    "ACCESS_POLICY": "nodus.policy.ParticipantsPolicy",
    "CDN_URL": env.str("CDN_URL", default=""),
    "CLAMAV_URL": env.str("CLAMAV_URL", default=""),
    "CORS_ALLOWED_ORIGINS": CORS_ALLOWED_ORIGINS,
    "METRICS_ALLOWED": env.list("METRICS_ALLOWED", default=[]),
    "PUBLIC_ENDPOINT_URL": env.str("S3_PUBLIC_ENDPOINT_URL", default=""),
    "PUBLIC_READ": env.bool("S3_PUBLIC_READ", default=True),
    "SIGNER_ACCESS_KEY": env.str("S3_SIGNER_ACCESS_KEY", default=""),
    "SIGNER_SECRET_KEY": env.str("S3_SIGNER_SECRET_KEY", default=""),
    "READER_ACCESS_KEY": env.str("S3_READER_ACCESS_KEY", default=""),
    "READER_SECRET_KEY": env.str("S3_READER_SECRET_KEY", default=""),
    "ADMIN_ACCESS_KEY": env.str("S3_ADMIN_ACCESS_KEY", default=""),
    "ADMIN_SECRET_KEY": env.str("S3_ADMIN_SECRET_KEY", default=""),
}


def _read_value(name: str, default: Any) -> Any:
    """The variable as its default is typed; what is no number is left to `manage.py check`."""
    if isinstance(default, tuple):
        return [item.strip() for item in env.list(name)]
    if isinstance(default, bool):
        return env.bool(name)
    value = env.str(name)
    if default is None and not value:
        return None
    is_number = isinstance(default, int) or default is None
    return int(value) if is_number and value.isdecimal() else value


_PREFIX = "ATTACHMENTS_"
for _name in [name for name in env.ENVIRON if name.startswith(_PREFIX)]:
    _key = _name.removeprefix(_PREFIX)
    ATTACHMENTS[_key] = _read_value(_name, ATTACHMENTS_DEFAULTS.get(_key, ""))

# The site

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "drf_standardized_errors",
    "django_tasks",
    "nodus.apps.NodusConfig",
    "nodus.apps.BackgroundWorkConfig",
    "storages",
    "attachments",
    "nodus.messaging",
    "nodus.web",
]
MIDDLEWARE = [
    "nodus.requests.RequestMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "nodus.content_security.ContentSecurityPolicyMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
SESSION_ENGINE = "nodus.sessions"
ROOT_URLCONF = "nodus.urls"
LOGIN_URL = "login"
WSGI_APPLICATION = "nodus.wsgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "nodus" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
# Of commands, and of people whose browser accepts neither of the two.
LANGUAGE_CODE = env.str("DJANGO_LANGUAGE_CODE", default="en")
LANGUAGES = [("en", _("English")), ("ru", _("Russian"))]
LOCALE_PATHS = [BASE_DIR / "nodus" / "locale"]
FORMAT_MODULE_PATH = "nodus.formats"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "static"
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG

# Background work: `manage.py db_worker` does it
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

# The API

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "nodus.authentication.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["attachments.api.parsers.BoundedJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "attachments.api.errors.exception_handler",
}
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(hours=1),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=14),
    "CHECK_REVOKE_TOKEN": True,  # a new password ends all tokens
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Nodus",
    "DESCRIPTION": _(
        "A messenger whose messages carry attachments. The order of an upload:\n\n"
        "1. `obtainToken` gives `access`: put it in **Authorize**, under jwtAuth.\n"
        "2. `presignAttachment` gives a ticket: the form to upload one file with.\n"
        "3. Post the ticket's `fields`, and the file as the last field `file`, to its `url`, which "
        "is in the store: `curl -F name=value ... -F file=@cat.png URL`. This page cannot do it.\n"
        "4. `confirmAttachment` with the ticket's `attachment_id` publishes the file.\n"
        "5. `getAttachment` gives its `download_url`; `createMessage` shares it.\n\n"
        "`docs/clients.md` tells what to do on each error."
    ),
    "VERSION": "1",
    "TAGS": [{"name": name} for name in ("Tokens", "Attachments", "Conversations", "Health")],
    "SERVE_INCLUDE_SCHEMA": False,
    # Operations stand in the order in which they are called.
    "SORT_OPERATIONS": False,
    "PREPROCESSING_HOOKS": ["attachments.api.openapi.order_operations"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {
        "deepLinking": True,
        "displayOperationId": True,
        "persistAuthorization": True,
    },
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "AttachmentStatus": "attachments.models.Attachment.Status",
        "ErrorType": ["validation_error", "client_error", "server_error"],
        "HealthStatus": ["ok", "error"],
        "PartHealth": ["connected", "unavailable"],
        "WorkerHealth": ["working", "silent"],
        "LiveStatus": ["ok"],
    },
}

LOG_FORMAT = env.str("LOG_FORMAT", default="text" if DEBUG else "json")
LOG_REQUESTS = bool(env.str("ACCESS_LOG", default="-"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {"()": "nodus.logs.JSONFormatter"},
        "text": {
            "()": "nodus.logs.TextFormatter",
            "format": "{asctime} {levelname} {name} {message}",
            "style": "{",
        },
    },
    "filters": {"sparse": {"()": "nodus.logs.SparseFilter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    # A pool that reconnects says why each second, and the requests that wait for it cannot say it.
    "loggers": {"psycopg.pool": {"filters": ["sparse"]}},
    # The line of the request says the same.
    "root": {"handlers": ["console"], "level": env.str("DJANGO_LOG_LEVEL", default="INFO")},
}

# Production

if not DEBUG:
    problems = [
        f"{name} is not set, or is the default that everybody knows"
        for name, is_insecure in {
            "DJANGO_SECRET_KEY": SECRET_KEY in ("", INSECURE_SECRET_KEY),
            "DATABASE_URL": DATABASES["default"].get("PASSWORD") == "nodus",
            "S3_ACCESS_KEY": HAS_S3_KEY and not env.str("S3_ACCESS_KEY", default=""),
            "S3_SECRET_KEY": HAS_S3_KEY and S3_SECRET_KEY in ("", INSECURE_S3_SECRET_KEY),
            **{
                f"S3_{role}_SECRET_KEY": ATTACHMENTS[f"{role}_SECRET_KEY"] == INSECURE_S3_SECRET_KEY
                for role in ("SIGNER", "READER", "ADMIN")
            },
        }.items()
        if is_insecure
    ]
    if problems:
        raise ImproperlyConfigured(f"DJANGO_DEBUG is off, and {'; '.join(problems)}.")

    # Plain HTTP is for a trial on one machine only.
    is_https = env.bool("DJANGO_HTTPS", default=True)
    SECURE_SSL_REDIRECT = is_https
    SESSION_COOKIE_SECURE = is_https
    CSRF_COOKIE_SECURE = is_https
    SECURE_HSTS_SECONDS = 365 * 24 * 3600 if is_https else 0
    SECURE_HSTS_INCLUDE_SUBDOMAINS = is_https
    SECURE_HSTS_PRELOAD = is_https
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_REDIRECT_EXEMPT = ["^health(/live|/ready)?$", "^metrics$"]  # these come from inside
    CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS if not host.startswith("*")]
