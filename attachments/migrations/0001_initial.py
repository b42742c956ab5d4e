import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models

from attachments.conf import conf
from attachments.storage import get_attachments_storage


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        # The host's message model, as AUTH_USER_MODEL: whatever its first migration is called.
        migrations.swappable_dependency(conf.message_model),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ObjectDeletion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(db_index=True, max_length=512, verbose_name="key")),
                (
                    "upload_id",
                    models.TextField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="Of a copy that was begun: it is aborted.",
                        verbose_name="multipart upload",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        verbose_name="created at",
                    ),
                ),
                (
                    "due_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        db_index=True,
                        default=django.utils.timezone.now,
                        help_text="From when on a run may take it.",
                        verbose_name="due at",
                    ),
                ),
                (
                    "repeats",
                    models.PositiveSmallIntegerField(
                        db_default=0,
                        default=0,
                        help_text="How often to delete it again later: a copy may land after all.",
                        verbose_name="repeats",
                    ),
                ),
                (
                    "attempts",
                    models.PositiveIntegerField(db_default=0, default=0, verbose_name="attempts"),
                ),
                (
                    "last_error",
                    models.TextField(
                        blank=True, db_default="", default="", verbose_name="last error"
                    ),
                ),
            ],
            options={
                "verbose_name": "waiting deletion",
                "verbose_name_plural": "waiting deletions",
                "db_table": "attachments_deletions",
            },
        ),
        migrations.CreateModel(
            name="PeriodicJob",
            fields=[
                (
                    "name",
                    models.CharField(max_length=50, primary_key=True, serialize=False),
                ),
                (
                    "due_at",
                    models.DateTimeField(help_text="While it runs: when others may take it over."),
                ),
                ("run_id", models.UUIDField(null=True)),
            ],
            options={
                "verbose_name": "periodic job",
                "verbose_name_plural": "periodic jobs",
                "db_table": "attachments_periodic_jobs",
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="UsageFigures",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False),
                ),
                ("figures", models.JSONField(null=True)),
                ("computed_at", models.DateTimeField(null=True)),
                (
                    "requested_at",
                    models.DateTimeField(
                        help_text="When a worker was last asked for newer ones.", null=True
                    ),
                ),
            ],
            options={
                "verbose_name": "usage figures",
                "verbose_name_plural": "usage figures",
                "db_table": "attachments_usage_figures",
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="WorkerSign",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False),
                ),
                ("asked_at", models.DateTimeField(null=True)),
                ("seen_at", models.DateTimeField(null=True)),
                (
                    "expected_by",
                    models.DateTimeField(
                        help_text="When the next sign comes, if a worker promised one.",
                        null=True,
                    ),
                ),
            ],
            options={
                "verbose_name": "sign of a worker",
                "verbose_name_plural": "signs of workers",
                "db_table": "attachments_worker_signs",
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Usage",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
                ("files", models.BigIntegerField(help_text="Ready, or waiting for a scanner.")),
                ("used_bytes", models.BigIntegerField(help_text="Of these files.")),
                (
                    "unconfirmed",
                    models.BigIntegerField(help_text="Pending or verifying, expired ones too."),
                ),
                (
                    "unconfirmed_bytes",
                    models.BigIntegerField(help_text="Of these, as far as declared."),
                ),
                ("refused", models.BigIntegerField(help_text="Rejected or infected.")),
            ],
            options={
                "verbose_name": "usage",
                "verbose_name_plural": "usage",
                "db_table": "attachments_usage",
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["-used_bytes", "user"], name="attachments_usage_largest")
                ],
            },
        ),
        migrations.CreateModel(
            name="Attachment",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid_utils.compat.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("filename", models.CharField(max_length=255, verbose_name="filename")),
                ("content_type", models.CharField(max_length=100, verbose_name="content type")),
                (
                    "size_bytes",
                    models.PositiveBigIntegerField(
                        help_text="Declared until ready, then found.",
                        null=True,
                        verbose_name="size in bytes",
                    ),
                ),
                (
                    "max_size_bytes",
                    models.PositiveBigIntegerField(
                        help_text="What the form allows, if no size was declared.",
                        null=True,
                        verbose_name="largest size in bytes",
                    ),
                ),
                (
                    "checksum_sha256",
                    models.CharField(
                        blank=True,
                        help_text="Base64, as S3 spells it.",
                        max_length=44,
                        verbose_name="SHA-256",
                    ),
                ),
                (
                    "storage_key",
                    models.FileField(
                        max_length=512,
                        storage=get_attachments_storage,
                        upload_to="",
                        verbose_name="storage key",
                    ),
                ),
                ("metadata", models.JSONField(blank=True, default=dict, verbose_name="metadata")),
                (
                    "media",
                    models.JSONField(
                        blank=True,
                        db_default={},
                        default=dict,
                        help_text="As found by a worker: size of the picture, seconds, pages.",
                        verbose_name="what is in the file",
                    ),
                ),
                (
                    "is_inspected",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="A worker has looked what is in the file, whatever it found.",
                        verbose_name="looked into",
                    ),
                ),
                (
                    "thumbnail_key",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        max_length=512,
                        verbose_name="key of the thumbnail",
                    ),
                ),
                (
                    "is_stripped",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="Size and SHA-256 are those of the picture as it is served.",
                        verbose_name="metadata removed",
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("verifying", "verifying"),
                            ("scanning", "scanning"),
                            ("ready", "ready"),
                            ("rejected", "rejected"),
                            ("infected", "infected"),
                        ],
                        default="pending",
                        max_length=20,
                        verbose_name="status",
                    ),
                ),
                (
                    "error",
                    models.JSONField(
                        blank=True,
                        help_text="Why it was rejected: code and params.",
                        null=True,
                        verbose_name="error",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, editable=False, verbose_name="created at"
                    ),
                ),
                (
                    "confirmed_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="confirmed at"),
                ),
                (
                    "expires_at",
                    models.DateTimeField(
                        help_text="Until when the signed form takes the file.",
                        verbose_name="expires at",
                    ),
                ),
                (
                    "lease_expires_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Until when somebody works on it, or it is put off.",
                        null=True,
                        verbose_name="lease expires at",
                    ),
                ),
                (
                    "waiting_since",
                    models.DateTimeField(
                        blank=True,
                        help_text="It is confirmed, and a worker does the rest.",
                        null=True,
                        verbose_name="waiting since",
                    ),
                ),
                (
                    "tries",
                    models.PositiveSmallIntegerField(
                        db_default=0,
                        default=0,
                        help_text="How often a worker tried in vain.",
                        verbose_name="tries",
                    ),
                ),
                (
                    "copy_key",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="What an attempt makes of the object at the storage key.",
                        max_length=512,
                        verbose_name="key of the copy",
                    ),
                ),
                (
                    "copy_upload_id",
                    models.TextField(
                        blank=True,
                        db_default="",
                        default="",
                        verbose_name="multipart upload of the copy",
                    ),
                ),
                (
                    "scan_outcome",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("clean", "clean"),
                            ("infected", "infected"),
                            ("unscannable", "could not be scanned"),
                        ],
                        db_default="",
                        default="",
                        max_length=20,
                        verbose_name="scan",
                    ),
                ),
                (
                    "scanner",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        max_length=100,
                        verbose_name="scanner",
                    ),
                ),
                (
                    "signatures_version",
                    models.PositiveBigIntegerField(
                        blank=True, null=True, verbose_name="version of the signatures"
                    ),
                ),
                (
                    "scanned_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="scanned at"),
                ),
                (
                    "message",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attachments",
                        to=conf.message_model,
                        verbose_name="message",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attachments",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "attachment",
                "verbose_name_plural": "attachments",
                "db_table": "attachments",
                "ordering": ["-created_at", "-id"],
                "indexes": [
                    models.Index(
                        fields=["user", "-created_at", "-id"], name="attachments_user_created"
                    ),
                    models.Index(fields=["-created_at", "-id"], name="attachments_created"),
                    models.Index(
                        condition=models.Q(("message__isnull", False)),
                        fields=["message", "-created_at", "-id"],
                        name="attachments_linked",
                    ),
                    models.Index(
                        condition=models.Q(("message__isnull", False), ("status", "ready")),
                        fields=["-created_at", "-id"],
                        name="attachments_shared",
                    ),
                    models.Index(
                        condition=models.Q(("status", "ready")),
                        fields=["-size_bytes", "-id"],
                        name="attachments_largest",
                    ),
                    models.Index(
                        condition=models.Q(("message__isnull", True), ("status", "ready")),
                        fields=["confirmed_at"],
                        name="attachments_orphans",
                    ),
                    models.Index(
                        condition=models.Q(("status__in", ["pending", "verifying"])),
                        fields=["expires_at"],
                        name="attachments_stale",
                    ),
                    models.Index(
                        condition=models.Q(("status__in", ["pending", "verifying"])),
                        fields=["user", "status", "expires_at"],
                        name="attachments_begun",
                    ),
                    models.Index(
                        condition=models.Q(("status__in", ["rejected", "infected"])),
                        fields=["created_at"],
                        name="attachments_refused",
                    ),
                    models.Index(
                        condition=models.Q(("waiting_since__isnull", False)),
                        fields=["id"],
                        name="attachments_waiting",
                    ),
                    models.Index(
                        condition=models.Q(("checksum_sha256", ""), ("status", "ready")),
                        fields=["id"],
                        name="attachments_unhashed",
                    ),
                    models.Index(
                        condition=models.Q(("is_inspected", False), ("status", "ready")),
                        fields=["id"],
                        name="attachments_uninspected",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "ready"), _negated=True),
                            models.Q(
                                ("size_bytes__isnull", False),
                                models.Q(("storage_key", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="attachments_ready_has_object",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "verifying"), _negated=True),
                            ("lease_expires_at__isnull", False),
                            _connector="OR",
                        ),
                        name="attachments_verifying_has_lease",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("thumbnail_key", ""), ("status", "ready"), _connector="OR"
                        ),
                        name="attachments_thumbnail_is_of_ready",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "scanning"), _negated=True),
                            models.Q(
                                ("lease_expires_at__isnull", False),
                                ("waiting_since__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="attachments_scanning_waits",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="IdempotencyKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=255, verbose_name="key")),
                (
                    "fingerprint",
                    models.CharField(help_text="SHA-256 of the request.", max_length=64),
                ),
                (
                    "attachment_ids",
                    models.JSONField(
                        default=list,
                        help_text="In the order of the request.",
                        verbose_name="attachments",
                    ),
                ),
                ("expires_at", models.DateTimeField(db_index=True, verbose_name="expires at")),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "idempotency key",
                "verbose_name_plural": "idempotency keys",
                "db_table": "attachments_idempotency_keys",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("user", "key"), name="attachments_idempotency_keys_unique"
                    )
                ],
            },
        ),
    ]
