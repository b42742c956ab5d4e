"""What staff see and do in the admin, over HTTP and on the real servers."""

import csv
import html
import io
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import pytest
import requests
from django.contrib.admin import site
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.core.management import call_command
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from attachments import services, storage
from attachments.admin import AttachmentInline, display, pages
from attachments.admin.links import Linker
from attachments.errors import StorageUnavailable
from attachments.models import Attachment, ObjectDeletion, WorkerSign
from tests.benchmarks import population
from tests.commands import IMMEDIATE
from tests.stores import list_keys

pytestmark = pytest.mark.django_db

LIST = "/admin/attachments/attachment/"
NOTES = "/admin/attachments/objectdeletion/"


@pytest.fixture
def admin(client, django_user_model):
    client.force_login(django_user_model.objects.create_superuser("root"))
    return client


@pytest.fixture
def sign_in(client, staff_user):
    """Sign in as staff with these permissions and no others."""

    def sign(*codenames):
        staff_user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(staff_user)
        return client

    return sign


WAITING = datetime(2026, 1, 31, 12, tzinfo=UTC)


def make_rows(user, count=1, **facts):
    """Make rows without objects, for pages that need only rows; the first is the newest."""
    now = timezone.now()
    defaults = {"content_type": "image/png", "size_bytes": 10, "status": "ready"}
    return Attachment.objects.bulk_create(
        Attachment(
            user=user,
            expires_at=now,
            storage_key=f"attachments/{number}/x.png",
            **{
                "filename": f"file-{number}.png",
                "created_at": now - timedelta(minutes=number),
                "confirmed_at": facts.get("created_at"),
                **defaults,
                **facts,
            },
        )
        for number in range(count)
    )


def list_shown(admin, query=""):
    """The filenames of a page, from top to bottom."""
    answer = admin.get(LIST + query)
    assert answer.status_code == 200
    return [row.filename for row in answer.context["cl"].result_list]


def choose(admin, action, rows, query="", **fields):
    data = {"action": action, "index": "0", "_selected_action": [row.pk for row in rows]}
    return admin.post(LIST + query, {**data, **fields})


class FormReader(HTMLParser):
    """The hidden fields of a page, as a browser would send them."""

    def __init__(self, page):
        super().__init__()
        self.fields = {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "input" and attrs.get("type") == "hidden":
            self.fields.setdefault(attrs["name"], []).append(attrs.get("value", ""))


def confirm(admin, page, query=""):
    fields = FormReader(page.content.decode()).fields
    fields.pop("csrfmiddlewaretoken", None)
    return admin.post(LIST + query, fields)


def list_messages(answer):
    return [str(message) for message in get_messages(answer.wsgi_request)]


# Looking


def test_staff_look(admin, user, attachment_of):
    attachment = attachment_of(user, filename="Кот.png")

    listing = admin.get("/admin/attachments/attachment/")
    detail = admin.get(f"/admin/attachments/attachment/{attachment.pk}/change/")

    assert listing.status_code == detail.status_code == 200
    assert "Кот.png" in listing.content.decode()
    assert attachment.storage_key.name in detail.content.decode()


def test_nothing_is_edited_or_added(admin, user, attachment_of):
    attachment = attachment_of(user)
    address = f"/admin/attachments/attachment/{attachment.pk}/change/"

    assert admin.post(address, {"filename": "x"}).status_code == 403
    assert admin.get("/admin/attachments/attachment/add/").status_code == 403


def test_only_staff(client, user):
    client.force_login(user)

    assert client.get("/admin/attachments/attachment/").status_code == 302


def test_the_list_tells_what_people_ask_for(admin, user, message_of):
    message = message_of(user)
    long_ago = timezone.now() - timedelta(hours=3, minutes=5)
    make_rows(
        user,
        filename="a.mp4",
        content_type="video/mp4",
        size_bytes=5 * 2**20,
        message=message,
        created_at=long_ago,
    )

    page = admin.get(LIST).content.decode()

    assert "5.0\xa0MB" in page
    assert "video/mp4" in page
    assert '<span class="attachment-status attachment-ready">ready</span>' in page
    assert f'<a href="/admin/messaging/message/{message.pk}/change/">#{message.pk}</a>' in page
    assert f'<a href="/admin/auth/user/{user.pk}/change/">alice</a>' in page
    assert re.search(r'<time datetime="[^"]+" title="[^"]+">3\xa0hours</time>', page)
    assert 'aria-label="Video"' in page


def test_small_ready_images_are_their_own_thumbnails(admin, user):
    (small,) = make_rows(user, filename="small.png")
    make_rows(user, filename="large.png", size_bytes=2**20 + 1)
    make_rows(user, filename="pending.png", status="pending")

    page = admin.get(LIST).content.decode()

    assert re.findall(r'<img class="attachment-thumbnail" src="([^"]+)" alt="([^"]+)"', page) == [
        (storage.get_public_url(small.key), "small.png")
    ]


def test_the_detail_tells_every_fact(admin, user, attachment_of, message_of, samples):
    message = message_of(user)
    checksum = "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="
    attachment = attachment_of(user, message_id=message.pk, metadata={"подпись": ["кот"]})
    Attachment.objects.update(checksum_sha256=checksum)

    page = admin.get(f"{LIST}{attachment.pk}/change/").content.decode()

    url = storage.get_public_url(attachment.key)
    assert requests.get(url, timeout=10).content == samples["image/png"]
    assert f'<img class="attachment-preview" src="{url}"' in page
    assert f'href="{url}"' in page
    assert "&quot;подпись&quot;: [\n    &quot;кот&quot;" in page
    assert checksum in page
    assert "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" in page
    assert f'conversation <a href="/admin/messaging/conversation/{message.conversation_id}' in page
    assert f"{attachment.size_bytes:,} bytes" in page


@pytest.mark.parametrize(
    ("content_type", "element"),
    [
        ("video/mp4", "<video "),
        ("audio/mpeg", "<audio "),
        ("application/pdf", "<object "),
        ("application/zip", "Browsers do not show files of this type."),
    ],
)
def test_each_kind_has_its_preview(admin, user, content_type, element):
    (row,) = make_rows(user, content_type=content_type)

    assert element in admin.get(f"{LIST}{row.pk}/change/").content.decode()


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"status": "pending"}, "Waits for the file"),
        ({"status": "verifying", "lease_expires_at": timezone.now()}, "another confirm may take"),
        (
            {"status": "verifying", "lease_expires_at": WAITING, "waiting_since": WAITING},
            "Has waited for a worker, which verifies it, since 2026-01-31 12:00:00 UTC.",
        ),
        (
            {"status": "scanning", "lease_expires_at": WAITING, "waiting_since": WAITING},
            "Has waited for the virus scanner since 2026-01-31 12:00:00 UTC.",
        ),
        (
            {
                "status": "scanning",
                "lease_expires_at": WAITING,
                "waiting_since": WAITING,
                "tries": 2,
            },
            "UTC. It was tried 2 times in vain.",
        ),
        (
            {
                "status": "infected",
                "error": {"code": "infected", "params": {"signature": "Win.Test-1"}},
            },
            "The virus scanner found Win.Test-1 in the file. (infected)",
        ),
        (
            {
                "status": "rejected",
                "error": {"code": "content_mismatch", "params": {"declared": "image/png"}},
            },
            "The content is not image/png. (content_mismatch)",
        ),
    ],
)
def test_the_detail_explains_what_is_not_ready(admin, user, facts, text):
    (row,) = make_rows(user, **facts)

    page = admin.get(f"{LIST}{row.pk}/change/").content.decode()

    assert text in page
    assert "There is nothing to show until the file is ready." in page


def test_the_detail_tells_what_the_scanner_said(admin, user):
    facts = {"scanner": "ClamAV 1.4.3", "signatures_version": 27500, "scanned_at": WAITING}
    (row,) = make_rows(user, scan_outcome="unscannable", **facts)

    page = admin.get(f"{LIST}{row.pk}/change/").content.decode()

    expected = "could not be scanned, ClamAV 1.4.3, signatures 27500, 2026-01-31 12:00:00 UTC"
    assert expected in page


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "1 file waits for a worker or the virus scanner, since 2026-01-31 12:00:00 UTC."),
        (2, "2 files wait for a worker or the virus scanner, the first since 2026-01-31"),
    ],
)
def test_the_list_tells_that_files_wait(admin, user, count, text):
    make_rows(
        user, count, status="scanning", lease_expires_at=timezone.now(), waiting_since=WAITING
    )

    assert text in admin.get(LIST).content.decode()


@pytest.mark.parametrize("address", ["", "{pk}/change/", "{pk}/delete/"])
def test_a_filename_is_never_markup(admin, user, address):
    (row,) = make_rows(
        user, filename="<script>alert(1)</script>.png", metadata={"a": "<script>alert(2)</script>"}
    )

    page = admin.get(LIST + address.format(pk=row.pk)).content.decode()

    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_pages_need_no_inline_script_and_no_style(admin, user):
    (row,) = make_rows(user)

    for address in (LIST, f"{LIST}{row.pk}/change/", f"{LIST}purge/"):
        page = admin.get(address).content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>", page)
        assert not re.search(r'\son\w+="|\sstyle="', page)


# Pages


def test_pages_show_each_row_once_there_and_back(admin, user, monkeypatch):
    monkeypatch.setattr(pages.AttachmentAdmin, "list_per_page", 4)
    same_moment = make_rows(user, 6, created_at=timezone.now() - timedelta(days=1))
    make_rows(user, 4)
    names = [row.filename for row in Attachment.objects.order_by("-created_at", "-pk")]
    assert len(same_moment) + 4 == len(names)

    there, back, query = [], [], ""
    while True:
        there.append(list_shown(admin, query))
        changelist = admin.get(LIST + query).context["cl"]
        if not changelist.following_link:
            break
        query = changelist.following_link
    while changelist.preceding_link:
        changelist = admin.get(LIST + changelist.preceding_link).context["cl"]
        back.append([row.filename for row in changelist.result_list])

    assert there == [names[:4], names[4:8], names[8:]]
    assert back == [names[4:8], names[:4]]


def test_1500_rows_of_one_moment_are_shown_once_each(admin, user):
    make_rows(user, 1500, created_at=timezone.now())
    changelist = admin.get(LIST).context["cl"]
    there = [[row.pk for row in changelist.result_list]]
    while changelist.following_link:
        changelist = admin.get(LIST + changelist.following_link).context["cl"]
        there.append([row.pk for row in changelist.result_list])
    back = []
    while changelist.preceding_link:
        changelist = admin.get(LIST + changelist.preceding_link).context["cl"]
        back.append([row.pk for row in changelist.result_list])

    shown = [pk for page in there for pk in page]
    assert shown == list(Attachment.objects.order_by("-pk").values_list("pk", flat=True))
    assert back == there[-2::-1]


def test_pages_keep_the_filters(admin, user, monkeypatch):
    monkeypatch.setattr(pages.AttachmentAdmin, "list_per_page", 1)
    make_rows(user, 2, content_type="audio/ogg", filename="song")
    make_rows(user, 2)

    changelist = admin.get(f"{LIST}?kind=audio&q=song").context["cl"]

    assert "kind=audio" in changelist.following_link
    assert list_shown(admin, changelist.following_link) == ["song"]
    assert not admin.get(LIST + changelist.following_link).context["cl"].following_link


@pytest.mark.parametrize("position", ["older.", "older.x~y", "9", "older.2026-01-01~1~2", "~"])
def test_a_position_that_is_none_leads_to_the_first_page(admin, user, position):
    answer = admin.get(LIST, {"p": position})

    assert (answer.status_code, answer.url) == (302, f"{LIST}?e=1")


@pytest.mark.parametrize("page", [LIST, NOTES])
@pytest.mark.parametrize(
    "query", ["status__exact=%00", "content_type=a%00", "id__exact=%00", "key=%00", "q=%00",
              "created_at__year=0", "created_at__year=99999", f"created_at__year={2**63}", "due_at__year=99999"]
)  # fmt: skip
def test_an_address_that_the_database_refuses_leads_to_the_first_page(admin, page, query):
    answer = admin.get(f"{page}?{query}")

    assert (answer.status_code, answer.url) == (302, f"{page}?e=1")


def test_nothing_is_counted_or_skipped(admin, user, monkeypatch):
    monkeypatch.setattr(pages.AttachmentAdmin, "list_per_page", 5)
    make_rows(user, 12)
    older = admin.get(LIST).context["cl"].following_link

    with CaptureQueriesContext(connection) as queries:
        admin.get(LIST + older)

    sql = [query["sql"] for query in queries if '"attachments"' in query["sql"]]
    assert len(sql) == 3  # the page; the first and last date; at most 1000 of what waits
    unbounded = [text for text in sql if "LIMIT 1000" not in text]
    assert not [text for text in unbounded if "COUNT(" in text or "OFFSET" in text]


@pytest.mark.parametrize("query", ["", "?q=file", "?q=alice", "?linked=no&kind=image"])
def test_a_page_costs_as_many_queries_whatever_is_on_it(admin, user, message_of, query):
    counts = []
    for count in (10, 50):
        make_rows(user, count)
        with CaptureQueriesContext(connection) as queries:
            assert len(list_shown(admin, query)) >= count
        counts.append(len(queries))

    assert counts[0] == counts[1] <= (7 if "q=" in query else 6)  # a search: is there an index?


# Columns of the list, counted from the checkbox
SIZE, AGE = 4, 7


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", ["small", "large", "begun", "middle"]),
        (f"?o=-{AGE}", ["small", "large", "begun", "middle"]),
        (f"?o={AGE}", ["middle", "begun", "large", "small"]),
        (f"?o={SIZE}", ["small", "middle", "large"]),
        (f"?o=-{SIZE}", ["large", "middle", "small"]),
        (f"?o=-{SIZE}.{AGE}", ["large", "middle", "small"]),
        (f"?o=-{SIZE}&status__exact=pending", []),
        ("?o=2", ["small", "large", "begun", "middle"]),  # no index has the order of filenames
        ("?o=99", ["small", "large", "begun", "middle"]),
        ("?o=x.-", ["small", "large", "begun", "middle"]),
    ],
)
@pytest.mark.parametrize("page_size", [1, 2, 100])
def test_rows_are_sorted_there_and_back(admin, user, monkeypatch, query, shown, page_size):
    monkeypatch.setattr(pages.AttachmentAdmin, "list_per_page", page_size)
    now = timezone.now()
    make_rows(user, filename="small", size_bytes=1, created_at=now)
    make_rows(user, filename="large", size_bytes=10**12, created_at=now - timedelta(days=1))
    begun = {"status": "pending", "size_bytes": 10**13}
    make_rows(user, filename="begun", created_at=now - timedelta(days=2), **begun)
    make_rows(user, filename="middle", size_bytes=2, created_at=now - timedelta(days=3))

    there, changelist = [], admin.get(LIST + query).context["cl"]
    while True:
        there.append([row.filename for row in changelist.result_list])
        if not changelist.following_link:
            break
        changelist = admin.get(LIST + changelist.following_link).context["cl"]
    back = [there[-1]]
    while changelist.preceding_link:
        changelist = admin.get(LIST + changelist.preceding_link).context["cl"]
        back.append([row.filename for row in changelist.result_list])

    assert [name for page in there for name in page] == shown
    assert back == there[::-1]


def test_the_head_of_a_column_sorts_and_says_so(admin, user):
    make_rows(user)

    page = admin.get(LIST).content.decode()
    sorted_page = admin.get(f"{LIST}?o=-{SIZE}").content.decode()

    assert f'href="?o={SIZE}.-{AGE}"' in page
    assert f'href="?o={AGE}"' in page
    assert f'href="?o={SIZE}"' in sorted_page
    assert "Only files that are ready" in sorted_page
    assert "Only files that are ready" not in page


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("query", "index"),
    [(f"?o=-{SIZE}", "largest"), (f"?o={SIZE}", "largest"), (f"?o={AGE}", "created")],
)
def test_each_order_is_served_by_an_index(admin, query, index):
    population.make_rows(2000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE attachments")

    rows = admin.get(LIST + query).context["cl"].result_list

    with CaptureQueriesContext(connection) as queries:
        admin.get(LIST + query)
    (select,) = [q["sql"] for q in queries if "ORDER BY" in q["sql"] and "LIMIT 101" in q["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {select}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert f"attachments_{index}" in plan
    assert "Sort" not in plan
    assert len(rows) == 100


# Filters


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("?status__exact=pending", {"pending"}),
        ("?status__exact=rejected", {"rejected"}),
        ("?kind=image", {"image", "pending", "rejected", "linked"}),
        ("?kind=video", {"video"}),
        ("?kind=audio", {"audio"}),
        ("?kind=document", {"pdf", "text"}),
        ("?kind=other", {"font"}),
        ("?kind=nonsense", ...),
        ("?size=0", {"image", "pending", "rejected", "linked", "text", "font"}),
        ("?size=102400", {"pdf"}),
        ("?size=1048576", {"audio"}),
        ("?size=10485760", set()),
        ("?size=104857600", {"video"}),
        ("?size=nonsense", ...),
        ("?linked=yes", {"linked"}),
        ("?linked=no", {"image", "video", "audio", "pdf", "text", "font"}),
        ("?created_at__year=2024", {"font"}),
        ("?created_at__year=2024&created_at__month=2", {"font"}),
        ("?created_at__year=2024&created_at__month=2&created_at__day=28", set()),
        (
            "?created_at__gte=2025-01-01+00%3A00%3A00%2B00%3A00",
            {"image", "video", "audio", "pdf", "text", "pending", "rejected", "linked"},
        ),
    ],
)
def test_filters(admin, user, message_of, query, shown):
    make_rows(user, filename="image")
    make_rows(user, filename="pending", status="pending", size_bytes=9)
    make_rows(user, filename="rejected", status="rejected")
    make_rows(user, filename="linked", message=message_of(user))
    make_rows(user, filename="video", content_type="video/mp4", size_bytes=100 * 2**20)
    make_rows(user, filename="audio", content_type="audio/ogg", size_bytes=10 * 2**20 - 1)
    make_rows(user, filename="pdf", content_type="application/pdf", size_bytes=100 * 2**10)
    make_rows(user, filename="text", content_type="text/csv", size_bytes=100 * 2**10 - 1)
    make_rows(
        user,
        filename="font",
        content_type="font/woff2",
        created_at=datetime(2024, 2, 29, 12, tzinfo=UTC),
    )
    everything = set(Attachment.objects.values_list("filename", flat=True))

    assert set(list_shown(admin, query)) == (everything if shown is ... else shown)


def test_dates_lead_from_years_to_days(admin, user):
    make_rows(user, created_at=datetime(2024, 2, 28, 12, tzinfo=UTC))
    make_rows(user, created_at=datetime(2025, 1, 2, 12, tzinfo=UTC))

    def get_links(query):
        return admin.get(LIST + query).context["cl"].date_links

    years = get_links("")
    months = get_links(years["choices"][0]["link"])
    days = get_links(months["choices"][0]["link"])
    day = get_links(days["choices"][0]["link"])

    assert [choice["title"] for choice in years["choices"]] == ["2024", "2025"]
    assert years["back"] is None
    assert [choice["title"] for choice in months["choices"]][:2] == ["February 2024", "March 2024"]
    assert len(months["choices"]) == 11
    assert months["back"]["title"] == "All dates"
    assert [choice["title"] for choice in days["choices"]] == ["February 28", "February 29"]
    assert [choice["title"] for choice in day["choices"]] == ["February 28"]
    assert day["back"]["title"] == "February 2024"
    assert len(list_shown(admin, days["choices"][0]["link"])) == 1


def test_dates_begin_with_what_all_rows_share(admin, user):
    make_rows(user, created_at=datetime(2024, 2, 28, 12, tzinfo=UTC))
    make_rows(user, created_at=datetime(2024, 2, 29, 12, tzinfo=UTC))

    choices = admin.get(LIST).context["cl"].date_links["choices"]

    assert [choice["title"] for choice in choices] == ["February 28", "February 29"]


@pytest.mark.parametrize(
    "query", ["?created_at__year=x", "?created_at__year=2024&created_at__month=77"]
)
def test_a_date_that_is_none_leads_to_the_first_page(admin, user, query):
    make_rows(user)

    assert admin.get(LIST + query).status_code == 302


# Search


@pytest.mark.parametrize(
    "term",
    [
        "Отчёт",
        pytest.param("отчёт за", marks=pytest.mark.postgres),
        "100%_",
        "  bob ",
        "bo",
        "{id}",
        "{hex}",
        "{HEX}",
        "{beginning}",
        "pending/{id}",
        "attachments/{id}/name.pdf",
    ],
)
def test_search(admin, user, other_user, term):
    (wanted,) = make_rows(other_user, filename="Отчёт за год.pdf")
    if term == "100%_":
        Attachment.objects.update(filename="100%_sure.pdf")
    make_rows(user, filename="1000 sure.pdf")
    spellings = {"id": wanted.pk, "hex": wanted.pk.hex, "HEX": wanted.pk.hex.upper()}
    term = term.format(**spellings, beginning=str(wanted.pk)[:-1])

    answer = admin.get(f"{LIST}?{urlencode({'q': term})}")

    assert [row.pk for row in answer.context["cl"].result_list] == [wanted.pk]


@pytest.mark.parametrize("query", ["?q=ile-0", "?q=" + "0" * 32, "?q=%25"])
def test_search_that_finds_nothing(admin, user, query):
    make_rows(user)

    assert list_shown(admin, query) == []


def test_a_search_that_no_database_takes_is_refused(admin, user):
    make_rows(user)

    answer = admin.get(f"{LIST}?q=nul%00")

    assert list_messages(answer) == ["Null characters are not allowed."]


@pytest.mark.postgres
def test_search_is_served_by_an_index():
    population.make_rows(2000)  # or else all indexes cost the same
    plan = Attachment.objects.filter(filename__istartswith="IMG_").order_by().explain()

    assert "attachments_filename" in plan


# Permissions


@pytest.mark.parametrize(
    ("codenames", "statuses", "actions"),
    [
        ((), (403, 403, 403, 403), set()),
        (("view_attachment",), (200, 200, 403, 403), {"download_links"}),
        (("delete_attachment",), (403, 403, 200, 200), set()),
        (
            ("view_attachment", "delete_attachment"),
            (200, 200, 200, 200),
            {"delete_selected", "download_links"},
        ),
        (("change_attachment", "add_attachment"), (200, 200, 403, 403), {"download_links"}),
    ],
)
def test_permissions(sign_in, user, codenames, statuses, actions):
    (row,) = make_rows(user)
    client = sign_in(*codenames)

    answers = [
        client.get(LIST + address)
        for address in ("", f"{row.pk}/change/", f"{row.pk}/delete/", "purge/")
    ]

    assert tuple(answer.status_code for answer in answers) == statuses
    if answers[0].status_code == 200:
        offered = {name for name, _ in answers[0].context["action_form"].fields["action"].choices}
        assert offered - {""} == actions
        assert ("purge/" in answers[0].content.decode()) == ("delete_selected" in actions)


def test_without_the_permission_nothing_is_deleted_or_purged(sign_in, user):
    rows = make_rows(user)
    client = sign_in("view_attachment")

    choose(client, "delete_selected", rows, post="yes")

    assert client.post(f"{LIST}{rows[0].pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.post(f"{LIST}purge/").status_code == 403
    assert Attachment.objects.count() == 1
    assert not DBTaskResult.objects.exists()


def test_links_lead_only_where_the_viewer_may_go(sign_in, user, message_of):
    message = message_of(user)
    (row,) = make_rows(user, message=message)
    client = sign_in("view_attachment")

    page = (
        client.get(LIST).content.decode() + client.get(f"{LIST}{row.pk}/change/").content.decode()
    )

    assert "/admin/auth/user/" not in page
    assert "/admin/messaging/" not in page
    assert f"#{message.pk}" in page
    assert "alice" in page


# Deleting


@pytest.mark.django_db(transaction=True)
def test_deleting_asks_and_tells_and_takes_the_objects(admin, user, attachment_of, upload, bucket):
    doomed = [attachment_of(user), attachment_of(user)]
    kept = attachment_of(user)
    upload(user, content=None, size_bytes=1000)
    doomed.append(Attachment.objects.get(status="pending"))

    page = choose(admin, "delete_selected", doomed)
    assert Attachment.objects.count() == 4
    answer = confirm(admin, page)

    assert [*page.context["going"]["summary"]] == [
        ("attachments", 3),
        ("objects in the store", 2),
        ("size", f"{2 * doomed[0].size_bytes / 1024:.1f}\xa0KB"),
    ]
    assert list_messages(answer) == ["Deleted 3 attachments."]
    assert list(Attachment.objects.all()) == [kept]
    assert kept.key in list_keys(bucket)
    assert not {row.key for row in doomed} & list_keys(bucket)
    assert not ObjectDeletion.objects.exists()
    assert sorted(LogEntry.objects.values_list("object_id", flat=True)) == sorted(
        str(row.pk) for row in doomed
    )


@pytest.mark.django_db(transaction=True)
def test_deleting_one_tells_its_size_and_takes_its_object(admin, user, attachment_of, bucket):
    attachment = attachment_of(user)

    page = admin.get(f"{LIST}{attachment.pk}/delete/")
    admin.post(f"{LIST}{attachment.pk}/delete/", {"post": "yes"})

    assert dict(page.context["going"]["summary"])["objects in the store"] == 1
    assert not Attachment.objects.exists()
    assert attachment.key not in list_keys(bucket)


def test_a_deletion_tells_what_goes_with_it(admin, user, message_of, settings):
    message = message_of(user)
    (row,) = make_rows(user, filename="Кот.png", message=message)
    make_rows(user, 12, created_at=timezone.now() - timedelta(days=1), message=message)
    hangs_on = (
        f'on message <a href="/admin/messaging/message/{message.pk}/change/">#{message.pk}</a>'
    )

    one = admin.get(f"{LIST}{row.pk}/delete/").content.decode()
    many = choose(admin, "delete_selected", [row], select_across="1").content.decode()

    for page in (one, many):
        assert re.search(rf"Кот.png .*{hangs_on}", page)
        assert "Links to what goes cease to work. Browsers and proxies may keep copies." in page
    assert "and 3 others" in many
    assert "13 of them hang on messages." in many
    settings.ATTACHMENTS = settings.ATTACHMENTS | {"CDN_URL": "https://cdn.example"}
    assert "The CDN may keep copies" in admin.get(f"{LIST}{row.pk}/delete/").content.decode()


@pytest.mark.django_db(transaction=True)
def test_one_is_back_in_the_filtered_list_after_a_deletion(admin, user):
    first, second = make_rows(user, 2, filename="Кот.png")
    query = "?" + urlencode({"kind": "image", "q": "Кот"})
    listing = admin.get(LIST + query).content.decode()
    (shown,) = re.findall(rf'href="([^"]*/{first.pk}/change/[^"]*)"', listing)
    tools = admin.get(html.unescape(shown)).content.decode()
    (address,) = re.findall(r'href="([^"]*/delete/[^"]*)" class="attachment-delete"', tools)

    one = admin.post(html.unescape(address), {"post": "yes"})
    page = choose(admin, "delete_selected", [second], query)
    (refusal,) = re.findall(r'href="([^"]*)" class="button cancel-link"', page.content.decode())
    many = confirm(admin, page, query)

    assert not Attachment.objects.exists()
    for back in (one.url, html.unescape(refusal), many.url):
        assert urlsplit(back).path == LIST
        assert parse_qs(urlsplit(back).query) == {"kind": ["image"], "q": ["Кот"]}


def test_the_top_of_a_page_offers_what_one_may_do(sign_in, user):
    (ready,) = make_rows(user)
    (pending,) = make_rows(user, status="pending")
    client = sign_in("view_attachment")

    page = client.get(f"{LIST}{ready.pk}/change/").content.decode()
    assert "response-content-disposition=attachment" in page.lower()
    assert "attachment-delete" not in page
    assert "attachment-download" not in client.get(f"{LIST}{pending.pk}/change/").content.decode()


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "No attachments yet."),
        ("?o=7", "No attachments yet."),
        ("?q=nothing", "No attachment matches."),
        ("?user__exact=1", "No attachment matches."),
        ("?status__exact=ready", "No attachment matches."),
    ],
)
def test_an_empty_list_helps(admin, query, text):
    assert text in admin.get(LIST + query).content.decode()


def test_the_list_says_what_narrows_it(admin, user, message_of):
    message = message_of(user)
    make_rows(user, filename="Кот.png", message=message)

    page = admin.get(f"{LIST}?user__exact={user.pk}&message__exact={message.pk}&q=Кот")

    assert [(name, value) for name, value, _ in page.context["cl"].narrowings] == [
        ("user", "alice"),
        ("message", f"#{message.pk}"),
    ]
    wider = parse_qs(page.context["cl"].narrowings[0][2].removeprefix("?"))
    assert wider == {"message__exact": [str(message.pk)], "q": ["Кот"]}
    nobody = admin.get(f"{LIST}?user__exact=12345").context["cl"]
    assert nobody.narrowings[0][:2] == ("user", "#12345")


def test_the_list_says_why_a_file_was_refused(admin, user):
    error = {"code": "size_mismatch", "params": {"size_bytes": 5, "expected": "10"}}
    (row,) = make_rows(user, status="rejected", error=error)

    page = admin.get(LIST).content.decode()

    assert f'<span class="quiet">{html.escape(row.error_info["detail"])}</span>' in page


def test_messages_and_conversations_are_told_by_their_texts(admin, user, message_of):
    message = message_of(user)
    message.text = "Hello " * 30
    message.save()

    messages = admin.get("/admin/messaging/message/").content.decode()
    conversations = admin.get("/admin/messaging/conversation/").content.decode()

    assert "Hello Hello" in messages
    assert message.text not in messages
    assert 'class="field-names">alice' in conversations


def test_all_that_match_are_deleted_and_nothing_that_came_later(admin, user, monkeypatch):
    monkeypatch.setattr(pages.AttachmentAdmin, "list_per_page", 2)
    rows = make_rows(user, 5, content_type="audio/ogg")
    make_rows(user, 2, filename="another")
    query = "?kind=audio"

    page = choose(admin, "delete_selected", rows[:2], query, select_across="1")
    make_rows(user, filename="later", content_type="audio/ogg", created_at=timezone.now())
    confirm(admin, page, query)

    assert dict(page.context["going"]["summary"])["attachments"] == 5
    assert sorted(Attachment.objects.values_list("filename", flat=True)) == [
        "another",
        "another",
        "later",
    ]


def test_deleting_thousands_costs_no_more_queries(admin, user, monkeypatch):
    monkeypatch.setattr(pages, "MAX_LOGGED", 5)
    counts = []
    for count in (20, 2000):
        rows = make_rows(user, count)
        with CaptureQueriesContext(connection) as queries:
            confirm(admin, choose(admin, "delete_selected", rows[:1], select_across="1"))
        counts.append(len(queries))
        assert not Attachment.objects.exists()

    assert counts[0] == counts[1]
    assert LogEntry.objects.values_list("object_repr", flat=True)[0].startswith(
        "2000 attachments, "
    )


# Links


def test_links_as_csv(admin, user, django_user_model):
    (ready,) = make_rows(user, filename='Кот, "Мурка".png')
    formula = django_user_model.objects.create_user("@SUM(A1)")
    (pending,) = make_rows(
        formula, filename="=HYPERLINK(1)", status="pending", size_bytes=None,
        created_at=timezone.now() - timedelta(days=1),
    )  # fmt: skip

    answer = choose(admin, "download_links", [ready, pending])

    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(
        r'attachment; filename="attachments-[\d-]+\.csv"', answer["Content-Disposition"]
    )
    assert list(csv.reader(io.StringIO(text))) == [
        ["id", "filename", "size_bytes", "content_type", "owner", "link"],
        [
            str(ready.pk),
            ready.filename,
            "10",
            "image/png",
            "alice",
            storage.get_public_url(ready.key),
        ],
        [str(pending.pk), "'=HYPERLINK(1)", "", "image/png", "'@SUM(A1)", ""],
    ]


@pytest.mark.parametrize(
    ("filename", "cell"),
    [
        ("a;b.png", "a;b.png"),
        ("a;=HYPERLINK(1)", "a;'=HYPERLINK(1)"),
        ('a; "=HYPERLINK(1)', """a;' "=HYPERLINK(1)"""),
        ("a;;+1;-2;@b", "a;;'+1;'-2;'@b"),
        (" =1", "' =1"),
        ("＝1", "'＝1"),
        ("a-b=c@d+e", "a-b=c@d+e"),
    ],
)
def test_no_cell_of_the_csv_is_a_formula_wherever_cells_end(admin, user, filename, cell):
    """Excel ends cells at semicolons where the comma is the decimal sign."""
    (row,) = make_rows(user, filename=filename)

    answer = choose(admin, "download_links", [row])

    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    assert [found[1] for found in csv.reader(io.StringIO(text))] == ["filename", cell]
    for found in csv.reader(io.StringIO(text), delimiter=";"):
        assert not any(
            part.strip("\"' ").startswith(tuple("=+-@")) and part[0] != "'" for part in found
        )


# Purging


def test_a_purge_is_told_of_and_left_to_a_worker(admin, user):
    make_rows(user, 3, created_at=timezone.now() - timedelta(days=8), size_bytes=2**20)

    page = admin.get(f"{LIST}purge/").content.decode()
    answer = admin.post(f"{LIST}purge/")

    task = DBTaskResult.objects.get()
    assert "Orphans, on no message: 3" in page
    assert "3.0\xa0MB" in page
    assert task.task_path == "attachments.tasks.purge_orphans"
    assert (answer.status_code, answer.url) == (302, LIST)
    assert list_messages(answer) == [
        "A worker purges as soon as it is free.",
        f'<a href="{LIST}purge/?task={task.id}">See how the purge goes</a>',
    ]
    assert Attachment.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_a_purge_tells_how_it_goes_and_what_came_of_it(admin, user, bucket):
    make_rows(user, 3, created_at=timezone.now() - timedelta(days=8), size_bytes=2**20)
    admin.post(f"{LIST}purge/")
    task = DBTaskResult.objects.get()
    address = f"{LIST}purge/?task={task.id}"

    waiting = admin.get(address).context["asked_for"]
    call_command("db_worker", batch=True, interval=0, startup_delay=False, verbosity=0)

    assert waiting == "A worker purges as soon as it is free."
    assert admin.get(address).context["asked_for"] == "The purge deleted 3 attachments, 3.0\xa0MB."
    DBTaskResult.objects.update(status="FAILED")
    assert "The purge failed." in admin.get(address).content.decode()
    for text in ("none", "", str(uuid4())):
        assert not admin.get(f"{LIST}purge/?task={text}").context["asked_for"]


def test_one_is_back_in_the_filtered_list_after_a_purge_or_a_refusal_to(admin, user):
    make_rows(user, filename="Кот.png")
    listing = admin.get(f"{LIST}?kind=image&q=Кот").content.decode()
    (address,) = re.findall(r'href="([^"]*/purge/[^"]*)"', listing)

    page = admin.get(html.unescape(address)).content.decode()
    answer = admin.post(html.unescape(address))

    (refusal,) = re.findall(r'href="([^"]*)" class="button cancel-link"', page)
    wanted = {"kind": ["image"], "q": ["Кот"]}
    for back in (html.unescape(refusal), answer.url):
        assert parse_qs(urlsplit(back).query) == wanted


@pytest.mark.django_db(transaction=True)
def test_a_host_without_workers_purges_at_once(admin, user, bucket, settings):
    settings.TASKS = {"default": {"BACKEND": IMMEDIATE}}
    make_rows(user, 3, created_at=timezone.now() - timedelta(days=8))

    answer = admin.post(f"{LIST}purge/")

    assert list_messages(answer) == ["The purge deleted 3 attachments, 30\xa0bytes."]
    assert not Attachment.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_purge_that_fails_says_so(admin, user, monkeypatch, settings):
    def fail():
        raise StorageUnavailable from ConnectionError("no route to the store")

    settings.TASKS = {"default": {"BACKEND": IMMEDIATE}}
    monkeypatch.setattr(storage, "ping_bucket", fail)
    make_rows(user, 3, created_at=timezone.now() - timedelta(days=8))

    answer = admin.post(f"{LIST}purge/")

    assert [text.startswith("The purge failed.") for text in list_messages(answer)] == [True]
    assert Attachment.objects.count() == 3


# Waiting deletions


def test_waiting_deletions_are_only_looked_at(admin):
    note = ObjectDeletion.objects.create(key="a/b", attempts=2, last_error="AccessDenied: locked")

    page = admin.get(NOTES).content.decode()

    assert "a/b" in page
    assert "AccessDenied: locked" in page
    assert admin.get(f"{NOTES}{note.pk}/change/").status_code == 200
    assert admin.get(f"{NOTES}{note.pk}/delete/").status_code == 403
    assert admin.post(f"{NOTES}{note.pk}/change/", {"key": "c"}).status_code == 403


def retry(client, notes):
    data = {"action": "retry_deletions", "_selected_action": [note.pk for note in notes]}
    return client.post(NOTES, {**data, "index": "0"})


@pytest.mark.django_db(transaction=True)
def test_a_deletion_is_tried_again_now(admin, bucket):
    later = timezone.now() + timedelta(hours=1)
    for key in ("attachments/a/b", "attachments/c/d"):
        bucket.put_object(Key=key, Body=b"x")
    tried = ObjectDeletion.objects.create(key="attachments/a/b", attempts=1, due_at=later)
    leased = ObjectDeletion.objects.create(key="attachments/c/d", due_at=later)

    answer = retry(admin, [tried, leased])

    assert list_messages(answer) == ["Deleted 1 object."]
    assert list(ObjectDeletion.objects.all()) == [leased]
    assert "attachments/a/b" not in list_keys(bucket)
    assert "attachments/c/d" in list_keys(bucket)


def test_trying_again_says_that_the_store_is_down(admin, monkeypatch):
    def fail(keys):
        raise StorageUnavailable from ConnectionError("no route to the store")

    monkeypatch.setattr(storage, "delete_objects", fail)
    note = ObjectDeletion.objects.create(key="a/b", attempts=1)

    expected = f"{StorageUnavailable().detail} (no route to the store)"
    assert list_messages(retry(admin, [note])) == [expected]
    assert ObjectDeletion.objects.get().attempts == 2


def test_who_may_not_delete_may_not_try_again(sign_in):
    client = sign_in("view_objectdeletion")
    note = ObjectDeletion.objects.create(key="a/b", attempts=1)

    retry(client, [note])

    assert "retry_deletions" not in client.get(NOTES).content.decode()
    assert ObjectDeletion.objects.get().attempts == 1


# Inlines


def test_owners_and_messages_show_their_newest_attachments(admin, user, other_user, message_of):
    message = message_of(user)
    make_rows(user, 25, message=message)
    make_rows(other_user, filename="another.png")

    pages_of = {
        f"/admin/auth/user/{user.pk}/change/": f"{LIST}?user__exact={user.pk}",
        f"/admin/messaging/message/{message.pk}/change/": f"{LIST}?message__exact={message.pk}",
    }

    for address, all_of_them in pages_of.items():
        page = admin.get(address).content.decode()
        shown = [int(number) for number in re.findall(r">file-(\d+)\.png</a>", page)]
        assert shown == list(range(20))
        assert "another.png" not in page
        assert f'href="{all_of_them}"' in page
        assert len(list_shown(admin, all_of_them.removeprefix(LIST))) == 25


def test_an_inline_costs_one_query(admin, user, message_of):
    message = message_of(user)
    counts = []
    for count in (1, 15):
        make_rows(user, count, message=message)
        with CaptureQueriesContext(connection) as queries:
            admin.get(f"/admin/messaging/message/{message.pk}/change/")
        counts.append(len([q for q in queries if '"attachments"' in q["sql"]]))

    assert counts == [1, 1]


def test_the_list_of_messages_costs_as_many_queries_whatever_is_on_it(admin, user, message_of):
    counts = []
    for _ in range(2):
        message_of(user)
        with CaptureQueriesContext(connection) as queries:
            admin.get("/admin/messaging/message/")
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_a_link_finds_an_id_that_needs_quoting(admin, user):
    linker = Linker(site=site, request=RequestFactory().get("/"))
    linker.request.user = user
    user.is_superuser = True

    link = linker.link(type(user), "a/b_2Fc", "x")

    assert 'href="/admin/auth/user/a_2Fb_5F2Fc/change/"' in link


def test_a_message_is_saved_although_a_file_came_meanwhile(admin, user, message_of):
    message = message_of(user)
    address = f"/admin/messaging/message/{message.pk}/change/"
    fields = FormReader(admin.get(address).content.decode()).fields
    make_rows(user, message=message)

    answer = admin.post(
        address, {**fields, "conversation": message.conversation_id, "author": user.pk, "text": "x"}
    )

    message.refresh_from_db()
    assert answer.status_code == 302
    assert message.text == "x"
    assert message.attachments.count() == 1


def test_what_is_being_added_has_no_attachments(admin, user):
    make_rows(user, filename="orphan.png")

    for address in ("/admin/messaging/message/add/", "/admin/auth/user/add/"):
        assert "orphan.png" not in admin.get(address).content.decode()


def test_inlines_are_for_who_may_view_attachments(sign_in, user, message_of):
    message = message_of(user)
    make_rows(user, filename="hidden.png", message=message)
    client = sign_in("view_message")

    page = client.get(f"/admin/messaging/message/{message.pk}/change/")

    assert page.status_code == 200
    assert "hidden.png" not in page.content.decode()


def test_an_inline_takes_uploads_where_its_host_lets_it(admin, user, message_of, monkeypatch):
    message = message_of(user)
    address = f"/admin/messaging/message/{message.pk}/change/"
    (mine,) = make_rows(type(user).objects.get(username="root"))
    (foreign,) = make_rows(user)
    assert "attachment-input" not in admin.get(address).content.decode()
    monkeypatch.setattr(AttachmentInline, "can_upload", True)
    page = admin.get(address).content.decode()
    form = {**FormReader(page).fields, "conversation": message.conversation_id, "author": user.pk}

    def save(*rows):
        ids = [str(row.pk) for row in rows]
        return admin.post(address, {**form, "text": "x", "attachments-upload-uploads": ids})

    refused, saved = save(mine, foreign), save(mine)

    assert "attachments/input.js" in page
    assert "This file cannot be used" in refused.content.decode()
    assert saved.status_code == 302
    assert [row.pk for row in message.attachments.all()] == [mine.pk]
    assert (
        "attachment-input" not in admin.get(f"/admin/auth/user/{user.pk}/change/").content.decode()
    )


def test_an_inline_whose_upload_is_taken_meanwhile_says_so(admin, user, message_of, monkeypatch):
    message, other = message_of(user), message_of(user)
    address = f"/admin/messaging/message/{message.pk}/change/"
    (mine,) = make_rows(type(user).objects.get(username="root"))
    monkeypatch.setattr(AttachmentInline, "can_upload", True)
    form = FormReader(admin.get(address).content.decode()).fields

    def link_late(**kwargs):
        Attachment.objects.filter(pk=mine.pk).update(message=other)
        services.link_attachments(**kwargs)

    monkeypatch.setattr("attachments.admin.inlines.link_attachments", link_late)
    answers = {"conversation": message.conversation_id, "author": user.pk, "text": "new"}
    uploads = {"attachments-upload-uploads": [str(mine.pk)]}

    page = admin.post(address, {**form, **answers, **uploads}, follow=True).content.decode()

    assert "The files were not attached: The attachment already hangs" in page
    message.refresh_from_db()
    assert (message.text, message.attachments.count()) == ("new", 0)


def test_an_inline_takes_uploads_of_who_may_add_attachments(sign_in, user, message_of, monkeypatch):
    monkeypatch.setattr(AttachmentInline, "can_upload", True)
    message = message_of(user)
    client = sign_in("view_message", "change_message", "view_attachment")

    page = client.get(f"/admin/messaging/message/{message.pk}/change/").content.decode()

    assert "attachment-inline" in page
    assert "attachment-input" not in page


# A second site


@pytest.mark.urls("tests.host_urls")
@pytest.mark.parametrize("name", ["admin", "office"])
def test_each_site_links_to_itself(admin, user, name):
    (row,) = make_rows(user)
    own = f"/{name}/attachments/attachment/"
    pages = [
        "attachments/",
        "attachments/attachment/",
        "attachments/attachment/usage/",
        "attachments/attachment/purge/",
        f"attachments/attachment/{row.pk}/change/",
        f"auth/user/{user.pk}/change/",
    ]

    texts = [admin.get(f"/{name}/{page}").content.decode() for page in pages]
    asked = [admin.post(f"{own}{page}/")["Location"] for page in ("usage", "purge")]

    links = {link for text in texts for link in re.findall(r'href="(/\w+/)', text)}
    assert links - {"/static/"} == {f"/{name}/"}
    assert asked == [f"{own}usage/?days=30", own]
    assert f"{own}{row.pk}/change/" in texts[-1]


@pytest.mark.urls("tests.host_urls")
def test_a_site_without_attachments_shows_them_without_links(admin, user):
    make_rows(user)

    page = admin.get(f"/bare/auth/user/{user.pk}/change/").content.decode()

    assert "file-0.png" in page
    assert "/attachments/attachment/" not in page


# Workers


def test_a_worker_that_gives_no_sign_of_life(admin):
    services.note_sign(next_within=timedelta(0))
    since = WorkerSign.objects.get().seen_at

    shown = [admin.get(f"{LIST}usage/"), admin.get(f"{LIST}purge/"), admin.post(f"{LIST}purge/")]

    text = (
        f"No worker has given a sign of life since {since:%Y-%m-%d %H:%M:%S} UTC. "
        "What is asked of one waits until it runs again."
    )
    assert all(text in list_messages(page) for page in shown)


def test_a_worker_that_lives(admin):
    services.note_sign(next_within=timedelta(minutes=2))

    assert list_messages(admin.get(f"{LIST}purge/")) == []


def test_the_detail_tells_what_was_found_in_the_file():
    media = {"width": 160, "height": 90, "duration_seconds": 61.4, "page_count": 2}

    shown = display.show_media(Attachment(media=media, is_stripped=True))

    assert shown.startswith("160 × 90, 0:01:01, 2 pages, metadata removed")
    assert display.show_media(Attachment(media={})) == display.NOTHING


def test_a_moment_that_no_calendar_has_is_now(admin, user):
    (row,) = make_rows(user)
    form = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}

    admin.post(LIST, {**form, "counted_at": "2026-02-31T00:00:00Z"})

    assert not Attachment.objects.exists()


@pytest.mark.parametrize("pk", ["", "abc", "a\0b"])
def test_what_is_no_id_is_a_bad_request(admin, user, pk):
    (row,) = make_rows(user)
    form = {"action": "delete_selected", "_selected_action": [str(row.pk), pk], "post": "yes"}

    assert admin.post(LIST, form).status_code == 400
    assert Attachment.objects.exists()


def test_one_of_several_values_of_a_filter_may_be_nonsense(admin):
    assert admin.get(f"{LIST}?status__exact=a%00b&status__exact=ready").status_code == 302
