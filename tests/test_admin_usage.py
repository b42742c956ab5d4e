import re
from datetime import timedelta
from xml.etree import ElementTree

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.utils import timezone
from django.utils.html import strip_tags
from django_tasks_db.models import DBTaskResult

from attachments import services
from attachments.models import Attachment, ObjectDeletion, UsageFigures
from attachments.services import kept_usage
from tests.commands import IMMEDIATE

pytestmark = pytest.mark.django_db

ADDRESS = "/admin/attachments/attachment/usage/"
SVG = "{http://www.w3.org/2000/svg}"
MB = 1024**2


@pytest.fixture
def viewer(client, staff_user):
    """A member of staff who may look at attachments and do nothing else."""
    staff_user.user_permissions.add(Permission.objects.get(codename="view_attachment"))
    client.force_login(staff_user)
    return client


@pytest.fixture
def make_row():
    def make(user, **fields):
        fields = {
            "filename": "file",
            "status": "ready",
            "content_type": "image/png",
            "size_bytes": MB,
        } | fields
        return Attachment.objects.create(
            user=user, expires_at=timezone.now(), storage_key="attachments/key", **fields
        )

    return make


def read_tables(response):
    """The cells of each table, by the id of its heading."""
    tables = {}
    for section in response.content.decode().split("<section")[1:]:
        name = re.search(r'aria-labelledby="usage-(\w+)"', section)[1]
        rows = re.findall(r"<tr>(.*?)</tr>", section.split("</section>")[0], re.DOTALL)
        tables[name] = [
            [strip_tags(cell).strip().replace("\xa0", " ") for cell in re.split("</t[hd]>", row)][
                :-1
            ]
            for row in rows
        ]
    return tables


def read_charts(response):
    """Each chart as a tree, by the text of its title."""
    picture = r'<svg [^>]*role="(?:img|group)".*?</svg>'
    pictures = re.findall(picture, response.content.decode(), re.DOTALL)
    charts = [ElementTree.fromstring(picture) for picture in pictures]
    return {chart.find(f"{SVG}title").text: chart for chart in charts}


def read_texts(chart, css_class):
    texts = chart.iter(f"{SVG}text")
    return [text.text.replace("\xa0", " ") for text in texts if text.get("class") == css_class]


def test_strangers_are_sent_to_the_login(client, user):
    assert client.get(ADDRESS).status_code == 302

    client.force_login(user)

    assert client.get(ADDRESS).headers["Location"].startswith("/admin/login/")


def test_staff_without_permission_are_refused(client, staff_user):
    client.force_login(staff_user)

    assert client.get(ADDRESS).status_code == 403


def test_tables_tell_what_there_is(viewer, user, other_user, message_of, make_row):
    # given
    yesterday = timezone.now() - timedelta(days=1)
    big = make_row(
        user, filename="Отпуск.mp4", content_type="video/mp4", size_bytes=3 * MB,
        message=message_of(user),
    )  # fmt: skip
    make_row(other_user, filename="Кот.png", created_at=yesterday)
    long_ago = timezone.now() - timedelta(days=20)
    make_row(user, filename="Договор.png", created_at=long_ago, confirmed_at=long_ago)
    make_row(user, status="rejected", size_bytes=512)
    ObjectDeletion.objects.create(
        key="a", created_at=yesterday, attempts=1, last_error="Could not connect"
    )
    ObjectDeletion.objects.create(key="b")

    # when
    response = viewer.get(ADDRESS, {"days": "7"})

    # then
    tables = read_tables(response)
    assert tables["days"][0] == ["Day", "Files", "Size"]
    assert [row[1:] for row in tables["days"][1:]] == [
        ["1", "3.0 MB"],
        ["1", "1.0 MB"],
        *[["0", "0 bytes"]] * 5,
    ]
    assert tables["types"][1:] == [["video/mp4", "1", "3.0 MB"], ["image/png", "2", "2.0 MB"]]
    assert tables["owners"][1:] == [["alice", "2", "4.0 MB"], ["bob", "1", "1.0 MB"]]
    assert tables["largest"][1][:3] == [
        "Отпуск.mp4", "3.0 MB", "alice",
    ]  # fmt: skip
    assert tables["statuses"][1:] == [
        ["pending", "0", "0 bytes"],
        ["verifying", "0", "0 bytes"],
        ["scanning", "0", "0 bytes"],
        ["ready", "3", "5.0 MB"],
        ["rejected", "1", "512 bytes"],
        ["infected", "0", "0 bytes"],
    ]
    assert tables["orphans"][1:] == [
        ["On a message", "1", "3.0 MB"],
        ["Orphans", "2", "2.0 MB"],
        ["Orphans over 7 days", "1", "1.0 MB"],
    ]
    assert tables["deletions"] == [
        ["Not tried yet", "1"],
        ["Tried already", "1"],
        ["Oldest", "1 day"],
        ["Last error", "Could not connect"],
    ]
    assert f"/admin/attachments/attachment/{big.pk}/change/" in response.content.decode()


def test_charts_show_the_numbers_of_their_tables(viewer, user, make_row):
    make_row(user, filename="Кот.mp4", content_type="video/mp4", size_bytes=3 * MB)
    make_row(user, size_bytes=MB)
    ObjectDeletion.objects.create(key="a")

    charts = read_charts(viewer.get(ADDRESS))

    assert list(charts) == [
        "Files by day",
        "Size by day",
        "Size by type",
        "Size by owner",
        "Size by link to a message",
        "Objects that wait to be deleted",
    ]
    assert read_texts(charts["Files by day"], "scale") == ["0", "1", "2"]
    assert read_texts(charts["Size by day"], "scale") == [
        "0 bytes", "1 MB", "2 MB", "3 MB", "4 MB",
    ]  # fmt: skip
    assert read_texts(charts["Size by type"], "name") == ["video/mp4", "image/png"]
    assert read_texts(charts["Size by type"], "label") == ["3.0 MB · 1 file", "1.0 MB · 1 file"]
    assert read_texts(charts["Size by owner"], "label") == ["4.0 MB · 2 files"]
    assert read_texts(charts["Size by link to a message"], "label") == [
        "0 bytes · 0 files", "4.0 MB · 2 files", "0 bytes · 0 files",
    ]  # fmt: skip
    assert read_texts(charts["Objects that wait to be deleted"], "label") == ["1", "0"]


def test_charts_name_themselves_to_screen_readers(viewer, user, make_row):
    make_row(user)

    for title, chart in read_charts(viewer.get(ADDRESS)).items():
        ids = [chart.find(f"{SVG}title").get("id"), chart.find(f"{SVG}desc").get("id")]
        assert chart.get("aria-labelledby").split() == ids, title
        assert "1" in chart.find(f"{SVG}desc").text


def test_numbers_are_localised_but_coordinates_are_not(viewer, user, make_row):
    for _number in range(3):
        make_row(user, size_bytes=MB + MB // 2)

    response = viewer.get(ADDRESS, headers={"Accept-Language": "ru"})

    assert ["image/png", "3", "4,5 МБ"] in read_tables(response)["types"]
    for chart in read_charts(response).values():
        for element in chart.iter():
            for name in {"x", "y", "width", "height", "x1", "x2", "y1", "y2"} & set(element.keys()):
                assert re.fullmatch(r"-?\d+(\.\d+)?%?", element.get(name))


@pytest.mark.parametrize(("asked", "days"), [("7", 7), ("90", 90), ("", 30), ("10000", 30)])
def test_the_period_is_one_of_those_offered(viewer, user, make_row, asked, days):
    make_row(user)

    response = viewer.get(ADDRESS, {"days": asked})

    assert len(read_tables(response)["days"]) == 1 + days


def test_nothing_yet_is_said_so(viewer):
    response = viewer.get(ADDRESS)

    page = response.content.decode()
    assert response.status_code == 200
    assert read_charts(response) == {}
    assert page.count("No files yet.") == 4
    assert "Nothing waits." in page
    assert "No files in these days." in page


def test_text_of_users_is_never_markup(viewer, django_user_model, make_row):
    evil = "</title><script>alert(1)</script>"
    owner = django_user_model.objects.create(username=evil)
    make_row(owner, filename=evil, content_type=evil)
    ObjectDeletion.objects.create(key="a", last_error=evil)

    response = viewer.get(ADDRESS)

    page = response.content.decode()
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert") >= 6
    assert read_texts(read_charts(response)["Size by owner"], "name") == [f"{evil[:27]}…"]


def test_as_many_queries_whatever_there_is(
    viewer, user, django_user_model, make_row, django_assert_max_num_queries
):
    make_row(user)
    with django_assert_max_num_queries(20) as few:
        viewer.get(ADDRESS)
    for number in range(20):
        make_row(
            django_user_model.objects.create_user(f"user-{number}"), content_type=f"a/{number}"
        )

    with django_assert_max_num_queries(len(few)):
        viewer.get(ADDRESS)


def test_owners_types_and_statuses_lead_to_their_files(viewer, user, other_user, make_row):
    make_row(user, filename="Мой.png")
    make_row(other_user, filename="Чужой.png", content_type="video/mp4")

    page = viewer.get(ADDRESS).content.decode()
    links = re.findall(r'href="(/admin/attachments/attachment/\?[^"]+)"', page)
    of_user = next(link for link in links if link.endswith(f"user__exact={user.pk}"))
    of_type = next(link for link in links if link.endswith("content_type__exact=image%2Fpng"))
    of_pending = next(link for link in links if link.endswith("status__exact=pending"))

    for address, told in ((of_user, "User: <strong>alice"), (of_type, "type: <strong>image/png")):
        listing = viewer.get(address).content.decode()
        assert told in listing
        assert "Мой.png" in listing
        assert "Чужой.png" not in listing
    assert "Мой.png" not in viewer.get(of_pending).content.decode()


# Figures that are kept


@pytest.fixture
def _many_rows(monkeypatch):
    """Take any number of rows for too many to count while somebody waits."""
    monkeypatch.setattr(kept_usage, "MAX_COUNTED_AT_ONCE", -1)


@pytest.fixture
def use_tasks(settings):
    def use(backend):
        settings.TASKS = {"default": {"BACKEND": backend}}

    return use


WORKER = "django_tasks_db.DatabaseBackend"
NO_WORKER = IMMEDIATE


def read_note(response):
    """What the page says of its figures."""
    form = response.content.decode().split('class="usage-refresh"')[1].split("</form>")[0]
    return strip_tags(form.split("<p>")[1].split("</p>")[0]).strip()


@pytest.mark.usefixtures("_many_rows")
def test_the_page_says_of_when_its_figures_are(viewer, user, other_user, make_row):
    make_row(user)
    services.refresh_usage()
    UsageFigures.objects.update(
        figures=UsageFigures.objects.get().figures | {"computed_at": "2026-11-25T04:15:00+00:00"}
    )
    make_row(other_user, filename="later", size_bytes=2 * MB)

    english = viewer.get(ADDRESS)
    russian = viewer.get(ADDRESS, headers={"Accept-Language": "ru"})

    assert read_note(english).startswith("Figures of 2026-11-25 04:15:00 UTC")
    assert "2026-11-25 04:15:00 UTC" in read_note(russian)
    tables = read_tables(english)
    assert tables["owners"][1:] == [["bob", "1", "2.0 MB"], ["alice", "1", "1.0 MB"]]
    assert tables["types"][1:] == [["image/png", "1", "1.0 MB"]]
    assert [row[0] for row in tables["largest"][1:]] == ["file"]


@pytest.mark.usefixtures("_many_rows")
def test_a_largest_file_that_went_is_not_shown(viewer, user, make_row):
    make_row(user, filename="stays")
    gone = make_row(user, filename="goes")
    services.refresh_usage()
    gone.delete()

    assert [row[0] for row in read_tables(viewer.get(ADDRESS))["largest"][1:]] == ["stays"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_many_rows")
def test_a_worker_is_asked_for_the_first_figures(viewer, user, make_row, use_tasks):
    use_tasks(WORKER)
    make_row(user)

    pages = [viewer.get(ADDRESS), viewer.get(ADDRESS)]

    for page in pages:
        assert "A worker was asked for the figures" in read_note(page)
        assert list(read_tables(page)) == ["owners"]
        assert read_tables(page)["owners"][1:] == [["alice", "1", "1.0 MB"]]
    (task,) = DBTaskResult.objects.all()
    assert task.task_path == "attachments.tasks.refresh_usage"
    call_command("db_worker", batch=True, interval=0, verbosity=0)
    assert read_tables(viewer.get(ADDRESS))["types"][1:] == [["image/png", "1", "1.0 MB"]]


@pytest.mark.usefixtures("_many_rows")
def test_without_a_worker_nothing_is_counted_until_somebody_asks(viewer, user, make_row, use_tasks):
    use_tasks(NO_WORKER)
    make_row(user)

    page = viewer.get(ADDRESS)
    assert "The figures have not been counted yet" in read_note(page)
    assert list(read_tables(page)) == ["owners"]

    answer = viewer.post(f"{ADDRESS}?days=7")

    assert answer.headers["Location"] == f"{ADDRESS}?days=7"
    page = viewer.get(answer.headers["Location"])
    assert read_note(page).startswith("Figures of ")
    assert read_tables(page)["types"][1:] == [["image/png", "1", "1.0 MB"]]
    assert len(read_tables(page)["days"]) == 1 + 7


def test_refresh_leaves_the_work_to_a_worker(viewer, use_tasks):
    use_tasks(WORKER)

    page = viewer.post(ADDRESS, follow=True)

    task = DBTaskResult.objects.get()
    assert f"A worker counts as soon as it is free. Task: {task.id}." in page.content.decode()


def test_who_may_not_look_may_not_refresh(client, staff_user):
    client.force_login(staff_user)

    assert client.post(ADDRESS).status_code == 403
    assert not UsageFigures.objects.exists()
    assert not DBTaskResult.objects.exists()


@pytest.mark.parametrize("address", ["/admin/attachments/attachment/", "/admin/attachments/"])
def test_the_list_and_the_app_lead_here(viewer, address):
    assert f'href="{ADDRESS}"' in viewer.get(address).content.decode()
