"""Restoring, as an operator does it: what was lost works again, and nothing else changes."""

import copy
import json
import os
import signal
from functools import partial
from io import StringIO

import pytest
import requests
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from attachments import backups, services, storage
from attachments.models import Attachment, ObjectDeletion
from attachments.storage.bucket import forget_bucket
from tests import commands
from tests.databases import lose_database
from tests.stores import list_keys, make_store, name_bucket, take_store_away, use_endpoint

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.postgres,
    pytest.mark.usefixtures("empty_bucket"),
]


@pytest.fixture
def src(tmp_path):
    return str(tmp_path / "backup")


back_up = partial(commands.run, "backup_attachments")
run = partial(commands.run, "restore_attachments")


def run_json(*args, **options):
    return json.loads(run("--json", *args, **options))


def lose_everything(bucket):
    lose_database()
    bucket.objects.all().delete()


def dump():
    """All the rows, as a backup has them."""
    with backups.dump_rows() as rows:
        rows.content.seek(0)
        return sorted(rows.content)


def test_an_empty_database_and_an_empty_bucket_become_the_system_that_was(
    src, user, other_user, message_of, attachment_of, bucket, samples, api, settings
):
    message = message_of(user, other_user)
    attachment = attachment_of(
        user, content_type="application/pdf", filename="Отчёт.pdf", message_id=message.pk
    )
    attachment_of(other_user, metadata={"линия": "\u2028"})
    user.user_permissions.add(Permission.objects.get(codename="view_message"))
    group = Group.objects.create(name="readers")
    group.permissions.add(Permission.objects.get(codename="view_conversation"))
    user.groups.add(group)
    rows_before = dump()
    served_before = requests.head(storage.get_public_url(attachment.key), timeout=10).headers
    back_up(src)

    lose_everything(bucket)
    report = run_json(src)

    assert report == {
        "snapshot": report["snapshot"],
        "rows": {
            label: {"created": count, "unchanged": 0, "different": 0}
            for label, count in {
                "auth.group": 1,
                "auth.group_permissions": 1,
                "auth.user": 2,
                "auth.user_groups": 1,
                "auth.user_user_permissions": 1,
                "messaging.conversation": 1,
                "messaging.conversation_participants": 2,
                "messaging.message": 1,
                "attachments.attachment": 2,
            }.items()
        },
        "objects": {"created": 2, "unchanged": 0, "different": 0},
        "left_out": 0,
        "problems": [],
        "dry_run": False,
        "existing": "refuse",
    }
    assert dump() == rows_before
    # Both log in with their passwords and find what they had.
    client = api()
    tokens = client.post(
        "/api/v1/auth/token", {"username": "bob", "password": "bob-demo"}, format="json"
    ).json()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens['access']}")
    page = client.get(f"/api/v1/conversations/{message.conversation_id}/messages").json()
    (shown,) = page["results"][0]["attachments"]
    assert shown == client.get(f"/api/v1/attachments/{attachment.pk}").json()
    assert shown["filename"] == "Отчёт.pdf"
    served = requests.get(shown["download_url"], timeout=10)
    assert served.content == samples["application/pdf"]
    for header in ("Content-Type", "Content-Disposition", "Cache-Control"):
        assert served.headers[header] == served_before[header]
    assert (
        type(user)
        .objects.get(pk=user.pk)
        .has_perms(["messaging.view_message", "messaging.view_conversation"])
    )
    # They can go on from there.
    sent = client.post(
        f"/api/v1/conversations/{message.conversation_id}/messages",
        {"text": "Hello again"},
        format="json",
    )
    assert sent.status_code == 201
    assert sent.json()["id"] > message.pk
    assert type(user).objects.create_user("dave").pk > other_user.pk


@pytest.mark.usefixtures("offsite_bucket")
def test_from_another_bucket(user, attachment_of, bucket, samples):
    content = samples["image/png"] + os.urandom(9 * 2**20)
    small, large = attachment_of(user), attachment_of(user, content=content)
    back_up("storage:offsite")

    lose_everything(bucket)
    run("storage:offsite")

    assert bucket.Object(small.key).get()["Body"].read() == samples["image/png"]
    assert bucket.Object(large.key).get()["Body"].read() == content
    assert Attachment.objects.count() == 2


def test_a_second_restore_changes_nothing(src, user, attachment_of, message_of, store_calls):
    attachment_of(user, message_id=message_of(user).pk)
    back_up(src)
    before = dump()
    store_calls()

    report = run_json(src)

    assert {
        name for counts in report["rows"].values() for name, count in counts.items() if count
    } == {"unchanged"}
    assert report["objects"] == {"created": 0, "unchanged": 1, "different": 0}
    assert "PutObject" not in store_calls()
    assert dump() == before


def test_what_was_lost_in_part_comes_back(src, user, attachment_of, bucket):
    lost, kept = attachment_of(user), attachment_of(user)
    back_up(src)
    lost.delete()
    assert list_keys(bucket) == {kept.key}

    report = run_json(src)

    assert report["rows"]["attachments.attachment"]["created"] == 1
    assert report["objects"] == {"created": 1, "unchanged": 1, "different": 0}
    assert list_keys(bucket) == {lost.key, kept.key}


def test_a_note_that_still_waits_does_not_delete_what_was_restored(
    src, user, attachment_of, bucket, monkeypatch
):
    attachment = attachment_of(user)
    back_up(src)
    Attachment.objects.all()._raw_delete("default")  # the note stays
    other = ObjectDeletion.objects.create(key="attachments/other")
    assert ObjectDeletion.objects.filter(key=attachment.key).exists()

    run(src)

    assert set(ObjectDeletion.objects.exclude(key__startswith="pending/")) == {other}
    services.carry_out_deletions()
    assert list_keys(bucket) == {attachment.key}


# What is in the way


@pytest.fixture
def changed(src, user, attachment_of, bucket):
    """Make a backup, and then change the user's first name and the object's bytes."""
    attachment = attachment_of(user)
    back_up(src)
    type(user).objects.update(first_name="Alicia")
    bucket.put_object(Key=attachment.key, Body=b"other bytes")
    return attachment


def test_it_tells_what_is_in_the_way_and_refuses(src, changed, bucket, user):
    before = dump()
    out = StringIO()

    with pytest.raises(CommandError, match="1 rows and 1 objects are there already") as stopped:
        call_command("restore_attachments", src, stdout=out)

    assert stopped.value.returncode == 1
    assert "┃ In the way ┃" in out.getvalue()
    assert "--keep-existing restores only what is new" in out.getvalue()
    assert "│ auth.user              │   0 │                0 │          1 │" in out.getvalue()
    assert "│ objects                │   0 │                0 │          1 │" in out.getvalue()
    assert dump() == before
    assert bucket.Object(changed.key).get()["Body"].read() == b"other bytes"


def test_overwrite(src, changed, bucket, samples, user):
    report = run_json(src, "--overwrite", "--no-input")

    assert report["rows"]["auth.user"]["different"] == report["objects"]["different"] == 1
    assert type(user).objects.get().first_name == ""
    assert bucket.Object(changed.key).get()["Body"].read() == samples["image/png"]


@pytest.mark.parametrize(("answer", "is_done"), [("yes", True), ("y", False), ("", False)])
def test_overwriting_asks_who_sits_at_a_terminal(src, changed, user, answers, answer, is_done):
    answers(answer)

    if is_done:
        run(src, "--overwrite")
    else:
        with pytest.raises(CommandError, match="Nothing was changed"):
            run(src, "--overwrite")

    assert (type(user).objects.get().first_name == "") is is_done


def test_keep_existing(src, changed, bucket, user, attachment_of):
    lost = attachment_of(user)
    lost.delete()

    report = run_json(src, "--keep-existing")

    assert report["rows"]["auth.user"]["different"] == report["objects"]["different"] == 1
    assert type(user).objects.get().first_name == "Alicia"
    assert bucket.Object(changed.key).get()["Body"].read() == b"other bytes"


def test_what_was_taken_down_since_the_backup_is_not_put_back(src, user, attachment_of, bucket):
    attachment = attachment_of(user)
    back_up(src)
    bucket.Object(attachment.key).delete()
    Attachment.objects.update(status="infected", storage_key=attachment.pending_key)

    report = run_json(src, "--keep-existing")

    assert report["objects"]["different"] == 1
    assert attachment.key not in list_keys(bucket)
    assert Attachment.objects.get().status == "infected"


def test_a_dry_run_changes_nothing(src, user, attachment_of, message_of, bucket):
    key = attachment_of(user, message_id=message_of(user).pk).key
    back_up(src)
    lose_everything(bucket)

    text = run(src, "--dry-run")

    assert key in text
    assert "Dry run: nothing was changed." in text
    assert "│ attachments.attachment              │   1 │" in text
    assert not type(user).objects.exists()
    assert list_keys(bucket) == set()
    report = run_json(src, "--dry-run")
    assert (report["dry_run"], report["unnamed"]) == (True, 0)
    assert report["named"][0] == {"what": "object", "name": key, "is_new": True}
    assert "attachments.attachment" in {item["what"] for item in report["named"]}


def test_a_dry_run_only_reads(src, user, attachment_of, message_of, bucket, store_calls):
    attachment_of(user, message_id=message_of(user).pk)
    back_up(src)
    lose_everything(bucket)
    forget_bucket()
    store_calls()

    with CaptureQueriesContext(connection) as queries:
        run(src, "--dry-run", "--overwrite")

    assert set(store_calls()) <= {"HeadBucket", "ListObjectsV2", "HeadObject", "GetObject"}
    reading = ("SELECT", "BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
    assert [item["sql"] for item in queries if not item["sql"].startswith(reading)] == []


@pytest.fixture
def other_bucket(settings, s3):
    """From here on, the settings name a bucket that is not there."""
    storages = copy.deepcopy(settings.STORAGES)
    name = storages["attachments"]["OPTIONS"]["bucket_name"] = name_bucket()
    settings.STORAGES = storages
    bucket = s3.Bucket(name)
    yield bucket
    if bucket.creation_date:
        bucket.objects.all().delete()
        bucket.delete()


def test_a_dry_run_tells_that_the_bucket_is_missing(src, user, attachment_of, request):
    attachment_of(user)
    back_up(src)
    other_bucket = request.getfixturevalue("other_bucket")

    with pytest.raises(CommandError, match="The bucket is missing") as stopped:
        run(src, "--dry-run")

    assert stopped.value.returncode == 2
    assert other_bucket.creation_date is None


def test_a_restore_makes_the_bucket(src, user, attachment_of, request):
    attachment = attachment_of(user)
    back_up(src)
    lose_database()
    other_bucket = request.getfixturevalue("other_bucket")

    assert run_json(src)["objects"]["created"] == 1
    assert list_keys(other_bucket) == {attachment.key}


def test_a_restore_makes_no_bucket_where_there_are_files(src, user, attachment_of, request):
    attachment_of(user)
    back_up(src)
    other_bucket = request.getfixturevalue("other_bucket")

    with pytest.raises(CommandError, match="is missing") as stopped:
        run(src)

    assert stopped.value.returncode == 2
    assert other_bucket.creation_date is None


def test_without_a_terminal_overwriting_needs_a_yes(src, changed, user, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)

    with pytest.raises(CommandError, match="needs --yes") as stopped:
        run(src, "--overwrite")

    assert stopped.value.returncode == 2
    assert type(user).objects.get().first_name == "Alicia"
    run(src, "--overwrite", "--yes")
    assert type(user).objects.get().first_name == ""


def test_rows_that_do_not_fit_are_refused_whole(
    src, user, attachment_of, django_user_model, bucket
):
    attachment_of(user)
    back_up(src)
    lose_everything(bucket)
    django_user_model.objects.create_user("nobody")
    django_user_model.objects.create_user("alice", pk=user.pk + 1)

    with pytest.raises(CommandError, match=r"do not fit.*auth_user_username") as stopped:
        run(src, "--overwrite", "--no-input")

    assert stopped.value.returncode == 1
    assert {row.username for row in django_user_model.objects.all()} == {"nobody", "alice"}
    assert not Attachment.objects.exists()


# What is wrong in the backup


def test_an_object_that_the_backup_lost_is_left_out_with_its_row(
    src, tmp_path, user, attachment_of, bucket
):
    sound, altered, lost = (attachment_of(user) for _ in range(3))
    back_up(src)
    path = tmp_path / "backup" / "objects" / altered.key
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    (tmp_path / "backup" / "objects" / lost.key).unlink()
    lose_everything(bucket)

    report = run_json(src, status=1)

    assert {problem["key"]: problem["kind"] for problem in report["problems"]} == {
        altered.key: "altered",
        lost.key: "missing",
    }
    assert report["left_out"] == 2
    assert list_keys(bucket) == {sound.key}
    assert list(Attachment.objects.all()) == [sound]


def test_rows_whose_object_was_missing_already_are_left_out(src, user, attachment_of, bucket):
    missing, kept = attachment_of(user), attachment_of(user)
    bucket.Object(missing.key).delete()
    back_up(src, status=1)
    lose_everything(bucket)

    report = run_json(src)

    assert report["left_out"] == 1
    assert list(Attachment.objects.all()) == [kept]


def test_altered_rows_are_refused(src, tmp_path, user, attachment_of, bucket):
    attachment_of(user)
    back_up(src)
    (rows,) = (tmp_path / "backup").rglob("rows.jsonl")
    rows.write_bytes(rows.read_bytes().replace(b"alice", b"mallo"))
    lose_everything(bucket)

    with pytest.raises(CommandError, match=r"rows.jsonl is missing in the backup, or was altered"):
        run(src)
    assert not Attachment.objects.exists()


def test_a_key_that_leads_out_of_the_backup(src, tmp_path, user, attachment_of, bucket):
    attachment = attachment_of(user)
    Attachment.objects.update(storage_key="../../../etc/passwd")

    with pytest.raises(CommandError, match="cannot be read or written"):
        back_up(src)
    assert attachment.key in list_keys(bucket)


def test_an_older_snapshot(src, user, attachment_of, bucket):
    attachment_of(user)
    back_up(src)
    older = json.loads(back_up(src, "--json"))
    attachment_of(user)
    back_up(src)
    lose_everything(bucket)

    run(src, "--snapshot", older["snapshot"])

    assert Attachment.objects.count() == 1


def test_restore_verifies_too(src, user, attachment_of):
    attachment_of(user)
    back_up(src)

    assert run_json(src, "--verify")["objects"] == 1


def test_there_is_no_such_backup(tmp_path):
    with pytest.raises(
        CommandError, match="There is no finished snapshot here: snapshots/"
    ) as stopped:
        run(tmp_path / "nothing")
    assert stopped.value.returncode == 2
    assert not (tmp_path / "nothing").exists()


# What fails on the way


def test_the_store_is_down(src, user, attachment_of, settings):
    attachment_of(user)
    back_up(src)
    take_store_away(settings)

    with pytest.raises(CommandError, match=r"not available.*Could not connect") as stopped:
        run(src)
    assert stopped.value.returncode == 2


def test_files_move_to_another_store_while_users_work(
    src, user, upload, attachment_of, settings, tmp_path, samples
):
    """As docs/operations.md has it, with two real stores."""
    kept, deleted = attachment_of(user), attachment_of(user)
    back_up(src)
    later = services.confirm_upload(attachment_id=upload(user).attachment_id, user=user)
    services.process_waiting()
    back_up(src)
    services.delete_attachment(attachment_id=deleted.pk, user=user)
    store = make_store(tmp_path / "new")
    use_endpoint(settings, store.start())
    commands.run("setup_storage")

    preview = run_json(src, "--objects-only", "--dry-run")
    report = run_json(src, "--objects-only")

    assert preview["objects"] == report["objects"]
    assert report["objects"] == {"created": 2, "unchanged": 0, "different": 0}
    assert (report["rows"], report["left_out"]) == ({}, 1)
    assert set(Attachment.objects.values_list("pk", flat=True)) == {kept.pk, later.pk}
    served = requests.get(services.get_download_url(later), timeout=5)
    assert (served.content, served.headers["Content-Type"]) == (samples["image/png"], "image/png")
    assert "immutable" in served.headers["Cache-Control"]
    assert commands.run("reconcile_storage", status=1).count("missing_thumbnail") == 1
    commands.run("reconcile_storage", "--mark-missing", "--no-input")
    commands.run("process_attachments")
    commands.run("reconcile_storage")
    assert Attachment.objects.get(pk=later.pk).thumbnail_key
    store.kill()


RESTORE_AND_DIE = """
import os, signal, sys
import django
django.setup()
from django.core.management import call_command
from attachments import storage
from attachments.backups import row_load

put, keys = storage.put_object, []

def put_three(*, key, **kwargs):
    if len(keys) == 3:
        die()
    keys.append(key)
    return put(key=key, **kwargs)

def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)

{}
call_command("restore_attachments", sys.argv[1], "--jobs", "1")
"""


def restore_and_die(src, where):
    process = commands.start_python("-c", RESTORE_AND_DIE.format(where), src)
    assert process.wait(60) == -signal.SIGKILL


def test_a_restore_is_killed_amid_its_objects(src, user, attachment_of, message_of, bucket):
    message = message_of(user)
    for _ in range(5):
        attachment_of(user, message_id=message.pk)
    before, keys = dump(), list_keys(bucket)
    back_up(src)
    lose_everything(bucket)

    restore_and_die(src, "storage.put_object = put_three")

    assert len(list_keys(bucket)) == 3
    assert not Attachment.objects.exists()  # no row without its object
    report = run_json(src)
    assert (report["objects"]["created"], report["objects"]["unchanged"]) == (2, 3)
    assert (dump(), list_keys(bucket)) == (before, keys)


def test_a_restore_is_killed_before_its_rows_are_committed(src, user, attachment_of, bucket):
    attachment_of(user)
    before, keys = dump(), list_keys(bucket)
    back_up(src)
    lose_everything(bucket)

    restore_and_die(src, "row_load._advance_sequences = die")

    assert not type(user).objects.exists()
    assert run_json(src)["objects"] == {"created": 0, "unchanged": 1, "different": 0}
    assert (dump(), list_keys(bucket)) == (before, keys)
