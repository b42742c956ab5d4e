"""The admin as people use it: in a browser, on the real servers."""

from datetime import timedelta

import pytest
from django.utils import timezone
from django_tasks_db.models import DBTaskResult
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import Select, WebDriverWait

from attachments.admin import pages
from attachments.models import Attachment, ObjectDeletion

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "attachments/attachment/"


@pytest.fixture
def superuser(django_user_model):
    return django_user_model.objects.create_superuser("root", password="root-demo")


def read_names(browser):
    return [link.text for link in browser.find_elements(By.CSS_SELECTOR, ".field-filename a")]


def wait_for_media(browser, selector, expression):
    """Wait until ``expression`` is true of the element: then its bytes came and were decoded."""
    element = browser.find_element(By.CSS_SELECTOR, selector)
    browser.execute_script("arguments[0].scrollIntoView()", element)
    script = f"return Boolean(arguments[0].{expression})"
    WebDriverWait(browser, 10).until(lambda _: browser.execute_script(script, element))


def follow(browser, by, what):
    """Click, and wait for the next page."""
    page = browser.find_element(By.TAG_NAME, "html")
    browser.find_element(by, what).click()
    WebDriverWait(browser, 10).until(staleness_of(page))


def run_action(browser, name):
    Select(browser.find_element(By.NAME, "action")).select_by_value(name)
    follow(browser, By.CSS_SELECTOR, ".actions button")


def test_staff_log_in_search_and_look(browser, live_server, superuser, attachment_of):
    attachment_of(superuser, filename="Кот.png")
    attachment_of(superuser, filename="Собака.png")

    browser.get(f"{live_server.url}/admin/{LIST}")
    browser.find_element(By.NAME, "username").send_keys("root")
    browser.find_element(By.NAME, "password").send_keys("root-demo")
    follow(browser, By.CSS_SELECTOR, "[type=submit]")
    assert read_names(browser) == ["Собака.png", "Кот.png"]

    browser.find_element(By.ID, "searchbar").send_keys("кот")
    follow(browser, By.CSS_SELECTOR, "#changelist-search [type=submit]")
    assert read_names(browser) == ["Кот.png"]
    wait_for_media(browser, "img.attachment-thumbnail", "naturalWidth > 0")

    follow(browser, By.LINK_TEXT, "Кот.png")
    wait_for_media(browser, "img.attachment-preview", "naturalWidth === 160")


@pytest.mark.parametrize(
    ("content_type", "selector", "expression"),
    [
        ("image/webp", "img.attachment-preview", "naturalWidth === 160"),
        ("video/mp4", "video", "videoWidth === 160"),
        ("video/webm", "video", "videoWidth === 160"),
        ("audio/mpeg", "audio", "duration > 0.9"),
        ("audio/opus", "audio", "duration > 0.9"),
        ("application/pdf", "object", "offsetHeight > 400"),
    ],
)
def test_the_preview_plays(
    open_admin, superuser, attachment_of, content_type, selector, expression
):
    attachment = attachment_of(superuser, content_type=content_type)

    page = open_admin(superuser, f"{LIST}{attachment.pk}/change/")

    wait_for_media(page, selector, expression)


def test_every_page_keeps_the_policy_and_can_be_used_by_all(
    open_admin, emulate, find_barriers, superuser, attachment_of, upload, message_of
):
    """What the browser says of the policy is looked at by the fixture ``browser``."""
    message = message_of(superuser)
    attachment = attachment_of(superuser, message_id=message.pk)
    upload(superuser, content=None)
    note = ObjectDeletion.objects.create(key="attachments/a/b/c")

    for path in (
        "",
        "attachments/",
        LIST,
        f"{LIST}?o=-4&user__exact={superuser.pk}",
        f"{LIST}?q=nothing",
        f"{LIST}{attachment.pk}/change/",
        f"{LIST}{attachment.pk}/history/",
        f"{LIST}{attachment.pk}/delete/",
        f"{LIST}purge/",
        f"{LIST}usage/",
        "attachments/objectdeletion/",
        f"attachments/objectdeletion/{note.pk}/change/",
        f"auth/user/{superuser.pk}/change/",
        f"messaging/message/{message.pk}/change/",
        f"messaging/conversation/{message.conversation_id}/change/",
        "django_tasks_database/dbtaskresult/",
        "password_change/",
    ):
        for scheme, width in (("light", 1280), ("dark", 390)):
            emulate(scheme, width)
            page = open_admin(superuser, path)
            assert find_barriers() == [], path
            assert page.find_element(By.ID, "content").text, path
    page.delete_all_cookies()
    page.refresh()
    assert find_barriers() == []


def test_a_script_that_gets_into_a_page_does_not_run(open_admin, superuser):
    page = open_admin(superuser)

    page.execute_script(
        "const script = document.createElement('script');"
        "script.textContent = 'window.hasRun = true';"
        "document.body.append(script)"
    )

    assert page.execute_script("return window.hasRun") is None
    refusals = [line["message"] for line in page.get_log("browser")]
    assert any("Content Security Policy" in line for line in refusals)


def test_the_page_of_the_api_works_under_the_policy(browser, live_server):
    browser.get(f"{live_server.url}/api/docs")

    operations = WebDriverWait(browser, 20).until(
        lambda _: browser.find_elements(By.CSS_SELECTOR, ".opblock-summary")
    )
    operations[0].click()
    follow_button = WebDriverWait(browser, 10).until(
        lambda _: browser.find_elements(By.CSS_SELECTOR, ".try-out__btn")
    )
    follow_button[0].click()
    browser.find_element(By.CSS_SELECTOR, ".execute").click()
    code = WebDriverWait(browser, 10).until(
        lambda _: browser.find_elements(
            By.CSS_SELECTOR, ".live-responses-table .response-col_status"
        )
    )
    assert "401" in code[-1].text  # the example's user is not in this database


def test_staff_delete_what_they_chose(open_admin, superuser, attachment_of, bucket):
    kept = attachment_of(superuser, filename="kept.png")
    gone = attachment_of(superuser, filename="gone.png")
    page = open_admin(superuser, LIST)

    page.find_element(By.CSS_SELECTOR, f".action-select[value='{gone.pk}']").click()
    run_action(page, "delete_selected")
    assert "Objects in the store: 1" in page.find_element(By.ID, "content").text
    follow(page, By.CSS_SELECTOR, "#content [type=submit]")

    assert page.find_element(By.CSS_SELECTOR, ".messagelist").text == "Deleted 1 attachment."
    assert read_names(page) == ["kept.png"]
    keys = {item.key for item in bucket.objects.all()}
    assert kept.key in keys
    assert gone.key not in keys
    assert not ObjectDeletion.objects.exists()


def test_staff_delete_all_that_match_on_every_page(open_admin, superuser, upload, monkeypatch):
    monkeypatch.setattr(pages.AttachmentAdmin, "list_per_page", 2)
    for number in range(5):
        upload(superuser, content=None, filename=f"{number}.png")
    page = open_admin(superuser, LIST)

    page.find_element(By.ID, "action-toggle").click()
    page.find_element(By.CSS_SELECTOR, ".question a").click()
    run_action(page, "delete_selected")
    assert "Attachments: 5" in page.find_element(By.ID, "content").text
    follow(page, By.CSS_SELECTOR, "#content [type=submit]")

    assert page.find_element(By.CSS_SELECTOR, ".messagelist").text == "Deleted 5 attachments."
    assert not Attachment.objects.exists()


def test_staff_turn_pages(open_admin, superuser, upload, monkeypatch):
    monkeypatch.setattr(pages.AttachmentAdmin, "list_per_page", 2)
    for number in range(3):
        upload(superuser, content=None, filename=f"{number}.png")
    page = open_admin(superuser, LIST)

    seen = [read_names(page)]
    for link in ("Next", "Previous", "Next", "First page"):
        follow(page, By.PARTIAL_LINK_TEXT, link)
        seen.append(read_names(page))

    first, second = ["2.png", "1.png"], ["0.png"]
    assert seen == [first, second, first, second, first]


def test_staff_purge(open_admin, superuser, attachment_of):
    attachment_of(superuser)
    long_ago = timezone.now() - timedelta(days=8)
    Attachment.objects.update(created_at=long_ago, confirmed_at=long_ago)
    page = open_admin(superuser, LIST)

    follow(page, By.PARTIAL_LINK_TEXT, "PURGE ORPHANS NOW")
    assert "Orphans, on no message: 1" in page.find_element(By.ID, "content").text
    follow(page, By.CSS_SELECTOR, "#content [type=submit]")

    assert "A worker purges" in page.find_element(By.CSS_SELECTOR, ".messagelist").text
    paths = DBTaskResult.objects.values_list("task_path", flat=True)
    assert paths.filter(task_path__endswith="purge_orphans").count() == 1


def test_the_list_fits_a_screen(open_admin, superuser, attachment_of, message_of):
    message = message_of(superuser)
    attachment_of(superuser, content_type="application/pdf", message_id=message.pk)
    page = open_admin(superuser, LIST)

    results = page.find_element(By.CSS_SELECTOR, "#changelist .results")
    overflow = "return arguments[0].scrollWidth - arguments[0].clientWidth"

    assert page.execute_script(overflow, results) == 0


def test_long_keys_are_broken_into_lines(open_admin, superuser):
    note = ObjectDeletion.objects.create(key="attachments/" + "k" * 200, last_error="z" * 200)
    too_wide = (
        "const box = document.querySelector('.results') || document.documentElement;"
        "return box.scrollWidth > box.clientWidth"
    )

    for path in ("", f"{note.pk}/change/"):
        browser = open_admin(superuser, f"attachments/objectdeletion/{path}")
        assert not browser.execute_script(too_wide)


@pytest.mark.parametrize("path", [LIST, f"{LIST}purge/"])
def test_buttons_that_wrap_on_a_phone_begin_at_one_edge(open_admin, superuser, path):
    page = open_admin(superuser)
    size = page.get_window_size()
    page.set_window_size(500, 900)
    try:
        page = open_admin(superuser, path)
        narrow = "document.querySelector('.object-tools, form:has(.cancel-link) > div')"
        lefts = page.execute_script(
            f"const box = {narrow}; box.style.width = '1px';"
            "return [...box.children].map((item) => item.getBoundingClientRect().left)"
        )
    finally:
        page.set_window_size(size["width"], size["height"])

    assert len(lefts) == 2
    assert len(set(lefts)) == 1
