"""The command as an operator uses it."""

import copy
import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from attachments.models import Attachment, ObjectDeletion
from nodus.dev.embedded import find_free_ports

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def orphans(user, attachment_of, bucket):
    """Make so many orphans of eight days, with their objects."""
    bucket.objects.all().delete()

    def make(count):
        made = [attachment_of(user) for _ in range(count)]
        moment = timezone.now() - timedelta(days=8)
        Attachment.objects.update(created_at=moment, expires_at=moment)
        return made

    return make


def run(*args):
    out = StringIO()
    call_command("purge_orphans", *args, stdout=out)
    return out.getvalue()


def run_json(*args):
    return json.loads(run("--json", *args))


def test_it_tells_people_what_it_did(orphans):
    orphans(2)

    text = run()

    assert "│ On no message                         │        2 │" in text
    assert "Size: " in text
    assert not Attachment.objects.exists()


def test_it_tells_programs_what_it_did(orphans, samples):
    orphans(2)

    assert run_json() == {
        "expired": 0,
        "orphans": 2,
        "stale": 0,
        "refused": 0,
        "size_bytes": 2 * len(samples["image/png"]),
        "processed": 0,
        "swept": 0,
        "waiting": 0,
        "dry_run": False,
    }


def test_a_dry_run_removes_nothing(orphans, bucket):
    orphans(2)

    report = run_json("--dry-run")

    assert (report["orphans"], report["dry_run"]) == (2, True)
    assert Attachment.objects.count() == len(list(bucket.objects.all())) == 2


@pytest.mark.parametrize(("older_than", "count"), [("9d", 0), ("1w", 2), ("100h", 2), ("0", 2)])
def test_older_than(orphans, older_than, count):
    orphans(2)

    assert run_json("--older-than", older_than)["orphans"] == count


def test_limit(orphans):
    orphans(3)

    assert run_json("--limit", "2", "--batch-size", "1")["orphans"] == 2
    assert Attachment.objects.count() == 1


@pytest.mark.parametrize(
    "args",
    [["--older-than", "soon"], ["--older-than=-1d"], ["--limit", "0"], ["--batch-size", "x"]],
)
def test_nonsense_is_refused(args):
    with pytest.raises(CommandError, match="not a"):
        run(*args)


def test_the_store_is_down(orphans, settings):
    orphans(1)
    storages = copy.deepcopy(settings.STORAGES)
    (port,) = find_free_ports(1)
    storages["attachments"]["OPTIONS"]["endpoint_url"] = f"http://127.0.0.1:{port}"
    settings.STORAGES = storages

    with pytest.raises(CommandError, match=r"not available.*next run.*Could not connect"):
        run()
    assert Attachment.objects.exists()


@pytest.mark.postgres
def test_a_purge_that_is_killed_leaves_nothing_wrong(orphans, bucket):
    keys = {attachment.key for attachment in orphans(60)}
    database = connection.settings_dict["NAME"]
    url = os.environ["DATABASE_URL"].replace("/nodus", f"/{database}", 1)
    command = [sys.executable, "manage.py", "purge_orphans", "--batch-size", "1"]
    process = subprocess.Popen(command, env={**os.environ, "DATABASE_URL": url})
    while Attachment.objects.count() > 40:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()

    rows = set(Attachment.objects.values_list("storage_key", flat=True))
    notes = set(ObjectDeletion.objects.values_list("key", flat=True))
    objects = {item.key for item in bucket.objects.all()}
    assert 0 < len(rows) <= 40
    assert rows <= objects <= rows | notes <= keys

    ObjectDeletion.objects.update(due_at=timezone.now())  # the claim of the dead is over
    run()
    assert not Attachment.objects.exists()
    assert not ObjectDeletion.objects.exists()
    assert not list(bucket.objects.all())
