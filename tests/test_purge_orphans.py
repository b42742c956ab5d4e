"""The command as an operator uses it."""

import json
import signal
import time
from datetime import timedelta
from functools import partial

import pytest
from django.core.management import CommandError
from django.utils import timezone

from attachments.models import Attachment, ObjectDeletion
from attachments.services import note_deletions
from tests import commands
from tests.stores import list_keys, take_store_away

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def orphans(user, attachment_of, empty_bucket):
    """Make this many orphans, eight days old, with their objects."""

    def make(count):
        made = [attachment_of(user) for _ in range(count)]
        moment = timezone.now() - timedelta(days=8)
        Attachment.objects.update(created_at=moment, confirmed_at=moment, expires_at=moment)
        return made

    return make


run = partial(commands.run, "purge_orphans")


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
        "failing": 0,
        "protected": 0,
        "dry_run": False,
    }


def test_a_dry_run_removes_nothing(orphans, bucket):
    orphans(2)

    report = run_json("--dry-run")

    assert (report["orphans"], report["dry_run"]) == (2, True)
    assert Attachment.objects.count() == len(list_keys(bucket)) == 2


def test_a_dry_run_names_what_would_go(orphans, bucket):
    first, second = orphans(2)
    bucket.put_object(Key="pending/late", Body=b"late")
    note_deletions(["attachments/old"])

    text = run("--dry-run")

    for name in (str(first.pk), str(second.pk), "attachments/old"):
        assert name in text
    assert text.endswith("Dry run: nothing was changed.\n")


def test_a_dry_run_names_some_and_counts_the_rest(orphans):
    (first, *_others) = orphans(3)

    report = run_json("--dry-run", "--show", 1)

    (named,) = report["named"]
    assert (named["kind"], named["name"], report["unnamed"]) == ("orphans", str(first.pk), 2)
    assert "… and 2 more; --show names more of them." in run("--dry-run", "--show", 1)


def test_a_dry_run_obeys_the_limit(orphans):
    orphans(3)

    report = run_json("--dry-run", "--limit", 2)

    assert (report["orphans"], len(report["named"])) == (2, 2)


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
    take_store_away(settings)

    with pytest.raises(CommandError, match=r"not available.*next run.*Could not connect"):
        run()
    assert Attachment.objects.exists()


@pytest.mark.postgres
def test_a_purge_that_is_killed_leaves_nothing_wrong(orphans, bucket):
    keys = {attachment.key for attachment in orphans(60)}
    process = commands.start("purge_orphans", "--batch-size", 1)
    while Attachment.objects.count() > 40:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()

    rows = set(Attachment.objects.values_list("storage_key", flat=True))
    notes = set(ObjectDeletion.objects.values_list("key", flat=True))
    objects = list_keys(bucket)
    assert 0 < len(rows) <= 40
    assert rows <= objects <= rows | notes <= keys

    ObjectDeletion.objects.update(due_at=timezone.now())  # the claim of the killed run is over
    run()
    assert not Attachment.objects.exists()
    assert not ObjectDeletion.objects.exists()
    assert not list_keys(bucket)
