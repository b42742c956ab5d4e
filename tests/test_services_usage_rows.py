"""One row of usage per user, kept by the database."""

import threading
from datetime import timedelta
from random import Random
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.models import F
from django.utils import timezone

from attachments import services
from attachments.errors import RejectedUpload
from attachments.models import Attachment, Usage
from tests.databases import wait_until_blocked

pytestmark = pytest.mark.django_db(transaction=True)

KEPT = ("ready", "scanning")
UNCONFIRMED = ("pending", "verifying")
FIELDS = ("files", "used_bytes", "unconfirmed", "unconfirmed_bytes", "refused")


def count_rows():
    """What the rows of usage have to be, counted in Python."""
    expected = {}
    for user_id, status, size_bytes in Attachment.objects.values_list(
        "user_id", "status", "size_bytes"
    ):
        counts = expected.setdefault(user_id, dict.fromkeys(FIELDS, 0))
        if status in KEPT:
            counts["files"] += 1
            counts["used_bytes"] += size_bytes or 0
        elif status in UNCONFIRMED:
            counts["unconfirmed"] += 1
            counts["unconfirmed_bytes"] += size_bytes or 0
        else:
            counts["refused"] += 1
    return expected


def read_usage():
    return {row.pop("user_id"): row for row in Usage.objects.values("user_id", *FIELDS)}


def assert_usage_is_right():
    __tracebackhide__ = True
    assert read_usage() == count_rows()


@pytest.fixture
def make_rows():
    """Make rows without objects, all in one statement."""

    def make(user, count=1, **fields):
        now = timezone.now()
        fields = {"status": "ready", "size_bytes": 10, "filename": "file"} | fields
        return Attachment.objects.bulk_create(
            Attachment(
                user=user,
                content_type="image/png",
                expires_at=now,
                lease_expires_at=now,
                storage_key="attachments/key",
                **fields,
            )
            for _ in range(count)
        )

    return make


@pytest.fixture
def run_at_once():
    """Run functions at the same time, each with a connection of its own; give their errors."""

    def run(*functions, seconds=60):
        barrier = threading.Barrier(len(functions))
        errors = []

        def call(function):
            try:
                barrier.wait(10)
                function()
            except Exception as error:  # noqa: BLE001
                errors.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=call, args=[item], daemon=True) for item in functions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds)
        assert not any(thread.is_alive() for thread in threads), "it hangs"
        return errors

    return run


# The life of a file


def test_presign_and_confirm(user, upload):
    ticket = upload(user, size_bytes=None)
    assert read_usage()[user.pk] == dict.fromkeys(FIELDS, 0) | {"unconfirmed": 1}

    attachment = services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    expected = {"files": 1, "used_bytes": attachment.size_bytes}
    assert read_usage()[user.pk] == dict.fromkeys(FIELDS, 0) | expected


def test_a_declared_size_counts_before_the_file_is_there(user, upload, samples):
    upload(user, size_bytes=len(samples["image/png"]))

    expected = {"unconfirmed": 1, "unconfirmed_bytes": len(samples["image/png"])}
    assert read_usage()[user.pk] == dict.fromkeys(FIELDS, 0) | expected


def test_a_batch_counts_each_file(user):
    file = {"filename": "a", "content_type": "image/png", "size_bytes": 7}

    services.presign_uploads(user=user, files=[file] * 20)

    expected = {"unconfirmed": 20, "unconfirmed_bytes": 140}
    assert read_usage()[user.pk] == dict.fromkeys(FIELDS, 0) | expected


def test_a_refused_file_takes_no_space(user, upload):
    ticket = upload(user, content=b"no picture")

    with pytest.raises(RejectedUpload):
        services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    assert read_usage()[user.pk] == dict.fromkeys(FIELDS, 0) | {"refused": 1}


# Whatever changes the rows

CHANGES = {
    "by the API": lambda api, user: api(user).delete(
        f"/api/v1/attachments/{Attachment.objects.filter(user=user).last().pk}"
    ),
    "one row": lambda api, user: Attachment.objects.filter(user=user).last().delete(),
    "the user": lambda api, user: user.delete(),
    "the messages": lambda api, user: user.messages.all().delete(),
    "a queryset": lambda api, user: Attachment.objects.filter(status="pending").delete(),
    "a queryset without signals": lambda api, user: Attachment.objects.filter(
        user=user
    )._raw_delete("default"),
    "many, by staff": lambda api, user: services.delete_attachments(
        Attachment.objects.filter(user=user)
    ),
    "raw SQL": lambda api, user: connection.cursor().execute("DELETE FROM attachments"),
    "marked missing": lambda api, user: Attachment.objects.filter(status="ready").update(
        status="rejected", error={"code": "missing", "params": {}}
    ),
    "another owner": lambda api, user: Attachment.objects.update(user=user),
    "another size": lambda api, user: Attachment.objects.update(size_bytes=F("size_bytes") + 5),
    "a scan": lambda api, user: Attachment.objects.filter(status="scanning").update(
        status="infected"
    ),
    "a status of a newer release": lambda api, user: Attachment.objects.filter(user=user).update(
        status="transcoding"
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_usage_follows_every_change(user, other_user, message_of, make_rows, api, change):
    # given
    for owner in (user, other_user):
        message = message_of(owner, user)
        make_rows(owner, 3, message=message)
        make_rows(owner, 2, status="pending", size_bytes=None)
        make_rows(owner, status="pending", size_bytes=40)
        make_rows(owner, status="verifying", size_bytes=50)
        make_rows(owner, status="scanning", waiting_since=timezone.now())
        make_rows(owner, status="rejected")
    assert_usage_is_right()
    before = read_usage()

    # when
    change(api, user)

    # then
    expected = count_rows()
    if Attachment.objects.filter(status="transcoding").exists():  # this release counts it nowhere
        expected.pop(user.pk)
    assert read_usage() == expected != before


def test_what_is_rolled_back_never_was(user, other_user, make_rows):
    make_rows(user, 2)
    before = read_usage()

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Attachment.objects.update(user=other_user)
        Attachment.objects.all().delete()
        raise ZeroDivisionError

    assert read_usage() == before == count_rows()


def test_a_part_that_is_rolled_back_never_was(user, make_rows):
    with transaction.atomic():
        make_rows(user)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            make_rows(user, 5)
            raise ZeroDivisionError
        make_rows(user, 2, status="pending")

    assert read_usage()[user.pk] == {
        "files": 1, "used_bytes": 10, "unconfirmed": 2, "unconfirmed_bytes": 20, "refused": 0,
    }  # fmt: skip


def test_a_transaction_sees_its_own_changes_once_they_are_settled(user, make_rows):
    with transaction.atomic():
        for count in (1, 2):
            make_rows(user)
            services.settle_usage()
            assert read_usage()[user.pk]["files"] == count
        make_rows(user)

    assert read_usage()[user.pk]["files"] == 3


def test_outside_of_a_transaction_there_is_nothing_to_settle(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        services.settle_usage()


@pytest.mark.postgres
def test_nothing_is_left_of_what_was_added(user, make_rows):
    make_rows(user, 3)
    Attachment.objects.all().delete()

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM attachments_usage_changes")
        assert cursor.fetchone() == (0,)


def test_a_deletion_makes_no_row(user, make_rows):
    """As when the tables are emptied one by one, that of usage first."""
    make_rows(user, 3)
    Usage.objects.all().delete()

    Attachment.objects.all().delete()

    assert read_usage() == {}


# Several at once


@pytest.mark.postgres
def test_a_lease_is_renewed_while_another_holds_the_row_of_usage(user, make_rows, run_at_once):
    make_rows(user, status="verifying")

    def renew():
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '5s'")
        Attachment.objects.update(lease_expires_at=timezone.now() + timedelta(minutes=1))

    with transaction.atomic():
        Usage.objects.select_for_update().get(user=user)
        assert run_at_once(renew) == []


@pytest.mark.postgres
def test_statements_of_a_transaction_in_any_order_of_users(
    user, other_user, make_rows, run_at_once
):
    """Each transaction changes rows of both users, one statement each: in opposite order."""
    make_rows(user, 10)
    make_rows(other_user, 10)

    def change(*owners):
        for _ in range(20):
            with transaction.atomic():
                for owner in owners:
                    make_rows(owner, 2, status="pending")
                for owner in owners:
                    newest = Attachment.objects.filter(user=owner, status="pending")[:1]
                    Attachment.objects.select_for_update(skip_locked=True).filter(
                        pk__in=[item.pk for item in newest]
                    ).delete()

    errors = run_at_once(*[lambda: change(user, other_user), lambda: change(other_user, user)] * 2)

    assert errors == []
    assert_usage_is_right()


@pytest.mark.postgres
def test_purges_and_deleted_users_at_once(django_user_model, run_at_once):
    """Django deletes a hundred rows a statement: each batch locks users in several statements."""
    # given
    users = django_user_model.objects.bulk_create(
        django_user_model(username=f"user-{number}") for number in range(300)
    )
    old = timezone.now() - timedelta(days=30)
    draw = Random(1)
    Attachment.objects.bulk_create(
        Attachment(
            user=draw.choice(users),
            filename="file",
            content_type="image/png",
            size_bytes=draw.randrange(100),
            status="ready",
            storage_key="attachments/key",
            created_at=old,
            confirmed_at=old + timedelta(seconds=draw.randrange(10_000)),
            expires_at=old,
        )
        for _ in range(3000)
    )
    kept = Attachment.objects.order_by("?").values_list("pk", flat=True)[:500]
    Attachment.objects.filter(pk__in=list(kept)).update(confirmed_at=timezone.now())

    # when
    def purge():
        services.purge_attachments(batch_size=500)

    errors = run_at_once(purge, purge, users[3].delete, users[200].delete)

    # then
    assert errors == []
    assert Attachment.objects.exists()
    assert not Attachment.objects.filter(confirmed_at__lt=old + timedelta(days=1)).exists()
    assert_usage_is_right()


@pytest.mark.postgres
def test_presigns_confirms_and_deletions_of_one_user(user, upload, run_at_once):
    tickets = [upload(user) for _ in range(6)]

    def presign():
        services.presign_upload(user=user, filename="a", content_type="image/png", size_bytes=3)

    def confirm(ticket):
        services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    def delete(ticket):
        services.delete_attachment(attachment_id=ticket.attachment_id, user=user)

    errors = run_at_once(
        *[presign] * 4,
        *[lambda ticket=ticket: confirm(ticket) for ticket in tickets[:4]],
        *[lambda ticket=ticket: delete(ticket) for ticket in tickets[4:]],
    )

    assert errors == []
    assert read_usage()[user.pk].items() >= {"files": 4, "unconfirmed": 4}.items()
    assert_usage_is_right()


# Counted anew


def spoil_usage(user):
    """Rows of usage that are wrong, missing, and of nobody."""
    Usage.objects.filter(user=user).update(files=77, used_bytes=-5)
    Usage.objects.exclude(user=user).delete()
    Usage.objects.create(user_id=user.pk + 1000, **dict.fromkeys(FIELDS, 3))


def test_recount_mends_what_is_wrong(user, other_user, staff_user, make_rows):
    make_rows(user, 2)
    make_rows(other_user, 3, status="pending")
    make_rows(staff_user, 1, status="rejected")
    spoil_usage(user)

    for _ in range(2):
        services.recount_usage()
        assert_usage_is_right()


def test_recount_counts_once_what_its_transaction_changed(user, make_rows):
    with transaction.atomic():
        make_rows(user, 2)
        services.recount_usage()

    assert_usage_is_right()


@pytest.mark.postgres
def test_two_recounts_do_not_mend_twice(user, make_rows, run_at_once):
    make_rows(user, 2)
    Usage.objects.update(files=7)

    def hold_the_row():
        with transaction.atomic():
            Usage.objects.select_for_update().get()
            barrier.wait(10)
            wait_until_blocked(2)

    def recount():
        barrier.wait(10)
        services.recount_usage()

    barrier = threading.Barrier(3)
    assert run_at_once(hold_the_row, recount, recount) == []
    assert_usage_is_right()


@pytest.mark.postgres
def test_a_recount_does_not_wait_for_an_empty_row_that_another_holds(user, run_at_once):
    """It holds rows itself, for which the other may wait."""
    Usage.objects.create(user=user, **dict.fromkeys(FIELDS, 0))

    def recount():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '3s'")
            services.recount_usage()

    with transaction.atomic():
        Usage.objects.select_for_update().get()
        assert run_at_once(recount) == []
    services.recount_usage()
    assert not Usage.objects.exists()


@pytest.mark.postgres
def test_recounts_beside_writers(user, other_user, make_rows, run_at_once):
    make_rows(user, 50)
    make_rows(other_user, 50)
    spoil_usage(user)

    def write(owner):
        for _ in range(30):
            make_rows(owner, 3, status="pending")
            Attachment.objects.filter(user=owner, status="pending").update(status="ready")

    def recount():
        for _ in range(15):
            services.recount_usage()

    errors = run_at_once(lambda: write(user), lambda: write(other_user), recount, recount)

    assert errors == []
    assert_usage_is_right()


def test_migrate_counts_what_was_not_counted(user, make_rows):
    with connection.cursor() as cursor:
        on_table = " ON attachments" if connection.vendor == "postgresql" else ""
        cursor.execute(f"DROP TRIGGER attachments_count_insert{on_table}")
    make_rows(user, 4)
    assert read_usage() == {}

    call_command("migrate", verbosity=0)

    assert_usage_is_right()
    make_rows(user)
    assert_usage_is_right()


@pytest.mark.postgres
def test_migrate_replaces_what_an_older_release_kept(user, make_rows):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE attachments_usage_changes DROP COLUMN refused")
        cursor.execute(
            "CREATE OR REPLACE FUNCTION attachments_add_usage() RETURNS trigger "
            "LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
        )

    call_command("migrate", verbosity=0)

    make_rows(user, 2, status="rejected")
    assert read_usage()[user.pk]["refused"] == 2


def test_a_change_of_other_columns_writes_nothing(user, make_rows):
    make_rows(user)
    Usage.objects.update(files=9)  # would be seen to change

    Attachment.objects.update(filename=f"{uuid4()}")

    assert read_usage()[user.pk]["files"] == 9
