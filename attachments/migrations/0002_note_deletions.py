import django.utils.timezone
from django.db import migrations, models

from attachments.triggers import create_triggers, drop_triggers


class Migration(migrations.Migration):
    dependencies = [
        ("attachments", "0001_initial"),
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
                ("key", models.CharField(max_length=512, verbose_name="key")),
                (
                    "created_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, verbose_name="created at"
                    ),
                ),
                (
                    "due_at",
                    models.DateTimeField(
                        db_index=True,
                        default=django.utils.timezone.now,
                        help_text="From when on a run may take it.",
                        verbose_name="due at",
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0, verbose_name="attempts")),
                ("last_error", models.TextField(blank=True, verbose_name="last error")),
            ],
            options={
                "verbose_name": "waiting deletion",
                "verbose_name_plural": "waiting deletions",
                "db_table": "attachments_deletions",
            },
        ),
        migrations.RunPython(create_triggers, drop_triggers),
        migrations.AddIndex(
            model_name="attachment",
            index=models.Index(
                condition=models.Q(("status__in", ["rejected", "infected"])),
                fields=["created_at"],
                name="attachments_refused",
            ),
        ),
    ]
