"""The list: each row once, what detail shows and nothing else, and never the whole table."""

import json
from datetime import timedelta
from itertools import chain

import pytest
from django.db import connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from attachments import services
from attachments.errors import NotFound
from attachments.models import Attachment
from attachments.paging import read_page
from attachments.policy import AccessPolicy, OwnerOnlyPolicy
from attachments.services import listing
from nodus.messaging.models import Message

pytestmark = pytest.mark.django_db

BASE = "/api/v1/attachments"
MOMENT = timezone.now() - timedelta(days=1)

# How the rows on messages are found: few messages, a walk that fills the page, one that does not.
LIMITS = {"messages": (4000, 4000), "walk": (0, 4000), "walk in vain": (0, 3)}


@pytest.fixture(params=LIMITS)
def _way(request, monkeypatch):
    few, walked = LIMITS[request.param]
    monkeypatch.setattr(listing, "FEW_MESSAGES", few)
    monkeypatch.setattr(listing, "MAX_WALKED", walked)


def make_rows(user, count, **fields):
    fields = {"status": "ready", "size_bytes": 1, "storage_key": "k", "created_at": MOMENT} | fields
    return Attachment.objects.bulk_create(
        Attachment(user=user, filename="a.png", expires_at=MOMENT, **fields) for _ in range(count)
    )


def open_pages(client, link, direction):
    """Each page from this link on."""
    while link:
        yield (page := client.get(link).json())
        link = page[direction]


def read_ids(page):
    return [item["id"] for item in page["results"]]


def turn(client, link, direction):
    """The ids of each page from this link on."""
    return map(read_ids, open_pages(client, link, direction))


def list_ids(client, **query):
    return read_ids(client.get(BASE, query).json())


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("viewer", ["uploader", "reader", "staff"])
def test_1500_rows_of_one_moment_are_listed_once_each(
    api, user, other_user, staff_user, message_of, viewer
):
    message = message_of(user, other_user)
    make_rows(user, 1500, message=message)
    client = api({"uploader": user, "reader": other_user, "staff": staff_user}[viewer])
    expected = [str(pk) for pk in Attachment.objects.order_by("-pk").values_list("pk", flat=True)]

    pages = list(open_pages(client, f"{BASE}?page_size=100", "next"))
    there = list(map(read_ids, pages))
    back = list(turn(client, pages[-1]["previous"], "previous"))

    assert len(there) == 15
    assert list(chain(*there)) == expected
    assert back == there[-2::-1]


def test_messages_of_one_moment_are_listed_once_each(api, user, conversation_of):
    conversation = conversation_of(user)
    Message.objects.bulk_create(
        Message(conversation=conversation, author=user, text=str(number)) for number in range(250)
    )
    Message.objects.update(created_at=MOMENT)

    address = f"/api/v1/conversations/{conversation.pk}/messages?page_size=100"
    pages = list(turn(api(user), address, "next"))

    assert [len(page) for page in pages] == [100, 100, 50]
    assert list(chain(*pages)) == list(Message.objects.order_by("-pk").values_list("pk", flat=True))


@pytest.mark.parametrize(
    ("asked", "given"), [("1", 1), ("100", 100), ("101", 100), ("0", 50), ("-1", 50), ("x", 50)]
)
def test_a_page_holds_at_most_100(api, user, asked, given):
    make_rows(user, 120)

    assert len(list_ids(api(user), page_size=asked)) == given


def test_rows_that_arrive_between_pages_move_nothing(api, user):
    rows = [make_rows(user, 1, created_at=MOMENT + timedelta(hours=hour))[0] for hour in range(6)]
    ids = [str(row.pk) for row in reversed(rows)]
    client = api(user)

    first = client.get(BASE, {"page_size": 2}).json()
    newest = make_rows(user, 3, created_at=timezone.now())
    second = client.get(first["next"]).json()

    assert [item["id"] for item in second["results"]] == ids[2:4]
    back = client.get(second["previous"]).json()
    assert [item["id"] for item in back["results"]] == ids[:2]
    assert client.get(back["previous"]).json()["results"][-1]["id"] == str(
        min(row.pk for row in newest)
    )


@pytest.mark.parametrize("direction", ["next", "previous"])
def test_an_emptied_page_leads_back_to_all_that_is_left(api, user, direction):
    rows = sorted(make_rows(user, 3), key=lambda row: row.pk, reverse=True)
    client = api(user)
    link = client.get(BASE, {"page_size": 2}).json()["next"]
    kept = rows[:2]
    if direction == "previous":
        link, kept = client.get(link).json()["previous"], rows[2:]
    Attachment.objects.exclude(pk__in=[row.pk for row in kept]).delete()

    empty = client.get(link).json()
    way_back = client.get(empty["previous" if direction == "next" else "next"]).json()

    assert (empty["results"], empty[direction]) == ([], None)
    assert [item["id"] for item in way_back["results"]] == [str(row.pk) for row in kept]


def make_mixture(user, other_user, stranger, message_of):
    """Rows of two users, of every status, on messages of all kinds; the first message is shared."""
    shared = message_of(user, other_user)
    for owner in (user, other_user):
        for message in (None, shared, message_of(user), message_of(stranger)):
            for status in Attachment.Status:
                fields = {"message": message, "status": status, "lease_expires_at": MOMENT}
                fields |= {"waiting_since": MOMENT}
                make_rows(owner, 1, **fields, created_at=MOMENT + timedelta(seconds=len(status)))
    return shared, list(Attachment.objects.select_related("message").order_by("-created_at", "-pk"))


@pytest.mark.usefixtures("_way")
def test_the_list_has_what_may_be_seen_and_nothing_else(
    api, user, other_user, staff_user, django_user_model, message_of
):
    stranger = django_user_model.objects.create_user("mallory")
    shared, rows = make_mixture(user, other_user, stranger, message_of)

    for viewer in (user, other_user, stranger, staff_user):
        client, visible = api(viewer), [row for row in rows if may_see(viewer, row)]
        assert list_ids(client, page_size=100) == ids_of(visible)
        assert list(chain(*turn(client, f"{BASE}?page_size=7", "next"))) == ids_of(visible)
        for status in Attachment.Status:
            some = [row for row in visible if row.status == status]
            assert list_ids(client, status=status) == ids_of(some)
            some = [row for row in some if row.message_id == shared.pk]
            assert list_ids(client, status=status, message_id=shared.pk) == ids_of(some)


def test_detail_download_and_delete_agree_with_the_list(
    api, user, other_user, staff_user, django_user_model, message_of
):
    stranger = django_user_model.objects.create_user("mallory")
    _, rows = make_mixture(user, other_user, stranger, message_of)

    for viewer in (user, other_user, stranger, staff_user):
        client = api(viewer)
        listed = list_ids(client, page_size=100)
        assert ids_of(Attachment.objects.visible_to(viewer)) == listed
        for row in rows:
            is_listed, address = str(row.pk) in listed, f"{BASE}/{row.pk}"
            assert (client.get(address).status_code == 200) == is_listed
            assert (client.get(f"{address}/download").status_code != 404) == is_listed
            if row.user_id != viewer.pk:
                assert client.delete(address).status_code == (403 if is_listed else 404)


def ids_of(rows):
    return [str(row.pk) for row in rows]


def may_see(viewer, row):
    """The rule as the contract has it, row by row."""
    if viewer.is_staff or row.user_id == viewer.pk:
        return True
    if row.status != "ready" or row.message is None:
        return False
    return row.message.conversation.participants.filter(pk=viewer.pk).exists()


def test_who_is_not_signed_in_sees_nothing(user):
    from django.contrib.auth.models import AnonymousUser

    row = make_rows(user, 1)[0]

    page = read_page(services.VisibleAttachments(user=AnonymousUser()), size=10)
    assert (page.rows, page.following) == ([], None)
    with pytest.raises(NotFound):
        services.get_attachment(attachment_id=row.pk, user=AnonymousUser())


@pytest.mark.parametrize("query", ["", "?status=ready", "?page_size=5"])
@pytest.mark.parametrize("viewer", ["uploader", "reader", "staff"])
def test_a_page_costs_as_many_queries_whatever_is_there(
    api, user, other_user, staff_user, message_of, query, viewer
):
    client = api({"uploader": user, "reader": other_user, "staff": staff_user}[viewer])
    message = message_of(user, other_user)
    counts = []
    for _ in range(2):
        make_rows(user, 60, message=message)
        make_rows(other_user, 60, message=message)
        with CaptureQueriesContext(connection) as queries:
            client.get(BASE + query)
        counts.append(len(queries))

    assert counts[0] == counts[1] <= 5


@pytest.mark.postgres
def test_no_page_reads_the_table(
    api, user, other_user, staff_user, django_user_model, conversation_of, monkeypatch
):
    """Of 20,000 rows, half of them linked, a page of 50 touches few hundred."""
    monkeypatch.setattr(listing, "FEW_MESSAGES", 400)
    monkeypatch.setattr(listing, "MAX_WALKED", 400)
    owner = django_user_model.objects.create_user("oscar")
    fill_table(owner, rich=conversation_of(user), poor=conversation_of(user, other_user))
    message = Message.objects.earliest("pk")
    nobody = django_user_model.objects.create_user("mallory")
    viewers = {nobody: (0, 0), other_user: (2, 2), user: (50, 2), staff_user: (50, 2)}

    for viewer, (of_all, of_message) in viewers.items():
        for query, count in {
            "": of_all,
            "?status=ready": of_all,
            f"?message_id={message.pk}": of_message,
        }.items():
            with CaptureQueriesContext(connection) as queries:
                page = api(viewer).get(BASE + query).json()
            assert len(page["results"]) == count
            read = sum(count_read_rows(sql["sql"]) for sql in queries)
            assert read < 1000, (viewer, query)


def test_a_walk_that_does_not_fill_the_page_ends(user, other_user, message_of, monkeypatch):
    """However much there is of others, the reader's own messages are asked next."""
    monkeypatch.setattr(listing, "FEW_MESSAGES", 0)
    monkeypatch.setattr(listing, "MAX_WALKED", 3)
    make_rows(user, 3, message=message_of(user))
    message_of(other_user)
    asked = []
    monkeypatch.setattr(listing, "_ask_messages", lambda *args: asked.append(args) or [])

    page = read_page(services.VisibleAttachments(user=other_user), size=10)

    assert (page.rows, len(asked)) == ([], 1)


def fill_table(owner, *, rich, poor):
    """20,000 rows, two on each of 5,000 messages; the first message is in ``poor``."""
    messages = Message.objects.bulk_create(
        Message(conversation=rich if number else poor, author=owner) for number in range(5000)
    )
    Attachment.objects.bulk_create(
        Attachment(
            user=owner,
            filename="a",
            expires_at=MOMENT,
            created_at=MOMENT + timedelta(seconds=number),
            message=messages[number // 4] if number % 2 else None,
            status="ready",
            size_bytes=1,
            storage_key="k",
        )
        for number in range(20_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def count_read_rows(sql):
    """The rows of the table ``attachments`` that a statement touches, as PostgreSQL counts them."""

    def count(node):
        children = sum(map(count, node.get("Plans", [])))
        if node.get("Relation Name") != "attachments":
            return children
        rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        return children + rows * node["Actual Loops"]

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        plan = cursor.fetchone()[0]
    return count((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])


class OrPolicy(AccessPolicy):
    """Two joins and an OR: each message comes once for each participant."""

    def readable_messages(self, user):
        return Message.objects.filter(Q(author=user.pk) | Q(conversation__participants=user.pk))


class UnionPolicy(AccessPolicy):
    """The same as the docstring of ``AccessPolicy`` advises."""

    def readable_messages(self, user):
        written = Message.objects.filter(author=user.pk).order_by().values("pk")
        shared = Message.objects.filter(conversation__participants=user.pk).order_by().values("pk")
        return Message.objects.filter(pk__in=written.union(shared))


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("policy", [OrPolicy, UnionPolicy, OwnerOnlyPolicy])
def test_a_host_may_join_its_messages_as_it_likes(
    api, user, other_user, staff_user, message_of, settings, policy
):
    settings.ATTACHMENTS = {
        **settings.ATTACHMENTS,
        "ACCESS_POLICY": f"{policy.__module__}.{policy.__name__}",
    }
    read = message_of(user, other_user, staff_user)
    written = Message.objects.create(conversation=message_of(user).conversation, author=other_user)
    rows = [*make_rows(user, 20, message=read), *make_rows(user, 20, message=written)]
    make_rows(user, 20, message=message_of(user))
    rows.sort(key=lambda row: row.pk, reverse=True)
    expected = [] if policy is OwnerOnlyPolicy else rows

    pages = list(turn(api(other_user), f"{BASE}?page_size=15", "next"))

    assert list(chain(*pages)) == ids_of(expected)
    assert list_ids(api(other_user), message_id=written.pk) == ids_of(
        [row for row in expected if row.message_id == written.pk]
    )
