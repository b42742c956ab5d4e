"""A project that has only the app's wheel: SQLite, no admin, no API schema, no tokens."""

import os
from pathlib import Path

from django.conf import global_settings

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = True
SECRET_KEY = "for tests only"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "guestbook.urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "attachments",
    "chat",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "chat.content_security.forbid_everything_else",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
STATIC_URL = "static/"
LOGIN_URL = "login"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
AUTH_USER_MODEL = "chat.Guest"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # each request signs in
TIME_ZONE = "Asia/Tashkent"
TASKS = {"default": {"BACKEND": "django_tasks.backends.dummy.DummyBackend"}}

STORAGES = {
    **global_settings.STORAGES,
    "attachments": {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "endpoint_url": os.environ["S3_ENDPOINT_URL"],
            "access_key": os.environ["S3_ACCESS_KEY"],
            "secret_key": os.environ["S3_SECRET_KEY"],
            "bucket_name": os.environ["S3_BUCKET"],
            "region_name": "us-east-1",
            "addressing_style": "path",
            "signature_version": "s3v4",
        },
    },
}
ATTACHMENTS = {
    "MESSAGE_MODEL": "chat.Post",
    "ACCESS_POLICY": "chat.policy.ReadersPolicy",
    "MAX_SIZE_MB": 1,
    # The proxy before the guestbook limits rates.
    "PRESIGN_RATE": None,
    "TOKEN_RATE": None,
    "SIGNER_ACCESS_KEY": os.environ.get("S3_SIGNER_ACCESS_KEY", ""),
    "SIGNER_SECRET_KEY": os.environ.get("S3_SIGNER_SECRET_KEY", ""),
    "READER_ACCESS_KEY": os.environ.get("S3_READER_ACCESS_KEY", ""),
    "READER_SECRET_KEY": os.environ.get("S3_READER_SECRET_KEY", ""),
    "ADMIN_ACCESS_KEY": os.environ.get("S3_ADMIN_ACCESS_KEY", ""),
    "ADMIN_SECRET_KEY": os.environ.get("S3_ADMIN_SECRET_KEY", ""),
}
