"""What rows of the host protect stays, and stops nothing else."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import CASCADE, DO_NOTHING, PROTECT, RESTRICT, SET_NULL, ForeignKey
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from attachments import services
from attachments.models import Attachment
from attachments.services import batches, protection
from tests import commands
from tests.stores import list_keys

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("empty_bucket")]


@pytest.fixture
def cover(host_model):
    """Make a host's model whose rows hang on an attachment."""

    def make(on_delete, **options):
        key = ForeignKey(Attachment, on_delete=on_delete, related_name="+", **options)
        return host_model("Cover", file=key)

    return make


@pytest.fixture
def restricted_behind(host_model, cover):
    """Make rows that a restricted row of the host hangs on, behind one that goes with them."""
    album = cover(CASCADE)
    song = host_model("Song", album=ForeignKey(album, on_delete=RESTRICT, related_name="+"))

    def make(attachment):
        song.objects.create(album=album.objects.create(file=attachment))

    return make


def age(days=8):
    moment = timezone.now() - timedelta(days=days)
    Attachment.objects.update(created_at=moment, confirmed_at=moment, expires_at=moment)


def list_rows():
    return set(Attachment.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("on_delete", [PROTECT, RESTRICT, DO_NOTHING])
def test_bulk_deletion_leaves_what_is_protected(user, attachment_of, bucket, cover, on_delete):
    kept, gone = attachment_of(user), attachment_of(user)
    cover(on_delete).objects.create(file=kept)

    deletion = services.delete_attachments(Attachment.objects.all())

    assert deletion == services.Deletion(deleted=1, protected=1)
    assert list_rows() == {kept.pk}
    assert list_keys(bucket) == {kept.key}
    assert gone.pk != kept.pk


def test_bulk_deletion_does_to_other_rows_of_the_host_what_they_ask(
    user, attachment_of, host_model
):
    attachment = attachment_of(user)
    going = host_model("Going", file=ForeignKey(Attachment, on_delete=CASCADE, related_name="+"))
    key = ForeignKey(Attachment, on_delete=SET_NULL, null=True, related_name="+")
    staying = host_model("Staying", file=key)
    for model in (going, staying):
        model.objects.create(file=attachment)
    # What protects a row that stays protects no file.
    key = ForeignKey(staying, on_delete=PROTECT, related_name="+")
    host_model("Behind", staying=key).objects.create(staying=staying.objects.get())

    deletion = services.delete_attachments(Attachment.objects.all())

    assert deletion == services.Deletion(deleted=1, protected=0)
    assert not going.objects.exists()
    assert staying.objects.get().file_id is None


def test_bulk_deletion_asks_as_often_for_many_protected_rows(user, attachment_of, cover):
    covers = cover(PROTECT)
    for _ in range(2):
        covers.objects.create(file=attachment_of(user))

    def count_queries(rows):
        with CaptureQueriesContext(connection) as queries:
            services.delete_attachments(rows)
        return len(queries)

    one = Attachment.objects.filter(pk=Attachment.objects.first().pk)
    assert count_queries(Attachment.objects.all()) == count_queries(one)


def test_bulk_deletion_goes_on_behind_a_batch(user, attachment_of, cover, monkeypatch):
    monkeypatch.setattr(services.bulk, "BATCH_SIZE", 2)
    kept = [attachment_of(user) for _ in range(5)][2]
    cover(PROTECT).objects.create(file=kept)

    deletion = services.delete_attachments(Attachment.objects.all())

    assert deletion == services.Deletion(deleted=4, protected=1)
    assert list_rows() == {kept.pk}


@pytest.mark.parametrize("on_delete", [PROTECT, RESTRICT, DO_NOTHING])
def test_a_purge_skips_what_is_protected_and_says_so(
    user, attachment_of, bucket, cover, host_model, on_delete
):
    kept = attachment_of(user)
    cover(on_delete).objects.create(file=kept)
    host_model("Other", file=ForeignKey(Attachment, on_delete=on_delete, related_name="+"))
    size_bytes = attachment_of(user).size_bytes
    age()

    previewed = services.preview_purge()
    report = services.purge_attachments(batch_size=1)

    expected = services.PurgeReport(orphans=1, protected=1, size_bytes=size_bytes)
    assert previewed == report == expected
    assert list_keys(bucket) == {kept.key}


def test_a_foreign_key_that_the_database_does_not_hold_protects_nothing(user, attachment_of, cover):
    cover(DO_NOTHING, db_constraint=False).objects.create(file=attachment_of(user))

    assert services.delete_attachments(Attachment.objects.all()).deleted == 1


def test_what_is_protected_behind_a_row_that_would_go_is_seen_beforehand(
    user, attachment_of, host_model, cover
):
    kept, gone = attachment_of(user), attachment_of(user)
    album = cover(CASCADE)
    song = host_model("Song", album=ForeignKey(album, on_delete=PROTECT, related_name="+"))
    song.objects.create(album=album.objects.create(file=kept))
    album.objects.create(file=gone)  # without a song
    age()

    assert services.preview_purge().protected == 1
    assert services.purge_attachments().protected == 1
    assert list_rows() == {kept.pk}


def test_rows_of_the_host_that_hang_on_each_other_end_the_search(user, attachment_of, host_model):
    comment = host_model(
        "Comment",
        file=ForeignKey(Attachment, on_delete=CASCADE, related_name="+"),
        answered=ForeignKey("self", null=True, on_delete=CASCADE, related_name="+"),
    )
    first = comment.objects.create(file=attachment_of(user))
    comment.objects.create(file=attachment_of(user), answered=first)

    deletion = services.delete_attachments(Attachment.objects.all())

    assert deletion == services.Deletion(deleted=2, protected=0)
    assert not comment.objects.exists()


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_a_purge_finds_by_trying_what_it_cannot_see_beforehand(
    user, attachment_of, restricted_behind, batch_size
):
    kept = {attachment_of(user) for _ in range(2)}
    for attachment in kept:
        restricted_behind(attachment)
    for _ in range(3):
        attachment_of(user)
    age()

    report = services.purge_attachments(batch_size=batch_size)

    assert (report.orphans, report.protected) == (3, 2)
    assert list_rows() == {attachment.pk for attachment in kept}


def test_a_purge_tries_each_row_once(user, attachment_of, restricted_behind, monkeypatch):
    attachments = [attachment_of(user) for _ in range(3)]
    restricted_behind(attachments[0])
    age()
    tried = []
    delete_unprotected = batches.delete_unprotected

    def try_once(pks):
        assert not {*pks} & {*tried}
        tried.extend(pks)
        return delete_unprotected(pks)

    monkeypatch.setattr(batches, "WORKERS", 1)
    monkeypatch.setattr(batches, "delete_unprotected", try_once)
    services.purge_attachments(batch_size=1)

    assert sorted(tried) == sorted(attachment.pk for attachment in attachments)


def test_a_purge_ends_if_there_are_too_many_of_these(
    user, attachment_of, restricted_behind, monkeypatch
):
    monkeypatch.setattr(batches, "MAX_PASSED", 0)
    monkeypatch.setattr(batches, "WORKERS", 1)
    for _ in range(3):
        restricted_behind(attachment_of(user))
    age()

    assert services.purge_attachments(batch_size=1).protected < 3
    assert Attachment.objects.count() == 3


def test_bulk_deletion_finds_them_by_trying_too(user, attachment_of, restricted_behind):
    kept, _gone = attachment_of(user), attachment_of(user)
    restricted_behind(kept)

    deletion = services.delete_attachments(Attachment.objects.all())

    assert deletion == services.Deletion(deleted=1, protected=1)
    assert list_rows() == {kept.pk}


def test_the_command_says_what_was_left_undone(user, attachment_of, cover):
    cover(PROTECT).objects.create(file=attachment_of(user))
    age()

    assert "Kept, because other records need them │        1 │" in commands.run(
        "purge_orphans", status=1
    )
    report = json.loads(commands.run("purge_orphans", "--json", status=1))
    assert (report["protected"], report["orphans"]) == (1, 0)
    assert json.loads(commands.run("purge_orphans", "--json", "--dry-run"))["protected"] == 1


def test_the_api_does_not_delete_what_the_database_protects(user, attachment_of, cover, api):
    attachment = attachment_of(user)
    cover(DO_NOTHING).objects.create(file=attachment)

    answer = api(user).delete(f"/api/v1/attachments/{attachment.pk}")

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (409, "in_use")
    assert list_rows() == {attachment.pk}


def test_the_admin_says_what_stays(user, attachment_of, cover, client, django_user_model):
    kept = attachment_of(user)
    attachment_of(user)
    cover(PROTECT).objects.create(file=kept)
    client.force_login(django_user_model.objects.create_superuser("root"))
    data = {
        "action": "delete_selected",
        "_selected_action": [str(pk) for pk in list_rows()],
        "post": "yes",
    }

    answer = client.post("/admin/attachments/attachment/", data, follow=True)

    page = answer.content.decode()
    assert "Deleted 1 attachment." in page
    assert "1 attachment stays: other records need it." in page
    assert list_rows() == {kept.pk}


def test_what_is_gone_already_is_not_counted_as_deleted():
    assert protection.delete_unprotected([uuid4()]) == (set(), 0)


def test_without_rows_of_the_host_nothing_is_asked():
    assert not protection.has_host_rows()
    rows = Attachment.objects.all()
    assert str(protection.exclude_protected(rows).query) == str(rows.query)
