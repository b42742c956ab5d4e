"""How much a user may have: quotas hold whoever asks at once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from attachments import quota_sql, services, storage
from attachments.errors import (
    ContentTypeNotAllowed,
    FileTooLarge,
    NotFound,
    NotUploaded,
    QuotaExceeded,
    TooManyUnconfirmed,
    UploadExpired,
)
from attachments.models import Attachment
from attachments.policy import get_limits
from attachments.services import inserting
from attachments.services.attempts import Attempt
from attachments.triggers import ensure_triggers
from nodus.policy import ParticipantsPolicy
from tests.databases import wait_until_blocked

pytestmark = pytest.mark.django_db

MB = 2**20
PNG = {"filename": "a.png", "content_type": "image/png"}
USAGE = "/api/v1/attachments/usage"


@pytest.fixture
def limit(settings, bucket):
    def set_limits(**values):
        settings.ATTACHMENTS = {**settings.ATTACHMENTS, **values}

    return set_limits


@pytest.fixture
def make_row():
    """Make a row without an object."""

    def make(user, **fields):
        fields = {"status": "ready", "size_bytes": MB, "filename": "file"} | fields
        if fields["status"] in ("verifying", "scanning"):
            now = timezone.now()
            fields = {"lease_expires_at": now, "waiting_since": now} | fields
        expires_at = fields.pop("expires_at", timezone.now() + timedelta(minutes=10))
        row = Attachment(user=user, content_type="image/png", expires_at=expires_at, **fields)
        row.storage_key = row.pending_key
        row.save(force_insert=True)
        return row

    return make


def presign(user, size_bytes=MB, **request):
    return services.presign_upload(user=user, size_bytes=size_bytes, **{**PNG, **request})


def expire(*tickets):
    rows = Attachment.objects.filter(pk__in=[ticket.attachment_id for ticket in tickets])
    rows.update(expires_at=timezone.now() - timedelta(seconds=1))


def test_what_counts(user, other_user, make_row):
    over = timezone.now() - timedelta(seconds=1)
    for fields in (
        {"status": "ready"},
        {"status": "scanning", "expires_at": over},
        {"status": "verifying", "size_bytes": None, "max_size_bytes": 7 * MB, "expires_at": over},
        {"status": "pending"},
        {"status": "pending", "size_bytes": None, "max_size_bytes": 5 * MB},
        {"status": "pending", "expires_at": over},
        {"status": "rejected"},
        {"status": "infected"},
    ):
        make_row(user, **fields)
    make_row(other_user)

    use = services.measure_use(user)

    assert use == services.Use(files=3, used_bytes=9 * MB, unconfirmed=2, unconfirmed_bytes=6 * MB)
    assert use.taken_bytes == 15 * MB


def test_an_upload_is_unconfirmed_until_its_confirm_ends(user, limit, monkeypatch):
    """Or else another one could be begun while the store is asked for what nobody put there."""
    limit(MAX_UNCONFIRMED_PER_USER=1)
    ticket = presign(user)
    copy_object, asked = storage.copy_object, []

    def copy(**kwargs):
        with pytest.raises(TooManyUnconfirmed):
            presign(user)
        asked.append(services.measure_use(user))
        return copy_object(**kwargs)

    monkeypatch.setattr(storage, "copy_object", copy)
    with pytest.raises(NotUploaded):
        services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    assert asked == [services.Use(files=0, used_bytes=0, unconfirmed=1, unconfirmed_bytes=MB)]
    assert services.measure_use(user) == asked[0]


def test_nobody_has_anything_at_first(user):
    nothing = services.Use(files=0, used_bytes=0, unconfirmed=0, unconfirmed_bytes=0)

    assert services.measure_use(user) == nothing


def test_a_file_fits_to_the_last_byte(user, make_row, limit):
    limit(QUOTA_MB_PER_USER=3)
    make_row(user)
    presign(user)

    with pytest.raises(QuotaExceeded) as raised:
        presign(user, size_bytes=MB + 1)
    presign(user)
    with pytest.raises(QuotaExceeded):
        presign(user, size_bytes=1)

    assert raised.value.params == {"used": 2 * MB, "quota": 3 * MB, "free": MB, "needed": MB + 1}
    assert Attachment.objects.count() == 3


def test_a_size_that_was_not_declared_counts_as_what_the_form_allows(user, limit):
    limit(QUOTA_MB_PER_USER=5, MAX_SIZE_MB=2)
    tickets = [presign(user, size_bytes=None) for _ in range(2)]

    limit(MAX_SIZE_MB=1)  # those were given more

    assert [ticket.max_size_bytes for ticket in tickets] == [2 * MB, 2 * MB]
    assert services.measure_use(user).unconfirmed_bytes == 4 * MB
    presign(user, size_bytes=None)
    with pytest.raises(QuotaExceeded):
        presign(user, size_bytes=1)


def test_a_file_takes_what_it_has_when_it_is_confirmed(user, upload, samples, limit):
    limit(QUOTA_MB_PER_USER=100)
    ticket = upload(user)
    assert services.measure_use(user).taken_bytes == 100 * MB

    services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    size_bytes = len(samples["image/png"])
    assert services.measure_use(user) == services.Use(
        files=1, used_bytes=size_bytes, unconfirmed=0, unconfirmed_bytes=0
    )


def test_what_expires_or_is_deleted_or_refused_makes_room(user, upload, limit):
    limit(QUOTA_MB_PER_USER=100)
    for free in (
        expire,
        lambda ticket: services.delete_attachment(attachment_id=ticket.attachment_id, user=user),
        lambda ticket: Attachment.objects.filter(pk=ticket.attachment_id).update(status="rejected"),
    ):
        ticket = presign(user, size_bytes=None)
        with pytest.raises(QuotaExceeded):
            presign(user, size_bytes=1)

        free(ticket)

    presign(user, size_bytes=None)


def test_unconfirmed_uploads_have_a_number(user, upload, limit):
    limit(MAX_UNCONFIRMED_PER_USER=2)
    first, second = upload(user), presign(user)

    with pytest.raises(TooManyUnconfirmed) as raised:
        presign(user)
    assert raised.value.params == {"used": 2, "quota": 2, "free": 0, "needed": 1}

    services.confirm_upload(attachment_id=first.attachment_id, user=user)
    presign(user)
    expire(second)
    presign(user)


def test_of_a_batch_all_fit_or_none(user, limit):
    limit(QUOTA_MB_PER_USER=3)
    files = [{**PNG, "size_bytes": MB}] * 4

    with pytest.raises(QuotaExceeded):
        services.presign_uploads(user=user, files=files)
    assert Attachment.objects.count() == 0

    assert len(services.presign_uploads(user=user, files=files[:3])) == 3


def test_a_replay_takes_no_more_room(user, limit):
    limit(QUOTA_MB_PER_USER=2, MAX_UNCONFIRMED_PER_USER=2)
    first = presign(user, idempotency_key="k")
    presign(user)

    assert presign(user, idempotency_key="k").attachment_id == first.attachment_id


def test_a_replay_of_what_has_expired_has_to_fit_again(user, limit):
    limit(QUOTA_MB_PER_USER=1)
    first = presign(user, idempotency_key="k")
    expire(first)
    second = presign(user)

    with pytest.raises(QuotaExceeded):
        presign(user, idempotency_key="k")

    expire(second)
    assert presign(user, idempotency_key="k").attachment_id == first.attachment_id
    with pytest.raises(QuotaExceeded):
        presign(user)


def test_a_replay_that_replaces_some_counts_those_alone(user, limit):
    limit(QUOTA_MB_PER_USER=3)
    files = [{**PNG, "size_bytes": MB}] * 3
    tickets = services.presign_uploads(user=user, files=files, idempotency_key="k")
    services.delete_attachment(attachment_id=tickets[0].attachment_id, user=user)

    again = services.presign_uploads(user=user, files=files, idempotency_key="k")

    assert [ticket.is_replayed for ticket in again] == [False, True, True]
    services.delete_attachment(attachment_id=again[0].attachment_id, user=user)
    presign(user)
    with pytest.raises(QuotaExceeded):
        services.presign_uploads(user=user, files=files, idempotency_key="k")


def test_a_replay_that_replaces_one_counts_with_it_those_that_have_expired(user, limit):
    limit(QUOTA_MB_PER_USER=2)
    files = [{**PNG, "size_bytes": MB}] * 2
    gone, late = services.presign_uploads(user=user, files=files, idempotency_key="k")
    services.delete_attachment(attachment_id=gone.attachment_id, user=user)
    expire(late)
    presign(user)

    with pytest.raises(QuotaExceeded):
        services.presign_uploads(user=user, files=files, idempotency_key="k")


def test_an_upload_that_was_promised_is_confirmed_whatever_the_quota_is_now(user, upload, limit):
    ticket = upload(user)
    limit(QUOTA_MB_PER_USER=1)
    with pytest.raises(QuotaExceeded):
        presign(user)

    assert services.confirm_upload(attachment_id=ticket.attachment_id, user=user).is_ready


def test_an_upload_whose_time_is_over_has_to_fit_again(user, upload, limit):
    limit(QUOTA_MB_PER_USER=100, MAX_UNCONFIRMED_PER_USER=1)
    late, lost = upload(user), upload
    expire(late)
    lost = upload(user, content=None)
    expire(lost)
    other = presign(user, size_bytes=None)

    with pytest.raises(QuotaExceeded):
        services.confirm_upload(attachment_id=late.attachment_id, user=user)
    with pytest.raises(UploadExpired):
        services.confirm_upload(attachment_id=lost.attachment_id, user=user)
    with pytest.raises(NotUploaded):
        services.confirm_upload(attachment_id=other.attachment_id, user=user)
    assert Attachment.objects.get(pk=late.attachment_id).status == "pending"

    services.delete_attachment(attachment_id=other.attachment_id, user=user)
    assert services.confirm_upload(attachment_id=late.attachment_id, user=user).is_ready


@pytest.mark.parametrize(
    ("where", "name", "act"),
    [
        (
            Attempt,
            "take",
            lambda ticket, user: services.confirm_upload(
                attachment_id=ticket.attachment_id, user=user
            ),
        ),
        (inserting, "_prolong", lambda ticket, user: presign(user, None, idempotency_key="k")),
    ],
    ids=["confirm", "replay"],
)
@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_an_upload_that_is_kept_counts_although_its_time_ends_at_that_moment(
    user, upload, limit, monkeypatch, where, name, act
):
    limit(QUOTA_MB_PER_USER=100)
    ticket = upload(user, idempotency_key="k", **PNG)
    keep = getattr(where, name)

    def ask_for_its_room():
        try:
            expire(ticket)
            presign(user, None)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:

        def keep_a_little_later(*args, **kwargs):
            asked.append(threads.submit(ask_for_its_room))
            wait_until_blocked(1, unless=asked[0].done)
            return keep(*args, **kwargs)

        asked = []
        monkeypatch.setattr(where, name, keep_a_little_later)
        act(ticket, user)
        with pytest.raises(QuotaExceeded):
            asked[0].result()


@pytest.mark.parametrize(
    ("limits", "passed"),
    [({"QUOTA_MB_PER_USER": 7}, 7), ({"MAX_UNCONFIRMED_PER_USER": 5}, 5)],
)
@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_never_pass_more_than_fits(user, limit, limits, passed):
    """By the first presigns of a user: they have no row of usage yet."""
    limit(**limits)

    def ask(number):
        key = {"idempotency_key": str(number)} if number % 2 else {}
        try:
            presign(user, **key)
        except (QuotaExceeded, TooManyUnconfirmed):
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(20) as threads:
        assert sum(threads.map(ask, range(20))) == passed
    assert Attachment.objects.count() == passed


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_batch_keeps_others_waiting_until_it_counts(user, limit, monkeypatch):
    limit(QUOTA_MB_PER_USER=2)
    insert = Attachment.insert

    def ask_for_its_room():
        try:
            presign(user)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:

        def insert_a_little_later(rows):
            asked.append(threads.submit(ask_for_its_room))
            wait_until_blocked(1, unless=asked[0].done)
            insert(rows)

        asked = []
        monkeypatch.setattr(Attachment, "insert", insert_a_little_later)
        services.presign_uploads(user=user, files=[{**PNG, "size_bytes": MB}] * 2)
        with pytest.raises(QuotaExceeded):
            asked[0].result()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_presigns_and_a_deleted_user_do_not_wait_for_each_other_in_a_circle(
    django_user_model, limit, make_row
):
    limit(QUOTA_MB_PER_USER=1000)
    users = [django_user_model.objects.create_user(f"user {n}") for n in range(4)]
    for user in users:
        make_row(user)

    def work(number):
        user = users[number % 4]
        try:
            if number < 4:
                user.delete()
            else:
                presign(user)
        except Exception as error:  # noqa: BLE001 (the test looks at each)
            return error
        finally:
            connections.close_all()
        return None

    with ThreadPoolExecutor(16) as threads:
        errors = [error for error in threads.map(work, range(16)) if error]

    assert "deadlock" not in str(errors)


@pytest.mark.parametrize("key", [None, "key"])
@pytest.mark.django_db(transaction=True)
def test_a_user_who_is_gone_is_not_called_a_message(django_user_model, limit, key):
    limit(QUOTA_MB_PER_USER=10)
    user = django_user_model.objects.create_user("erin")
    django_user_model.objects.all().delete()
    user.pk = user.pk or 2**20

    with pytest.raises(NotFound) as caught:
        presign(user, idempotency_key=key)

    assert caught.value.attr is None


@pytest.mark.postgres
def test_a_transaction_of_the_host_counts_what_it_did_itself(user, limit):
    limit(QUOTA_MB_PER_USER=2)
    with transaction.atomic():
        presign(user)
        rows = Attachment.objects.filter(user=user)
        rows.update(status="ready")
        assert services.measure_use(user).used_bytes == MB
        presign(user)
        with pytest.raises(QuotaExceeded):
            presign(user)


def test_without_limits_nothing_is_locked_or_measured(user, limit):
    with CaptureQueriesContext(connection) as queries:
        presign(user)

    (query,) = queries
    assert quota_sql.FUNCTION not in query["sql"]


@pytest.mark.postgres
def test_with_limits_a_presign_is_still_one_statement(user, limit):
    limit(QUOTA_MB_PER_USER=1, MAX_UNCONFIRMED_PER_USER=1)
    with CaptureQueriesContext(connection) as queries:
        presign(user)

    assert len(queries) == 1
    assert Attachment.objects.count() == 1


@pytest.mark.postgres
def test_migrate_makes_the_function_anew(user, limit):
    limit(QUOTA_MB_PER_USER=1)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP FUNCTION {quota_sql.FUNCTION}")

    ensure_triggers("default")

    presign(user)
    with pytest.raises(QuotaExceeded):
        presign(user)


# What the policy says


class Plans(ParticipantsPolicy):
    """A host's policy: staff may upload little, and text alone."""

    def get_limits(self, user):
        limits = super().get_limits(user)
        if not user.is_staff:
            return limits
        return replace(limits, max_size_bytes=10, content_types=("text/plain",), quota_bytes=15)


def test_the_policy_sets_the_limits_of_each_user(user, staff_user, limit):
    limit(ACCESS_POLICY=f"{__name__}.Plans")
    text = {"filename": "a.txt", "content_type": "text/plain"}

    ticket = services.presign_upload(user=staff_user, **text)

    assert ticket.max_size_bytes == 10
    with pytest.raises(FileTooLarge):
        services.presign_upload(user=staff_user, **text, size_bytes=11)
    with pytest.raises(ContentTypeNotAllowed):
        presign(staff_user)
    with pytest.raises(QuotaExceeded):
        services.presign_upload(user=staff_user, **text, size_bytes=6)
    with pytest.raises(ContentTypeNotAllowed):
        services.presign_upload(user=user, **text)
    presign(user)


class NothingAllowed(ParticipantsPolicy):
    """A host's policy: nobody may upload a byte."""

    def get_limits(self, user):
        return replace(super().get_limits(user), max_size_bytes=0)


@pytest.mark.parametrize("size_bytes", [None, 1])
def test_a_largest_size_of_zero_lets_no_file_pass(user, limit, size_bytes):
    limit(ACCESS_POLICY=f"{__name__}.NothingAllowed")

    with pytest.raises(FileTooLarge):
        presign(user, size_bytes=size_bytes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("presign_rate", "0/minute"),
        ("presign_rate", 10),
        ("confirm_rate", "often"),
        ("max_size_bytes", None),
        ("max_size_bytes", -1),
        ("quota_bytes", -1),
        ("quota_bytes", 1.5),
        ("max_unconfirmed", "5"),
        ("content_types", "image/png"),
    ],
)
def test_limits_that_make_no_sense_are_told(user, name, value):
    limits = get_limits(user)

    with pytest.raises(ValueError, match=f"^{name} must be "):
        replace(limits, **{name: value})


# What clients see


def test_the_error_tells_used_and_free(api, user, limit):
    limit(QUOTA_MB_PER_USER=5)
    client = api(user)
    client.post("/api/v1/attachments/presigned", {**PNG, "size_bytes": 3 * MB}, format="json")

    body = {**PNG, "size_bytes": 4 * MB}
    response = client.post("/api/v1/attachments/presigned", body, format="json")

    assert response.status_code == 403
    (error,) = response.json()["errors"]
    assert (error["code"], error["attr"]) == ("quota_exceeded", None)
    assert error["detail"].replace("\xa0", " ") == (
        "Your files take 3.0 MB of 5.0 MB, with the uploads that you have begun. 2.0 MB are free, "
        "and this needs 4.0 MB."
    )
    limit(MAX_UNCONFIRMED_PER_USER=1)
    body["size_bytes"] = MB
    response = client.post(
        "/api/v1/attachments/presigned", body, format="json", headers={"Accept-Language": "ru"}
    )
    assert response.status_code == 403
    assert response.json()["errors"][0]["detail"].startswith("Начато загрузок: 1 из 1.")


def test_usage_tells_what_is_used_and_allowed(api, user, make_row, limit, settings):
    limit(
        QUOTA_MB_PER_USER=5,
        MAX_UNCONFIRMED_PER_USER=3,
        PRESIGN_RATE="7/minute",
        MAX_SIZE_MB=2,
        ALLOWED_CONTENT_TYPES=["image/png"],
    )
    make_row(user, size_bytes=10)
    presign(user, size_bytes=None)

    response = api(user).get(USAGE)

    assert response.status_code == 200
    assert response.json() == {
        "used_bytes": 10,
        "files": 1,
        "unconfirmed_bytes": 2 * MB,
        "unconfirmed": 1,
        "limits": {
            "quota_bytes": 5 * MB,
            "max_unconfirmed": 3,
            "max_size_bytes": 2 * MB,
            "content_types": ["image/png"],
            "presign_rate": "7/minute",
        },
    }


def test_usage_without_limits_is_null(api, user):
    limits = api(user).get(USAGE).json()["limits"]

    assert [limits[key] for key in ("quota_bytes", "max_unconfirmed", "presign_rate")] == [None] * 3


def test_usage_is_for_who_is_signed_in(api):
    assert api().get(USAGE).status_code == 401


def test_the_page_of_a_user_tells_their_use(admin_client, user, make_row, limit):
    limit(QUOTA_MB_PER_USER=5, MAX_UNCONFIRMED_PER_USER=3)
    make_row(user)
    presign(user)
    with translation.override("en"):
        page = admin_client.get(f"/admin/auth/user/{user.pk}/change/").content.decode()

    assert (
        "1 file takes 1.0 MB. 1 upload that was begun may take 1.0 MB more. "
        "The quota is 5.0 MB. At most 3 uploads may be under way."
    ) in page.replace("\xa0", " ")


def walk(node):
    """This node of a plan, and those below it."""
    yield node
    for part in node.get("Plans", []):
        yield from walk(part)


@pytest.mark.postgres
def test_a_million_rows_are_not_read(user, other_user, make_row):
    for owner in (user, other_user):
        row = make_row(owner, status="pending")
        over = timezone.now() - timedelta(days=1)
        Attachment.objects.bulk_create(
            [
                Attachment(
                    user=owner,
                    filename="file",
                    storage_key="pending/x",
                    status=status,
                    size_bytes=1,
                    expires_at=over,
                )
                for status in ("pending", "ready")
                for _ in range(1000)
            ]
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE attachments")
        with CaptureQueriesContext(connection) as queries:
            services.measure_use(user)
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {queries[0]['sql']}")
        plan = cursor.fetchone()[0][0]["Plan"]

    scans = [node for node in walk(plan) if node.get("Relation Name") == "attachments"]
    assert {node["Node Type"] for node in scans}.isdisjoint({"Seq Scan"})
    assert "attachments_begun" in str(plan)
    assert row.pk
