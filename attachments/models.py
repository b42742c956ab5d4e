"""Rows: what is known of each file."""

import secrets
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from attachments.conf import conf
from attachments.errors import make_rejection
from attachments.media import is_inspectable
from attachments.policy import User, get_access_policy
from attachments.row_sql import PlainSqlModel
from attachments.rules.content_types import get_extensions, is_inline
from attachments.rules.filenames import make_disposition, make_safe_name, make_served_name
from attachments.rules.keys import QUARANTINE, THUMBNAILS, hide_nonce
from attachments.scanning import Outcome
from attachments.storage import ServedHeaders, get_attachments_storage


class AttachmentQuerySet(models.QuerySet["Attachment"]):
    def visible_to(self, user: User) -> "AttachmentQuerySet":
        """What ``user`` may see: their own, and what is ready on messages that they may read.

        Staff see all.

        The one rule behind detail, list, download and delete. It is quick for rows that are chosen
        by id or message; ``services.VisibleAttachments`` gives pages of all.
        """
        if getattr(user, "is_staff", False):
            return self.all()
        if user.pk is None:
            return self.none()
        # EXISTS asks for each row's own message. IN would collect all messages of the user first.
        readable = get_access_policy().readable_messages(user).filter(pk=OuterRef("message"))
        return self.filter(Q(user=user.pk) | Q(Exists(readable), status=Attachment.Status.READY))

    def ready(self) -> "AttachmentQuerySet":
        return self.filter(status=Attachment.Status.READY)

    def shared(self) -> "AttachmentQuerySet":
        """Ready, and on a message: whoever may read that sees it."""
        return self.ready().filter(message__isnull=False)

    def orphans(self, *, confirmed_before: datetime) -> "AttachmentQuerySet":
        """Ready, and on no message."""
        return self.ready().filter(message=None, confirmed_at__lt=confirmed_before)

    def expired(self, moment: datetime) -> "AttachmentQuerySet":
        """Confirmed before this moment; created before it, if never confirmed.

        No confirm comes before its row: so the index on ``created_at`` finds them.
        """
        is_old = Q(confirmed_at=None) | Q(confirmed_at__lt=moment)
        return self.filter(is_old, created_at__lt=moment)

    def unexpired(self, moment: datetime) -> "AttachmentQuerySet":
        return self.filter(Q(created_at__gte=moment) | Q(confirmed_at__gte=moment))

    def refused(self, *, created_before: datetime) -> "AttachmentQuerySet":
        """What was rejected or infected; its objects went at once.

        Not what was served once and then marked missing: that is the record of a loss.
        """
        refused = [Attachment.Status.REJECTED, Attachment.Status.INFECTED]
        return self.filter(status__in=refused, confirmed_at=None, created_at__lt=created_before)

    def unconfirmed(self) -> "AttachmentQuerySet":
        return self.filter(status__in=[Attachment.Status.PENDING, Attachment.Status.VERIFYING])

    def stale(self, *, expired_before: datetime) -> "AttachmentQuerySet":
        """Never confirmed, although the time to do so is over."""
        return self.unconfirmed().filter(expires_at__lt=expired_before, waiting_since=None)

    def lapsed(self) -> "AttachmentQuerySet":
        """Those whose time is over and which nobody confirmed: they count no more for a quota."""
        return self.filter(status=Attachment.Status.PENDING, expires_at__lte=timezone.now())

    def unleased(self) -> "AttachmentQuerySet":
        """Without what somebody works on at this moment, and what is put off."""
        return self.filter(Q(lease_expires_at=None) | Q(lease_expires_at__lte=Now()))

    def in_background(self) -> "AttachmentQuerySet":
        """Confirmed, and left to a worker."""
        return self.filter(waiting_since__isnull=False)

    def quarantined(self) -> "AttachmentQuerySet":
        """Waiting for a scanner."""
        return self.in_background().filter(status=Attachment.Status.SCANNING)

    def put_off(self) -> "AttachmentQuerySet":
        """Not yet to be tried again; of ready rows also what a worker tries at this moment."""
        return self.filter(copy_key="", lease_expires_at__gt=Now())

    def without_checksum(self) -> "AttachmentQuerySet":
        """Ready, but the store did not tell the SHA-256: a worker reads it."""
        return self.ready().filter(checksum_sha256="")

    def uninspected(self) -> "AttachmentQuerySet":
        """Ready, but nobody has looked yet what is in the file."""
        return self.ready().filter(is_inspected=False)

    def with_thumbnail(self) -> "AttachmentQuerySet":
        return self.ready().exclude(thumbnail_key="")


class Attachment(PlainSqlModel):
    """One file that a user uploads, from the signed form to the served object."""

    class Status(models.TextChoices):
        PENDING = "pending", _("pending")
        VERIFYING = "verifying", _("verifying")
        SCANNING = "scanning", _("scanning")
        READY = "ready", _("ready")
        REJECTED = "rejected", _("rejected")
        INFECTED = "infected", _("infected")

    # Ids that begin with the time: new rows lie together in the index. Knowing one opens no file.
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="attachments",
        verbose_name=_("user"),
        db_index=False,  # the index on user and created_at serves it
    )
    message = models.ForeignKey(
        conf.message_model,
        on_delete=models.CASCADE,
        related_name="attachments",
        verbose_name=_("message"),
        null=True,
        blank=True,
        db_index=False,  # the partial index on what is linked serves it
    )
    filename = models.CharField(_("filename"), max_length=255)
    content_type = models.CharField(_("content type"), max_length=100)
    size_bytes = models.PositiveBigIntegerField(
        _("size in bytes"), null=True, help_text=_("Declared until ready, then found.")
    )
    max_size_bytes = models.PositiveBigIntegerField(
        _("largest size in bytes"),
        null=True,
        help_text=_("What the form allows, if no size was declared."),
    )
    checksum_sha256 = models.CharField(
        "SHA-256", max_length=44, blank=True, help_text=_("Base64, as S3 spells it.")
    )
    storage_key = models.FileField(
        _("storage key"), max_length=512, storage=get_attachments_storage
    )
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    media = models.JSONField(
        _("what is in the file"),
        default=dict,
        db_default={},
        blank=True,
        help_text=_("As found by a worker: size of the picture, seconds, pages."),
    )
    is_inspected = models.BooleanField(
        _("looked into"),
        default=False,
        db_default=False,
        help_text=_("A worker has looked what is in the file, whatever it found."),
    )
    thumbnail_key = models.CharField(
        _("key of the thumbnail"), max_length=512, blank=True, default="", db_default=""
    )
    is_stripped = models.BooleanField(
        _("metadata removed"),
        default=False,
        db_default=False,
        help_text=_("Size and SHA-256 are those of the picture as it is served."),
    )
    status = models.CharField(
        _("status"), max_length=20, choices=Status.choices, default=Status.PENDING
    )
    error = models.JSONField(
        _("error"), null=True, blank=True, help_text=_("Why it was rejected: code and params.")
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    confirmed_at = models.DateTimeField(_("confirmed at"), null=True, blank=True)
    expires_at = models.DateTimeField(
        _("expires at"), help_text=_("Until when the signed form takes the file.")
    )
    lease_expires_at = models.DateTimeField(
        _("lease expires at"),
        null=True,
        blank=True,
        help_text=_("Until when somebody works on it, or it is put off."),
    )
    waiting_since = models.DateTimeField(
        _("waiting since"),
        null=True,
        blank=True,
        help_text=_("It is confirmed, and a worker does the rest."),
    )
    tries = models.PositiveSmallIntegerField(
        _("tries"), default=0, db_default=0, help_text=_("How often a worker tried in vain.")
    )
    copy_key = models.CharField(
        _("key of the copy"),
        max_length=512,
        blank=True,
        default="",
        db_default="",
        help_text=_("What an attempt makes of the object at the storage key."),
    )
    copy_upload_id = models.TextField(
        _("multipart upload of the copy"), blank=True, default="", db_default=""
    )
    scan_outcome = models.CharField(
        _("scan"), max_length=20, choices=Outcome.choices, blank=True, default="", db_default=""
    )
    scanner = models.CharField(_("scanner"), max_length=100, blank=True, default="", db_default="")
    signatures_version = models.PositiveBigIntegerField(
        _("version of the signatures"), null=True, blank=True
    )
    scanned_at = models.DateTimeField(_("scanned at"), null=True, blank=True)

    objects = AttachmentQuerySet.as_manager()

    class Meta:
        db_table = "attachments"
        ordering = ["-created_at", "-id"]
        verbose_name = _("attachment")
        verbose_name_plural = _("attachments")
        constraints = [
            models.CheckConstraint(
                condition=~Q(status="ready") | Q(size_bytes__isnull=False) & ~Q(storage_key=""),
                name="attachments_ready_has_object",
            ),
            models.CheckConstraint(
                condition=~Q(status="verifying") | Q(lease_expires_at__isnull=False),
                name="attachments_verifying_has_lease",
            ),
            models.CheckConstraint(
                condition=Q(thumbnail_key="") | Q(status="ready"),
                name="attachments_thumbnail_is_of_ready",
            ),
            models.CheckConstraint(
                condition=~Q(status="scanning")
                | Q(lease_expires_at__isnull=False, waiting_since__isnull=False),
                name="attachments_scanning_waits",
            ),
        ]
        indexes = [
            # Those that serve pages end with the id: thousands of rows may share a moment.
            models.Index(fields=["user", "-created_at", "-id"], name="attachments_user_created"),
            models.Index(fields=["-created_at", "-id"], name="attachments_created"),
            models.Index(
                fields=["message", "-created_at", "-id"],
                condition=Q(message__isnull=False),
                name="attachments_linked",
            ),
            models.Index(
                fields=["-created_at", "-id"],
                condition=Q(message__isnull=False, status="ready"),
                name="attachments_shared",
            ),
            # Staff sort by the size that was found.
            models.Index(
                fields=["-size_bytes", "-id"],
                condition=Q(status="ready"),
                name="attachments_largest",
            ),
            models.Index(
                fields=["confirmed_at"],
                condition=Q(message__isnull=True, status="ready"),
                name="attachments_orphans",
            ),
            models.Index(
                fields=["expires_at"],
                condition=Q(status__in=["pending", "verifying"]),
                name="attachments_stale",
            ),
            models.Index(
                fields=["user", "status", "expires_at"],
                condition=Q(status__in=["pending", "verifying"]),
                name="attachments_begun",
            ),
            models.Index(
                fields=["created_at"],
                condition=Q(status__in=["rejected", "infected"]),
                name="attachments_refused",
            ),
            models.Index(
                fields=["id"],
                condition=Q(waiting_since__isnull=False),
                name="attachments_waiting",
            ),
            models.Index(
                fields=["id"],
                condition=Q(status="ready", checksum_sha256=""),
                name="attachments_unhashed",
            ),
            models.Index(
                fields=["id"],
                condition=Q(status="ready", is_inspected=False),
                name="attachments_uninspected",
            ),
        ]

    def __str__(self) -> str:
        return self.filename

    @property
    def key(self) -> str:
        """The key of the object that the row stands for now."""
        return str(self.storage_key.name)

    @property
    def pending_key(self) -> str:
        """Where the client writes."""
        return f"pending/{self.pk}"

    def make_key(self) -> str:
        """Where a copy to serve goes: under 128 random bits, another key at each call."""
        safe_name = make_safe_name(self.filename, extensions=get_extensions(self.content_type))
        return f"attachments/{self.pk}/{secrets.token_hex(16)}/{safe_name}"

    def make_quarantine_key(self) -> str:
        """Where a copy waits for the scanner: another key at each call, too."""
        return f"{QUARANTINE}{self.pk}/{secrets.token_hex(16)}"

    def make_thumbnail_key(self) -> str:
        """Where a thumbnail goes: another key at each call, too."""
        return f"{THUMBNAILS}{self.pk}/{secrets.token_hex(16)}.webp"

    @property
    def owned_keys(self) -> list[str]:
        """The keys of all objects that may be there for the row, and go with it."""
        keys = [self.key, self.pending_key, self.copy_key, self.thumbnail_key]
        return [key for key in keys if key]

    @property
    def is_quarantined(self) -> bool:
        """Whether the object that the row stands for now waits for the scanner."""
        return self.key.startswith(QUARANTINE)

    @property
    def served_name(self) -> str:
        """The user's own filename, with an extension of the verified type."""
        return make_served_name(self.filename, extensions=get_extensions(self.content_type))

    @property
    def disposition(self) -> str:
        """RFC 6266: how it is called, and shown in place only if that is safe."""
        return self.spell_disposition(as_attachment=not is_inline(self.content_type))

    def spell_disposition(self, *, as_attachment: bool) -> str:
        return make_disposition(self.served_name, as_attachment=as_attachment)

    @property
    def headers(self) -> ServedHeaders:
        """How its verified copy is served."""
        return ServedHeaders(
            content_type=self.content_type,
            disposition=self.disposition,
            is_public=conf.public_read,
        )

    @property
    def thumbnail_headers(self) -> ServedHeaders:
        """How its thumbnail is served: its nonce is as secret as that of the file."""
        return ServedHeaders(
            content_type="image/webp", disposition="inline", is_public=conf.public_read
        )

    @property
    def size_range(self) -> tuple[int, int]:
        """The least and the most bytes that the file may have: as declared, if it was."""
        largest = self.size_bytes or self.max_size_bytes or conf.max_size_bytes
        return (self.size_bytes or 1), largest

    @property
    def has_lapsed(self) -> bool:
        """Whether its time is over and nobody confirmed it."""
        return self.status == self.Status.PENDING and self.expires_at <= timezone.now()

    @property
    def in_background(self) -> bool:
        """Whether it is confirmed, and left to a worker."""
        return self.waiting_since is not None

    @property
    def has_work_left(self) -> bool:
        """Whether a worker has to do something for it: a step of ``services.process``."""
        is_incomplete = not (self.checksum_sha256 and self.is_inspected)
        return self.in_background or (self.is_ready and is_incomplete)

    @property
    def is_inspectable(self) -> bool:
        """Whether anything can be found out of a file of its type."""
        return is_inspectable(self.content_type)

    @property
    def is_leased(self) -> bool:
        """Whether somebody works on it at this moment, or it is put off."""
        return self.lease_expires_at is not None and self.lease_expires_at > timezone.now()

    @property
    def is_ready(self) -> bool:
        return self.status == self.Status.READY

    @property
    def error_info(self) -> dict[str, Any] | None:
        """Why it was rejected, as ``{code, detail}`` in the active language."""
        if self.error is None:
            return None
        error = make_rejection(**self.error)
        return {"code": error.code, "detail": error.detail}


class IdempotencyKey(models.Model):
    """An Idempotency-Key of a user, and the attachments that its request made."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        verbose_name=_("user"),
        db_index=False,  # the unique constraint serves it
    )
    key = models.CharField(_("key"), max_length=255)
    fingerprint = models.CharField(max_length=64, help_text=_("SHA-256 of the request."))
    attachment_ids = models.JSONField(
        _("attachments"), default=list, help_text=_("In the order of the request.")
    )
    expires_at = models.DateTimeField(_("expires at"), db_index=True)

    class Meta:
        db_table = "attachments_idempotency_keys"
        verbose_name = _("idempotency key")
        verbose_name_plural = _("idempotency keys")
        constraints = [
            models.UniqueConstraint(
                fields=["user", "key"], name="attachments_idempotency_keys_unique"
            )
        ]

    def __str__(self) -> str:
        return self.key


class ObjectDeletionQuerySet(models.QuerySet["ObjectDeletion"]):
    def waiting(self) -> "ObjectDeletionQuerySet":
        """Due, or tried in vain: not those whose object went and is only looked for again."""
        return self.filter(Q(due_at__lte=Now()) | Q(attempts__gt=0))


class ObjectDeletion(models.Model):
    """A note that an object is to be deleted.

    The database writes it in the transaction that deletes the object's row (``triggers``). It
    goes when the object is gone, and has been looked for ``repeats`` times more.
    """

    key = models.CharField(_("key"), max_length=512, db_index=True)
    upload_id = models.TextField(
        _("multipart upload"),
        blank=True,
        default="",
        db_default="",
        help_text=_("Of a copy that was begun: it is aborted."),
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, db_default=Now())
    due_at = models.DateTimeField(
        _("due at"),
        default=timezone.now,
        db_default=Now(),
        db_index=True,
        help_text=_("From when on a run may take it."),
    )
    repeats = models.PositiveSmallIntegerField(
        _("repeats"),
        default=0,
        db_default=0,
        help_text=_("How often to delete it again later: a copy may land after all."),
    )
    attempts = models.PositiveIntegerField(_("attempts"), default=0, db_default=0)
    last_error = models.TextField(_("last error"), blank=True, default="", db_default="")

    objects = ObjectDeletionQuerySet.as_manager()

    class Meta:
        db_table = "attachments_deletions"
        verbose_name = _("waiting deletion")
        verbose_name_plural = _("waiting deletions")

    def __str__(self) -> str:
        return hide_nonce(self.key)


class Usage(models.Model):
    """What one user has in the table ``attachments``: never saved, the database keeps it itself.

    A transaction's own changes are in it once it has committed, or after ``settle``. Whoever has
    no attachments has no row. There is no foreign key: the row goes with the last attachment, so
    that deleting a user locks it no sooner than other transactions do.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        primary_key=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        verbose_name=_("user"),
    )
    files = models.BigIntegerField(help_text=_("Ready, or waiting for a scanner."))
    used_bytes = models.BigIntegerField(help_text=_("Of these files."))
    unconfirmed = models.BigIntegerField(help_text=_("Pending or verifying, expired ones too."))
    unconfirmed_bytes = models.BigIntegerField(help_text=_("Of these, as far as declared."))
    refused = models.BigIntegerField(help_text=_("Rejected or infected."))

    class Meta:
        db_table = "attachments_usage"
        default_permissions = ()
        verbose_name = _("usage")
        verbose_name_plural = _("usage")
        indexes = [models.Index(fields=["-used_bytes", "user"], name="attachments_usage_largest")]

    def __str__(self) -> str:
        return str(self.user_id)


class PeriodicJob(models.Model):
    """When a job of ``services.schedule`` is due, and which run owns it until then."""

    name = models.CharField(primary_key=True, max_length=50)
    due_at = models.DateTimeField(help_text=_("While it runs: when others may take it over."))
    run_id = models.UUIDField(null=True)

    class Meta:
        db_table = "attachments_periodic_jobs"
        default_permissions = ()
        verbose_name = _("periodic job")
        verbose_name_plural = _("periodic jobs")

    def __str__(self) -> str:
        return self.name


class UsageFigures(models.Model):
    """The figures of the usage page that take long to count, as they were at one moment.

    There is one row. ``services.kept_usage`` writes and reads it.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    figures = models.JSONField(null=True)
    computed_at = models.DateTimeField(null=True)
    requested_at = models.DateTimeField(
        null=True, help_text=_("When a worker was last asked for newer ones.")
    )

    class Meta:
        db_table = "attachments_usage_figures"
        default_permissions = ()
        verbose_name = _("usage figures")
        verbose_name_plural = _("usage figures")

    def __str__(self) -> str:
        return str(self.computed_at)


class WorkerSign(models.Model):
    """Since when workers are asked for something, and when one last showed that it lives.

    There is one row. ``services.workers`` writes and reads it.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    asked_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(null=True)
    expected_by = models.DateTimeField(
        null=True, help_text=_("When the next sign comes, if a worker promised one.")
    )

    class Meta:
        db_table = "attachments_worker_signs"
        default_permissions = ()
        verbose_name = _("sign of a worker")
        verbose_name_plural = _("signs of workers")

    def __str__(self) -> str:
        return str(self.seen_at)
