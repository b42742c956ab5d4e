from django.db import migrations

from attachments.triggers import create_triggers, drop_triggers


class Migration(migrations.Migration):
    dependencies = [
        ("attachments", "0001_initial"),
    ]

    operations = [migrations.RunPython(create_triggers, drop_triggers)]
