"""The app's settings: the dict ``ATTACHMENTS``, with typed defaults."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

DEFAULTS: dict[str, Any] = {
    "ACCESS_POLICY": "attachments.policy.OwnerOnlyPolicy",
    "ADMIN_ACCESS_KEY": "",
    "ADMIN_SECRET_KEY": "",
    "ALLOWED_CONTENT_TYPES": (
        "image/jpeg",
        "image/png",
        "image/gif",
        "image/webp",
        "video/mp4",
        "video/webm",
        "audio/mpeg",
        "audio/ogg",
        "audio/opus",
        "application/pdf",
    ),
    "CDN_URL": "",
    "CLAMAV_URL": "",
    "CONFIRM_RATE": None,
    "CORS_ALLOWED_ORIGINS": (),
    "DOWNLOAD_EXPIRES_SECONDS": 600,
    "LOG_FILENAMES": False,
    "MAX_ATTACHMENTS_PER_MESSAGE": 100,
    "MAX_SIZE_MB": 100,
    "MAX_STORE_WAITS": 3,
    "MAX_UNCONFIRMED_PER_USER": None,
    "MESSAGE_MODEL": "",
    "METRICS_ALLOWED": (),
    "METRICS_BIND": "",
    "ORPHAN_DAYS": 7,
    "PRESIGN_RATE": "10/minute",
    "PUBLIC_ENDPOINT_URL": "",
    "PUBLIC_READ": True,
    "QUOTA_MB_PER_USER": None,
    "RATE_LIMIT_FAIL_OPEN": True,
    "READER_ACCESS_KEY": "",
    "READER_SECRET_KEY": "",
    "RETENTION_DAYS": None,
    "SCANNER": "attachments.scanning.clamd.ClamdScanner",
    "SIGNER_ACCESS_KEY": "",
    "SIGNER_SECRET_KEY": "",
    "STRIP_METADATA": False,
    "THUMBNAIL_PX": 512,
    "TOKEN_RATE": "30/minute",
    "TRUSTED_PROXIES": 0,
    "UNSCANNABLE": "reject",
    "UPLOAD_EXPIRES_SECONDS": 600,
}

# Without any model name, Django would fail before its system checks, which explain the mistake.
UNSET_MESSAGE_MODEL = "attachments.MessageModelIsNotSet"


class AttachmentsSettings:
    """``settings.ATTACHMENTS`` over ``DEFAULTS``, read at each access so that overriding works."""

    def __getitem__(self, key: str) -> Any:
        return getattr(settings, "ATTACHMENTS", {}).get(key, DEFAULTS[key])

    @property
    def access_policy(self) -> str:
        """Dotted path of the host's ``attachments.policy.AccessPolicy``."""
        return str(self["ACCESS_POLICY"])

    @property
    def admin_key(self) -> tuple[str, str] | None:
        """Access key and secret that set up the bucket; None: those of the storage."""
        return self._get_key("ADMIN")

    @property
    def allowed_content_types(self) -> tuple[str, ...]:
        return tuple(self["ALLOWED_CONTENT_TYPES"])

    @property
    def cdn_url(self) -> str:
        """Base URL of the CDN, without a trailing slash; empty if there is none."""
        return str(self["CDN_URL"] or "").rstrip("/")

    @property
    def clamav_url(self) -> str:
        """Where clamd listens: ``unix:///path`` or ``tcp://host:port``; empty if there is none."""
        return str(self["CLAMAV_URL"] or "")

    @property
    def confirm_rate(self) -> str | None:
        """How often one user may confirm; None if there is no limit."""
        return self["CONFIRM_RATE"] or None

    @property
    def cors_allowed_origins(self) -> tuple[str, ...]:
        """Browser origins that may post to and read from the bucket."""
        origins = (origin.strip().rstrip("/") for origin in self["CORS_ALLOWED_ORIGINS"])
        return tuple(dict.fromkeys(filter(None, origins)))

    @property
    def download_expires_in(self) -> timedelta:
        return timedelta(seconds=self["DOWNLOAD_EXPIRES_SECONDS"])

    @property
    def max_attachments_per_message(self) -> int:
        return int(self["MAX_ATTACHMENTS_PER_MESSAGE"])

    @property
    def max_size_bytes(self) -> int:
        return int(self["MAX_SIZE_MB"] * 2**20)

    @property
    def max_store_waits(self) -> int:
        """How many requests of one process may wait for the store at once."""
        return int(self["MAX_STORE_WAITS"])

    @property
    def logs_filenames(self) -> bool:
        """Whether the log has the names of files, which may be private."""
        return bool(self["LOG_FILENAMES"])

    @property
    def max_unconfirmed(self) -> int | None:
        """How many uploads of one user may be under way; None if there is no limit."""
        value: int | None = self["MAX_UNCONFIRMED_PER_USER"]
        return value

    @property
    def message_model(self) -> str:
        """The model that attachments hang on, as ``"app_label.Model"``."""
        name = str(self["MESSAGE_MODEL"])
        return name if name.count(".") == 1 else UNSET_MESSAGE_MODEL

    @property
    def metrics_allowed(self) -> tuple[str, ...]:
        """Addresses, networks and tokens; empty: nobody, or with ``DEBUG`` everybody."""
        return tuple(filter(None, self["METRICS_ALLOWED"]))

    @property
    def metrics_bind(self) -> str:
        """Where workers serve their own metrics, as ``host:port``; empty: nowhere."""
        return str(self["METRICS_BIND"] or "")

    @property
    def orphan_age(self) -> timedelta:
        """How long a ready attachment may hang on no message."""
        return timedelta(days=self["ORPHAN_DAYS"])

    @property
    def presign_rate(self) -> str | None:
        """How often one user may ask for forms; None if there is no limit."""
        return self["PRESIGN_RATE"] or None

    @property
    def public_endpoint_url(self) -> str:
        """The store's address for clients; empty if it is the same as for Django."""
        return str(self["PUBLIC_ENDPOINT_URL"] or "").rstrip("/")

    @property
    def public_read(self) -> bool:
        """Whether confirmed objects are world-readable; otherwise every link is presigned."""
        return bool(self["PUBLIC_READ"])

    @property
    def quota_bytes(self) -> int | None:
        """How much the files of one user may take; None if there is no limit."""
        megabytes = self["QUOTA_MB_PER_USER"]
        return None if megabytes is None else int(megabytes * 2**20)

    @property
    def rate_limit_fails_open(self) -> bool:
        """Whether requests pass while Redis cannot count them; otherwise they are refused."""
        return bool(self["RATE_LIMIT_FAIL_OPEN"])

    @property
    def reader_key(self) -> tuple[str, str] | None:
        """Access key and secret that sign private links; None: those of the storage."""
        return self._get_key("READER")

    @property
    def retention(self) -> timedelta | None:
        """The age at which an attachment is removed, linked or not; None if never."""
        days = self["RETENTION_DAYS"]
        return None if days is None else timedelta(days=days)

    @property
    def scanner(self) -> str:
        """Dotted path of the scanner's class; empty if files are not scanned."""
        return "" if self.uses_clamd and not self.clamav_url else str(self["SCANNER"])

    @property
    def signer_key(self) -> tuple[str, str] | None:
        """Access key and secret that sign upload forms; None: those of the storage."""
        return self._get_key("SIGNER")

    @property
    def publishes_unscannable(self) -> bool:
        """Whether to serve what the scanner could not take; otherwise it is rejected."""
        return bool(self["UNSCANNABLE"] == "publish")

    @property
    def uses_clamd(self) -> bool:
        """Whether the scanner is this app's own, which needs the address of a clamd."""
        return bool(self["SCANNER"] == DEFAULTS["SCANNER"])

    @property
    def strips_metadata(self) -> bool:
        """Whether images are published without metadata, and so without the place."""
        return bool(self["STRIP_METADATA"])

    @property
    def thumbnail_px(self) -> int:
        """The longest side of a thumbnail; 0 if none are made."""
        return int(self["THUMBNAIL_PX"])

    @property
    def token_rate(self) -> str | None:
        """How often logins from one address may fail; None if there is no limit."""
        return self["TOKEN_RATE"] or None

    @property
    def trusted_proxies(self) -> int:
        """How many proxies stand before Django, each of which adds to ``X-Forwarded-For``."""
        return int(self["TRUSTED_PROXIES"])

    @property
    def upload_expires_in(self) -> timedelta:
        return timedelta(seconds=self["UPLOAD_EXPIRES_SECONDS"])

    def _get_key(self, role: str) -> tuple[str, str] | None:
        """Raises ``ImproperlyConfigured`` for half a key: the main key must not step in for it."""
        key = (self[f"{role}_ACCESS_KEY"] or "", self[f"{role}_SECRET_KEY"] or "")
        if any(key) and not all(key):
            raise ImproperlyConfigured(
                f"ATTACHMENTS has one of {role}_ACCESS_KEY and {role}_SECRET_KEY, not both."
            )
        return key if all(key) else None


conf = AttachmentsSettings()
