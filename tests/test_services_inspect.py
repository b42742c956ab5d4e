"""What workers find in ready files, and their thumbnails: made, served, and deleted with them."""

import errno
import io
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from itertools import islice
from uuid import uuid4

import pytest
import requests
from django.core.management import CommandError, call_command
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from PIL import Image

from attachments import backups, services, storage
from attachments.errors import DecodingUnavailable, StorageUnavailable
from attachments.media import Inspection
from attachments.models import Attachment, ObjectDeletion
from attachments.scanning import Outcome, Verdict
from attachments.services import FindingKind, deletions, inspect, process, reconcile, rescans
from attachments.services.leases import RETRY_AFTER
from attachments.services.scanned import Scan
from tests import commands
from tests.stores import list_keys, take_store_away

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("empty_bucket"),
]


@pytest.fixture
def ready(user, upload):
    """Make a ready attachment into which nobody has looked; what its client put is gone."""

    def make(**request):
        ticket = upload(request.pop("user", user), **request)
        attachment = services.confirm_upload(attachment_id=ticket.attachment_id, user=user)
        services.remove_now()
        return attachment

    return make


@pytest.fixture
def inspected(ready):
    def make(**request):
        attachment = ready(**request)
        services.process_attachment(attachment_id=attachment.pk)
        attachment.refresh_from_db()
        return attachment

    return make


def list_thumbnails(bucket):
    return {key for key in list_keys(bucket) if key.startswith("thumbnails/")}


def carry_out_all():
    """What is noted goes, now and not in an hour."""
    ObjectDeletion.objects.update(due_at=Now())
    services.carry_out_deletions()


def lose_process(*args, **kwargs):
    raise KeyboardInterrupt


# What is found


def test_a_picture_gets_its_size_and_a_thumbnail(user, ready, api, bucket, samples):
    attachment = ready()
    before = api(user).get(f"/api/v1/attachments/{attachment.pk}").json()
    assert (before["media"], before["thumbnail_url"]) == ({}, None)

    services.process_attachment(attachment_id=attachment.pk)

    size = Image.open(io.BytesIO(samples["image/png"])).size
    after = api(user).get(f"/api/v1/attachments/{attachment.pk}").json()
    assert after["media"] == {"width": size[0], "height": size[1]}
    served = requests.get(after["thumbnail_url"], timeout=10)
    assert served.status_code == 200
    assert served.headers["Content-Type"] == "image/webp"
    assert served.headers["Content-Disposition"] == "inline"
    assert served.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert Image.open(io.BytesIO(served.content)).format == "WEBP"
    attachment.refresh_from_db()
    assert list_keys(bucket) == {attachment.key, attachment.thumbnail_key}
    assert not attachment.has_work_left
    assert ObjectDeletion.objects.count() == 0


@pytest.mark.parametrize(
    ("content_type", "facts"),
    [
        ("video/mp4", {"width", "height", "duration_seconds"}),
        ("audio/mpeg", {"duration_seconds"}),
        ("application/pdf", {"page_count"}),
    ],
)
def test_other_files_get_facts_alone(inspected, content_type, facts):
    attachment = inspected(content_type=content_type)

    assert attachment.media.keys() == facts
    assert (attachment.is_inspected, attachment.thumbnail_key) == (True, "")


def test_what_cannot_be_looked_into_leaves_no_work(ready, settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "ALLOWED_CONTENT_TYPES": ["text/plain"]}

    attachment = ready(content_type="text/plain", content=b"a text")

    assert attachment.checksum_sha256
    assert not attachment.has_work_left


def test_what_cannot_be_looked_into_is_not_even_fetched(ready, settings, store_calls):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "ALLOWED_CONTENT_TYPES": ["text/plain"]}
    attachment = ready(content_type="text/plain", content=b"a text")
    services.inspect_again()
    store_calls()

    services.process_attachment(attachment_id=attachment.pk)

    assert Attachment.objects.get().is_inspected
    assert store_calls() == []


def test_what_is_too_large_to_be_looked_into_is_not_even_fetched(ready, monkeypatch, store_calls):
    attachment = ready()
    monkeypatch.setattr(inspect, "MAX_FILE_BYTES", attachment.size_bytes - 1)
    store_calls()

    services.process_attachment(attachment_id=attachment.pk)

    assert Attachment.objects.get().is_inspected
    assert store_calls() == []


def test_a_broken_picture_is_looked_into_once(inspected, bucket, samples):
    attachment = inspected(content=samples["image/png"][:60])

    assert (attachment.status, attachment.media, attachment.thumbnail_key) == ("ready", {}, "")
    assert attachment.is_inspected
    assert list_thumbnails(bucket) == set()


def test_without_thumbnails_there_are_facts(inspected, bucket, settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "THUMBNAIL_PX": 0}

    attachment = inspected()

    assert attachment.media
    assert list_thumbnails(bucket) == set()


def test_a_private_thumbnail_has_a_signed_link(inspected, settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_READ": False}

    url = services.get_thumbnail_url(inspected())

    assert "X-Amz-Signature" in url
    assert requests.get(url, timeout=10).headers["Cache-Control"].startswith("private")


def test_a_cdn_serves_thumbnails_too(inspected, settings):
    attachment = inspected()
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "CDN_URL": "https://cdn.example.com"}

    url = services.get_thumbnail_url(attachment)

    assert url == f"https://cdn.example.com/{attachment.thumbnail_key}"


def test_messages_and_the_admin_show_thumbnails(
    user, staff_user, inspected, api, client, message_of
):
    message = message_of(user)
    url = services.get_thumbnail_url(inspected(message_id=message.pk))
    staff_user.is_superuser = True
    staff_user.save()
    client.force_login(staff_user)

    (shown,) = api(user).get(f"/api/v1/conversations/{message.conversation_id}/messages").json()["results"]  # fmt: skip

    assert shown["attachments"][0]["thumbnail_url"] == url
    assert f'src="{url}"' in client.get("/admin/attachments/attachment/").content.decode()


# Deleted with their attachment


def delete_by_api(attachment):
    services.delete_attachment(attachment_id=attachment.pk, user=attachment.user)


def delete_in_bulk(attachment):
    services.delete_attachments(Attachment.objects.filter(pk=attachment.pk))


def delete_by_sql(attachment):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM attachments")
    services.carry_out_deletions()


def take_down(attachment):
    storage.delete_objects([attachment.key])
    services.reconcile_storage(mark_missing=True)
    services.carry_out_deletions()


def find_infected(attachment):
    """As ``scan_attachments`` does, long after it was published."""
    verdict = Verdict(outcome=Outcome.INFECTED, reason="Eicar", scanner="test")
    rescans._keep(attachment, Scan(verdict=verdict, checksum_sha256=""))


@pytest.mark.parametrize(
    "delete",
    [
        find_infected,
        delete_by_api,
        delete_in_bulk,
        delete_by_sql,
        take_down,
        lambda attachment: attachment.user.delete(),
        lambda attachment: Attachment.objects.all().delete(),
    ],
)
def test_a_thumbnail_goes_with_its_file_however_that_goes(inspected, bucket, delete):
    attachment = inspected()
    Attachment.objects.update(expires_at=timezone.now() - timedelta(days=1))

    delete(attachment)

    assert list_keys(bucket) == set()
    assert ObjectDeletion.objects.count() == 0


# Races and deaths


@pytest.mark.postgres
def test_a_row_that_is_taken_down_gets_no_thumbnail_meanwhile(ready, monkeypatch):
    """One that has none yet is locked too, or else it could not be taken down."""
    attachment, note = ready(), inspect.note_deletions

    def look_from_elsewhere(keys):
        with ThreadPoolExecutor(1) as other:
            free = other.submit(find_unlocked, attachment.pk).result()
        found.append(free)
        note(keys)

    found = []
    monkeypatch.setattr(inspect, "note_deletions", look_from_elsewhere)

    find_infected(attachment)

    assert found == [[]]


def find_unlocked(pk):
    try:
        with transaction.atomic():
            return list(Attachment.objects.select_for_update(skip_locked=True).filter(pk=pk))
    finally:
        connection.close()


@pytest.fixture
def before_put(monkeypatch):
    """Let something happen before, or after, a thumbnail is written."""
    put = inspect._put_thumbnail

    def arrange(*, before=lambda: None, after=lambda: None):
        def put_late(*args):
            monkeypatch.setattr(inspect, "_put_thumbnail", put)
            before()
            put(*args)
            after()

        monkeypatch.setattr(inspect, "_put_thumbnail", put_late)

    return arrange


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_row_that_is_deleted_meanwhile(ready, bucket, before_put, moment):
    attachment = ready()
    before_put(**{moment: Attachment.objects.all().delete})

    services.process_attachment(attachment_id=attachment.pk)

    assert list_keys(bucket) == set()
    carry_out_all()
    assert list_keys(bucket) == set()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_two_workers_at_once(ready, bucket, before_put, moment):
    attachment = ready()

    def work_too():
        Attachment.objects.update(lease_expires_at=None)  # the first one takes too long
        services.process_attachment(attachment_id=attachment.pk)

    before_put(**{moment: work_too})

    services.process_attachment(attachment_id=attachment.pk)

    attachment.refresh_from_db()
    assert list_keys(bucket) == {attachment.key, attachment.thumbnail_key}
    carry_out_all()
    assert list_keys(bucket) == {attachment.key, attachment.thumbnail_key}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_worker_that_dies_leaves_a_note_and_the_next_one_finishes(
    ready, bucket, before_put, moment
):
    attachment = ready()
    before_put(**{moment: lose_process})

    with pytest.raises(KeyboardInterrupt):
        services.process_attachment(attachment_id=attachment.pk)

    left = list_thumbnails(bucket)
    assert len(left) == (moment == "after")
    assert services.reconcile_storage(grace=timedelta(0)).is_clean
    assert services.process_waiting().processed == 0  # put off, as if it had failed
    assert services.process_waiting(with_put_off=True).processed == 1
    carry_out_all()
    attachment.refresh_from_db()
    assert list_keys(bucket) == {attachment.key, attachment.thumbnail_key}
    assert attachment.thumbnail_key not in left


def test_a_worker_that_slept_too_long_names_no_thumbnail(ready, bucket, before_put):
    attachment = ready()
    before_put(after=carry_out_all)

    services.process_attachment(attachment_id=attachment.pk)

    attachment.refresh_from_db()
    assert (attachment.is_inspected, attachment.thumbnail_key) == (False, "")
    services.process_waiting(with_put_off=True)
    attachment.refresh_from_db()
    assert list_keys(bucket) == {attachment.key, attachment.thumbnail_key}


def test_a_store_that_is_down_is_asked_again(ready, settings):
    attachment = ready()
    storages = settings.STORAGES
    take_store_away(settings)
    with pytest.raises(StorageUnavailable):
        services.process_attachment(attachment_id=attachment.pk)

    settings.STORAGES = storages
    assert services.process_waiting(with_put_off=True).processed == 1

    attachment.refresh_from_db()
    assert attachment.thumbnail_key
    assert (attachment.tries, attachment.lease_expires_at) == (0, None)


def be_unable(*args, **kwargs):
    raise DecodingUnavailable(reason="no more processes")


def test_what_fails_again_and_again_is_tried_less_often(ready, monkeypatch):
    attachment = ready()
    Attachment.objects.update(tries=3)
    monkeypatch.setattr(inspect, "inspect_file", be_unable)

    report = services.process_waiting()

    attachment.refresh_from_db()
    assert (report.failed, report.waiting) == (1, 1)
    assert isinstance(report.outage, DecodingUnavailable)
    assert (attachment.tries, attachment.is_inspected) == (4, False)
    wait = attachment.lease_expires_at - timezone.now()
    assert timedelta(0) < RETRY_AFTER[3] - wait < timedelta(seconds=30)
    assert services.find_retry_time(attachment.pk) == attachment.lease_expires_at
    assert services.process_waiting().failed == 0
    assert (process.count_waiting(), process.count_waiting(with_put_off=True)) == (0, 1)


def test_what_nobody_put_off_is_tried_again_a_little_later(ready):
    for attachment_id in (ready().pk, uuid4()):
        wait = services.find_retry_time(attachment_id) - timezone.now()
        assert timedelta(0) < RETRY_AFTER[0] - wait < timedelta(seconds=30)


def test_one_that_is_asked_for_is_processed_alone(ready):
    asked, other = ready(), ready()

    services.process_attachment(attachment_id=asked.pk)

    other.refresh_from_db(), asked.refresh_from_db()
    assert asked.is_inspected
    assert (other.is_inspected, other.tries, other.lease_expires_at) == (False, 0, None)


def test_a_run_is_over_when_some_in_a_row_meet_an_outage(ready, monkeypatch):
    """It tells of the store before all else."""
    store_away, unable = StorageUnavailable(), DecodingUnavailable(reason="no more processes")
    outcomes = [store_away, unable, ValueError(), unable, unable, None, unable, unable, unable]
    look, left = inspect.inspect_file, [*outcomes]

    def look_or_fail(file, **options):
        if error := left.pop(0):
            raise error
        return look(file, **options)

    for _ in [*outcomes, "one more"]:
        ready()
    monkeypatch.setattr(inspect, "inspect_file", look_or_fail)
    report = services.process_waiting()

    assert report == process.ProcessReport(processed=1, failed=8, waiting=9, outage=store_away)
    assert Attachment.objects.filter(is_inspected=False, tries=0).count() == 1


def test_each_is_tried_once_though_none_changes(ready, monkeypatch):
    monkeypatch.setattr(process, "BATCH_SIZE", 1)
    once, twice, *fresh = sorted(ready().pk for _ in range(4))
    for pk, tries in ((once, 1), (twice, 2)):
        Attachment.objects.filter(pk=pk).update(tries=tries)

    tried = process.try_each(Attachment.objects.ready(), lambda attachment_id: None)

    assert [pk for pk, _error in islice(tried, 6)] == [*fresh, once, twice]


def test_an_object_that_is_missing_is_not_looked_for_at_each_run(ready):
    attachment = ready()
    storage.delete_objects([attachment.key])

    services.process_waiting()

    attachment.refresh_from_db()
    assert (attachment.tries, attachment.is_leased) == (1, True)


def test_tries_are_counted_as_far_as_the_column_goes(ready, monkeypatch):
    attachment = ready()
    Attachment.objects.update(tries=2**15 - 1)
    monkeypatch.setattr(inspect, "inspect_file", be_unable)

    report = services.process_waiting()

    attachment.refresh_from_db()
    assert isinstance(report.outage, DecodingUnavailable)
    assert (attachment.tries, attachment.is_leased) == (2**15 - 1, True)


def test_a_file_that_fails_by_a_fault_of_ours_is_logged_with_its_traceback(
    ready, monkeypatch, caplog
):
    attachment = ready()
    monkeypatch.setattr(inspect, "inspect_file", lambda *args, **kwargs: 1 / 0)

    report = services.process_waiting()

    assert (report.failed, report.outage) == (1, None)
    assert f"Left undone: attachment {attachment.pk}" in caplog.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_run_ends_when_the_database_does_not_answer(ready, monkeypatch, error):
    ready(), ready()
    tried = []

    def fail(*, attachment_id):
        tried.append(attachment_id)
        raise error

    monkeypatch.setattr(process, "process_attachment", fail)

    with pytest.raises(error):
        services.process_waiting()
    assert len(tried) == 1


def test_files_that_fail_keep_no_other_from_its_turn(ready, monkeypatch):
    """As many as end a run come first by their ids, whether they were tried before or not."""
    failing = [ready().pk for _ in range(process.MAX_OUTAGES_IN_A_ROW)]
    look = inspect.inspect_file
    monkeypatch.setattr(inspect, "inspect_file", be_unable)
    services.process_waiting()
    monkeypatch.setattr(inspect, "inspect_file", look)
    tried, fresh = ready(), ready()
    Attachment.objects.update(lease_expires_at=Now())
    Attachment.objects.filter(pk__in=failing).update(tries=5)
    Attachment.objects.filter(pk=tried.pk).update(tries=1)
    done = []

    def look_or_fail(file, **options):
        done.append(1)
        if len(done) > 2:
            be_unable()
        return look(file, **options)

    monkeypatch.setattr(inspect, "inspect_file", look_or_fail)
    services.process_waiting()

    assert all(Attachment.find(row.pk).is_inspected for row in (tried, fresh))


def test_no_room_for_one_file_keeps_no_other_waiting(ready, monkeypatch):
    ready(), ready()
    fetch, calls = tempfile.TemporaryFile, []

    def make_file(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return fetch(*args, **kwargs)

    monkeypatch.setattr(tempfile, "TemporaryFile", make_file)

    report = services.process_waiting()

    assert (report.processed, report.failed, report.waiting) == (1, 1, 1)
    assert isinstance(report.outage, DecodingUnavailable)


# Reconcile and backups


def find():
    findings = []
    report = services.reconcile_storage(grace=timedelta(0), on_finding=findings.append)
    return [(item.kind, item.key) for item in findings], report


def test_reconcile_knows_thumbnails_both_ways(inspected, bucket, monkeypatch):
    monkeypatch.setattr(reconcile, "BATCH_SIZE", 1)
    lost, kept = inspected(), inspected()
    stray = f"thumbnails/{kept.pk}/{'0' * 32}.webp"
    bucket.put_object(Key=stray, Body=b"x")
    storage.delete_objects([lost.thumbnail_key])

    findings, report = find()

    assert sorted(findings) == [
        (FindingKind.MISSING_THUMBNAIL, lost.thumbnail_key),
        (FindingKind.UNKNOWN_OBJECT, stray),
    ]
    assert report.objects == 4

    report = services.reconcile_storage(grace=timedelta(0), delete_unknown=True, mark_missing=True)
    assert (report.deleted, report.marked, report.is_clean) == (1, 1, True)
    assert Attachment.find(lost.pk).thumbnail_key == ""
    services.process_waiting()
    lost.refresh_from_db()
    assert list_thumbnails(bucket) == {kept.thumbnail_key, lost.thumbnail_key}
    assert find()[0] == []


@pytest.mark.postgres
@pytest.mark.parametrize("is_bucket_lost", [True, False])
def test_thumbnails_are_made_again_after_a_restore(inspected, bucket, tmp_path, is_bucket_lost):
    attachment = inspected()
    archive = storage.open_archive(str(tmp_path))
    with backups.dump_rows() as dump:
        backups.backup_attachments(archive=archive, dump=dump)
    assert not list(tmp_path.rglob("*.webp"))
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE attachments")
    if is_bucket_lost:
        bucket.objects.all().delete()

    with backups.open_snapshot(archive) as snapshot:
        backups.restore_attachments(archive=archive, snapshot=snapshot)

    restored = Attachment.objects.get()
    assert (restored.media, restored.thumbnail_key) == (attachment.media, "")
    services.process_waiting()
    services.carry_out_deletions()
    restored.refresh_from_db()
    assert list_keys(bucket) == {restored.key, restored.thumbnail_key}
    with backups.open_snapshot(archive) as snapshot:  # nothing is different
        report = backups.restore_attachments(archive=archive, snapshot=snapshot)
    assert not report.has_different
    assert list_keys(bucket) == {restored.key, restored.thumbnail_key}


# The command


def test_make_thumbnails_looks_into_what_is_there(ready, bucket, samples):
    picture = ready()
    ready(content_type="application/pdf")
    ready(content=samples["image/png"][:60])
    ready().change(where={}, content_type="text/plain")  # nothing is to be found in it
    picture.change(where={}, lease_expires_at=timezone.now() + timedelta(hours=1))  # put off

    report = json.loads(commands.run("make_thumbnails", "--json"))

    assert report == {"inspected": 4, "thumbnails": 1, "unreadable": 1, "left": 0, "outage": None}
    picture.refresh_from_db()
    assert list_thumbnails(bucket) == {picture.thumbnail_key}
    assert json.loads(commands.run("make_thumbnails", "--json"))["inspected"] == 0


def test_make_thumbnails_again_after_a_change_of_size(inspected, bucket, settings):
    attachment = inspected()
    old_key = attachment.thumbnail_key
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "THUMBNAIL_PX": 16}

    commands.run("make_thumbnails", "--again")

    attachment.refresh_from_db()
    content = bucket.Object(attachment.thumbnail_key).get()["Body"].read()
    assert max(Image.open(io.BytesIO(content)).size) == 16
    services.carry_out_deletions()
    assert list_keys(bucket) == {attachment.key, attachment.thumbnail_key}
    assert attachment.thumbnail_key != old_key


@pytest.mark.parametrize("is_verdict", [False, True])
def test_make_thumbnails_again_drops_facts_for_a_verdict_alone(
    inspected, monkeypatch, capsys, is_verdict
):
    attachment = inspected()
    key, media = attachment.thumbnail_key, attachment.media
    monkeypatch.setattr(
        inspect, "inspect_file", (lambda *args, **kwargs: Inspection()) if is_verdict else be_unable
    )

    with nullcontext() if is_verdict else pytest.raises(CommandError):
        call_command("make_thumbnails", "--again", "--json")

    attachment.refresh_from_db()
    kept = ("", {}) if is_verdict else (key, media)
    assert (attachment.thumbnail_key, attachment.media) == kept
    report = json.loads(capsys.readouterr().out)
    assert report["left"] == int(not is_verdict)
    assert (report["outage"] is None) is is_verdict


def test_ready_files_that_were_looked_into_are_looked_into_again(ready, inspected):
    again, refused = inspected(), inspected()
    ready()
    refused.change(where={}, status="rejected", thumbnail_key="")

    assert services.inspect_again() == 1

    assert not Attachment.find(again.pk).is_inspected
    assert Attachment.find(refused.pk).is_inspected


def test_make_thumbnails_says_what_is_left(ready):
    storage.delete_objects([ready().key])
    progress = []

    first = services.inspect_waiting(on_progress=progress.append)
    report = json.loads(commands.run("make_thumbnails", "--json", status=1))

    assert first.left == report["left"] == 1
    assert progress == [1]  # it is tried once in a run


def test_notes_of_what_is_made_are_not_taken_before_their_time(bucket):
    bucket.put_object(Key="thumbnails/x/y.webp", Body=b"x")
    deletions.note_made("thumbnails/x/y.webp")

    services.carry_out_deletions()
    assert list_thumbnails(bucket) == {"thumbnails/x/y.webp"}
    with transaction.atomic():
        assert deletions.keep_made("thumbnails/x/y.webp")
        assert not deletions.keep_made("thumbnails/x/y.webp")
