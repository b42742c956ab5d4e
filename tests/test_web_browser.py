"""The messenger as people use it: in a browser, on the real servers."""

import os
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import WebDriverWait

from attachments.models import Attachment
from nodus.messaging import services
from nodus.messaging.models import Conversation, Message
from nodus.messaging.services import post_message
from tests.chat import find_facts, hold_chat, make_files
from tests.proxy import StoreProxy

pytestmark = pytest.mark.django_db(transaction=True)

PHONE = (390, 844)


# What people do


def find(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def find_all(browser, selector):
    return browser.find_elements(By.CSS_SELECTOR, selector)


def wait_for(browser, condition, seconds=10):
    return WebDriverWait(browser, seconds, poll_frequency=0.05).until(lambda _: condition())


def wait_until(browser, script, *arguments):
    return wait_for(browser, lambda: browser.execute_script(f"return {script}", *arguments))


def follow(browser, element):
    """Click, and wait for the next page."""
    page = find(browser, "html")
    element.click()
    WebDriverWait(browser, 10).until(staleness_of(page))


def read_messages(browser):
    return [text.text for text in find_all(browser, "#messages .text")]


def wait_for_messages(browser, wanted):
    wait_for(browser, lambda: read_messages(browser) == wanted)


def write(browser, text):
    find(browser, "#text").send_keys(text)


def give(browser, event, *names_and_bytes):
    """Drop or paste files, as the browser tells the page of it."""
    files = [[name, kind, list(content)] for name, kind, content in names_and_bytes]
    browser.execute_script(
        """
        const [event, files] = arguments;
        const data = new DataTransfer();
        for (const [name, type, bytes] of files) {
          data.items.add(new File([new Uint8Array(bytes)], name, { type }));
        }
        const area = document.getElementById("text");
        const options = { bubbles: true, cancelable: true };
        if (event === "paste") {
          area.dispatchEvent(new ClipboardEvent("paste", { ...options, clipboardData: data }));
        } else {
          for (const name of ["dragenter", "dragover", "drop"].slice(0, event === "drop" ? 3 : 2)) {
            area.dispatchEvent(new DragEvent(name, { ...options, dataTransfer: data }));
          }
        }
        """,
        event,
        files,
    )


def read_states(browser):
    return [item.get_attribute("data-state") for item in find_all(browser, ".upload")]


def press(browser, *keys):
    browser.switch_to.active_element.send_keys(*keys)


# Looks


@pytest.fixture
def screen(browser, live_server):
    """Choose how wide the screen is, whether it is dark, and the language."""

    def choose(*, size=None, scheme="light", language="en"):
        if size:
            metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1}
            metrics["mobile"] = size == PHONE
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        cookie = {"name": "django_language", "value": language, "url": live_server.url}
        browser.execute_cdp_cmd("Network.setCookie", cookie)

    yield choose
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.fixture
def look(browser, find_barriers):
    """Nothing keeps people from this state of the page; SHOTS names a directory for a picture."""

    def examine(name):
        if directory := os.environ.get("SHOTS"):
            picture = Image.open(BytesIO(browser.get_screenshot_as_png())).convert("RGB")
            picture.quantize(160).save(Path(directory) / f"page-{name}.png", optimize=True)
        assert find_barriers() == [], name
        assert browser.execute_script(
            "return document.documentElement.scrollWidth <= innerWidth"
        ), f"{name} is too wide"

    return examine


LOOKS = {
    "light": {"size": (1280, 900)},
    "dark": {"size": (1280, 900), "scheme": "dark"},
    "phone": {"size": PHONE},
    "phone-dark": {"size": PHONE, "scheme": "dark"},
    "russian": {"size": (1280, 900), "language": "ru"},
    "wide": {"size": (2200, 1200)},
}


@pytest.fixture(scope="module")
def chat_files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("chat"))


@pytest.fixture
def chat(user, other_user, upload, bucket, chat_files):
    """A talk with pictures, a film, a sound and a document."""
    return hold_chat(user=user, friend=other_user, files=chat_files, upload=upload)


# Logging in


def log_in(browser, name, password):
    for field, value in (("username", name), ("password", password)):
        box = find(browser, f"[name={field}]")
        box.clear()
        box.send_keys(value)
    follow(browser, find(browser, ".primary"))


def test_people_log_in_and_out(browser, live_server, user, look):
    browser.get(live_server.url)
    assert browser.current_url == f"{live_server.url}/login?next=/"

    log_in(browser, "alice", "wrong")
    assert "correct username and password" in find(browser, "[role=alert]").text
    look("login-wrong")

    log_in(browser, "alice", "alice-demo")
    assert browser.current_url == f"{live_server.url}/"
    assert find(browser, "aside footer b").text == "alice"
    look("home-empty")

    follow(browser, find(browser, "form[action='/logout'] button"))
    assert browser.current_url == f"{live_server.url}/login"


def test_a_demo_user_is_one_click_away(browser, live_server, user, other_user, settings, look):
    settings.DEBUG = True
    browser.get(f"{live_server.url}/login")
    names = [button.text for button in find_all(browser, ".demo button")]
    assert names == ["alice", "bob"]
    look("login-demo")

    follow(browser, find(browser, ".demo [value=alice]"))
    follow(browser, find(browser, ".people [value=bob]"))

    assert find(browser, "main h1").text == "bob"


def test_people_choose_their_language(browser, live_server, user):
    browser.get(f"{live_server.url}/login")
    follow(browser, find(browser, ".languages [lang=ru]"))
    assert find(browser, "h1").text == "Добро пожаловать в Nodus"

    log_in(browser, "alice", "wrong")
    assert "правильные имя пользователя" in find(browser, "[role=alert]").text


# Writing


@pytest.fixture
def store(s3, live_server, settings):
    """The store as browsers reach it: it answers pages of this site alone, and may keep them waiting."""

    def name_origin(headers):
        del headers["Access-Control-Allow-Origin"]
        headers["Access-Control-Allow-Origin"] = live_server.url

    with StoreProxy(s3.meta.client.meta.endpoint_url) as proxy:
        for operation in ("PostObject", "OPTIONS"):
            proxy.rewrite(operation, response=name_origin, times=None)
        settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_ENDPOINT_URL": proxy.url}
        yield proxy


@pytest.fixture
def page(store, open_page, user, other_user, conversation_of, bucket):
    """An empty conversation of the user with another one."""
    page = open_page(user, f"/conversations/{conversation_of(user, other_user).pk}")
    yield page
    page.get("about:blank")  # before the store goes


def test_people_write_to_somebody(open_page, user, other_user, look):
    page = open_page(user, "/")
    find(page, "#id_username").send_keys("bobby")
    follow(page, find(page, ".start button"))
    assert find(page, "[role=alert]").text == "There is no user “bobby”."
    look("nobody")

    find(page, "#id_username").clear()
    find(page, "#id_username").send_keys("bob")
    follow(page, find(page, ".start button"))
    wait_for(page, lambda: find(page, "#hello").is_displayed())
    look("chat-empty")

    write(page, "Hello" + Keys.SHIFT + Keys.ENTER + Keys.NULL + "Bob" + Keys.ENTER)

    wait_for_messages(page, ["Hello\nBob"])
    assert find(page, "#text").get_attribute("value") == ""
    assert Message.objects.get().author == user
    wait_until(page, "document.querySelector('nav .preview').innerText === 'You: Hello Bob'")


def test_texts_and_names_are_no_markup(open_page, user, django_user_model, attachment_of):
    markup = "<img src=x onerror=hasRun=1>"
    stranger = django_user_model.objects.create(username=markup)
    chat = services.open_conversation(user=user, other=stranger)
    file = attachment_of(user, filename=f"{markup}.png")
    post_message(conversation_id=chat.pk, author=user, text=markup, attachment_ids=[file.pk])

    page = open_page(user, f"/conversations/{chat.pk}")

    wait_for_messages(page, [markup])
    assert find(page, "main h1").text == find(page, "nav .name").text == markup
    assert find(page, ".view").get_attribute("aria-label") == f"Open {markup}.png"
    assert page.execute_script("return window.hasRun") is None


def test_files_come_by_button_by_drop_and_by_paste(page, samples, tmp_path, look):
    path = tmp_path / "contract.pdf"
    path.write_bytes(samples["application/pdf"])

    find(page, "#files").send_keys(str(path))
    give(page, "drag", ("cat.png", "image/png", samples["image/png"]))
    assert find(page, ".drop").is_displayed()
    look("drop")
    give(page, "drop", ("cat.png", "image/png", samples["image/png"]))
    assert not find(page, ".drop").is_displayed()
    give(page, "paste", ("song.mp3", "audio/mpeg", samples["audio/mpeg"]))

    wait_for(page, lambda: read_states(page) == ["ready"] * 3)
    wait_for(page, lambda: find_all(page, ".upload canvas"))
    look("ready")
    write(page, "All of them" + Keys.ENTER)

    wait_for_messages(page, ["All of them"])
    assert not find_all(page, ".upload")
    assert find(page, ".files .card .name").text == "contract.pdf"
    assert [
        len(find_all(page, f".files > {kind}")) for kind in (".card", ".picture", ".audio")
    ] == [1, 1, 1]
    assert Message.objects.get().attachments.count() == 3


def test_pasted_text_with_a_picture_of_it_stays_text(page, samples):
    """As office programs put it into the clipboard."""
    page.execute_script(
        """
        const data = new DataTransfer();
        data.setData("text/plain", "1 2");
        data.setData("text/html", "<td>1");
        data.items.add(new File([], "image.png", { type: "image/png" }));
        const options = { bubbles: true, cancelable: true, clipboardData: data };
        document.getElementById("text").dispatchEvent(new ClipboardEvent("paste", options));
        """
    )

    assert not find_all(page, ".upload")


def test_a_message_waits_for_its_files(store, page, samples, look):
    held = store.hold("PostObject")
    give(page, "drop", ("cat.png", "image/png", samples["image/png"]))
    write(page, "Look" + Keys.ENTER)
    wait_for(page, lambda: find_all(page, ".is-waiting"))
    wait_for(page, lambda: read_states(page) == ["sending"])
    assert find(page, "#problem").text.startswith("Your message goes")
    look("waiting")

    held.release()

    wait_for_messages(page, ["Look"])
    assert find_all(page, ".picture")


def test_progress_is_shown_and_an_upload_can_be_cancelled(store, page, look):
    network = {
        "offline": False,
        "latency": 0,
        "downloadThroughput": -1,
        "uploadThroughput": 200_000,
    }
    page.execute_cdp_cmd("Network.enable", {})
    page.execute_cdp_cmd("Network.emulateNetworkConditions", network)
    try:
        page.execute_script(
            "const data = new DataTransfer();"
            "data.items.add(new File([new Uint8Array(1e6)], 'Long film.mp4', { type: 'video/mp4' }));"
            "const options = { bubbles: true, cancelable: true, dataTransfer: data };"
            "document.body.dispatchEvent(new DragEvent('drop', options))"
        )
        wait_until(page, "document.querySelector('.upload progress')?.value > 0.2")
        assert find(page, ".upload .state").text.startswith("Sending: ")
        look("sending")
        find(page, ".upload .cancel").click()

        assert not find_all(page, ".upload")
        assert find(page, "#said").get_attribute("textContent") == "Long film.mp4: Cancelled"
        assert page.switch_to.active_element == find(page, "#text")
        wait_for(page, lambda: not Attachment.objects.exists())
    finally:
        page.execute_cdp_cmd(
            "Network.emulateNetworkConditions", {**network, "uploadThroughput": -1}
        )


def test_a_refused_file_says_why_and_can_be_tried_again(page, samples, settings, look):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "ALLOWED_CONTENT_TYPES": ["image/png"]}
    give(page, "drop", ("song.mp3", "audio/mpeg", samples["audio/mpeg"]))
    give(page, "drop", ("Not a picture.png", "image/png", samples["audio/mpeg"]))
    wait_for(page, lambda: read_states(page) == ["refused", "refused"])
    states = [state.text for state in find_all(page, ".upload .state")]
    assert states[0] == "This content type is not allowed. Allowed: image/png."
    assert "image/png" in states[1]
    write(page, "Listen" + Keys.ENTER)
    assert find(page, "#problem").text.startswith("Not every file was taken.")
    look("refused")

    find_all(page, ".upload .cancel")[1].click()
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "ALLOWED_CONTENT_TYPES": ["audio/mpeg"]}
    find(page, ".upload .again").click()
    wait_for(page, lambda: read_states(page) == ["ready"])
    write(page, Keys.ENTER)

    wait_for_messages(page, ["Listen"])
    assert find_all(page, ".files audio")


def test_a_file_that_is_not_sent_after_all_is_deleted(page, samples):
    give(page, "drop", ("cat.png", "image/png", samples["image/png"]))
    wait_for(page, lambda: read_states(page) == ["ready"])

    find(page, ".upload .cancel").click()

    wait_for(page, lambda: not Attachment.objects.exists())


def test_a_message_that_is_not_taken_stays_with_its_reason(page, user, look):
    Conversation.objects.get().participants.remove(user)

    write(page, "Hello?" + Keys.ENTER)

    wait_for(page, lambda: "was not sent" in find(page, "#problem").text)
    assert find(page, "#text").get_attribute("value") == "Hello?"
    look("unsent")


# Reading


@pytest.fixture
def open_chat(open_page, chat, user):
    def open_it():
        page = open_page(user, f"/conversations/{chat.pk}")
        wait_for(page, lambda: len(find_all(page, "#messages .message")) == 7)
        return page

    return open_it


def test_pictures_open_by_keyboard(open_chat, look):
    page = open_chat()
    views = find_all(page, ".view")

    def shown():
        return find(page, "#lightbox .name").text

    views[1].send_keys(Keys.ENTER)
    wait_until(page, "document.querySelector('#lightbox img').naturalWidth === 1200")
    assert (shown(), find(page, "#lightbox .count").text) == ("First evening.jpg", "2 of 3")
    look("lightbox")
    press(page, Keys.ARROW_RIGHT)
    assert shown() == "Morning above the lake.jpg"
    press(page, Keys.ARROW_LEFT)
    press(page, Keys.ARROW_LEFT)
    assert shown() == "The last hut.jpg"

    for _ in range(6):
        press(page, Keys.TAB)
        inside = "document.activeElement === document.body || document.activeElement.closest('#lightbox')"
        assert page.execute_script(f"return Boolean({inside})")
    find(page, "#lightbox").send_keys(Keys.ESCAPE)

    assert not find(page, "#lightbox").is_displayed()
    assert page.switch_to.active_element == views[1]


def test_a_picture_that_was_deleted_meanwhile_says_so(open_chat, look):
    page = open_chat()
    views = find_all(page, ".view")
    Attachment.objects.get(filename="First evening.jpg").delete()
    # Past the browser's cache, which has it: these messages show no thumbnails.
    page.execute_script("arguments[0].dataset.source += '?anew'", views[1])

    views[1].send_keys(Keys.ENTER)

    wait_for(page, lambda: "may have been deleted" in find(page, "#lightbox").text)
    look("missing-picture")
    press(page, Keys.ARROW_LEFT)
    wait_until(page, "document.querySelector('#lightbox img').naturalWidth > 0")
    assert "deleted" not in find(page, "#lightbox").text


def test_recordings_play_in_their_place(open_chat):
    page = open_chat()

    for selector in (".files video", ".files audio"):
        player = find(page, selector)
        wait_until(page, "arguments[0].readyState > 0", player)
        player.send_keys(Keys.SPACE)
        wait_until(page, "arguments[0].currentTime > 0.1", player)
        page.execute_script("arguments[0].pause()", player)


def test_people_delete_what_is_theirs(open_chat, look):
    page = open_chat()
    assert len(find_all(page, ".trash")) == 2  # of six files, these are theirs
    trash = find(page, "[aria-label='Delete The last hut.jpg']")

    page.execute_script("arguments[0].click()", trash)
    look("deletion")
    find(page, "#deletion [value='']").click()
    assert Attachment.objects.count() == 6
    page.execute_script("arguments[0].click()", trash)
    find(page, "#deletion [value=delete]").click()

    wait_for(page, lambda: not find_all(page, "[aria-label='Open The last hut.jpg']"))
    assert Attachment.objects.count() == 5
    assert "And this one is for you ☀" in read_messages(page)


def test_nothing_moves_when_pictures_load(open_chat):
    page = open_chat()
    page.execute_script(
        "window.moved = 0;"
        "new PerformanceObserver((list) => {"
        "  for (const { value } of list.getEntries()) window.moved += value;"
        "}).observe({ type: 'layout-shift', buffered: true })"
    )
    page.execute_script("document.getElementById('log').scrollTop = 0")
    wait_until(
        page, "[...document.querySelectorAll('.view img')].every((image) => image.naturalWidth)"
    )

    assert (
        page.execute_async_script("requestAnimationFrame(() => arguments[0](window.moved))") < 0.01
    )


def test_a_private_link_that_ended_is_asked_for_again(open_chat, settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_READ": False}
    page = open_chat()
    picture = find(page, ".view img")

    page.execute_script("arguments[0].src = arguments[0].src.replace(/.$/, 'x')", picture)

    wait_until(page, "arguments[0].src.startsWith('http') && arguments[0].naturalWidth", picture)
    assert not find_all(page, ".picture .card")


def test_older_messages_come_by_scrolling(open_page, user, conversation_of):
    chat = conversation_of(user)
    for number in range(70):
        post_message(conversation_id=chat.pk, author=user, text=f"{number}")
    page = open_page(user, f"/conversations/{chat.pk}")
    wait_for_messages(page, [f"{number}" for number in range(40, 70)])

    page.execute_script("document.getElementById('log').scrollTop = 0")
    wait_until(page, "document.querySelectorAll('.message').length === 60")
    assert page.execute_script("return document.getElementById('log').scrollTop") > 100
    page.execute_script("document.getElementById('log').scrollTop = 0")

    wait_for_messages(page, [f"{number}" for number in range(70)])
    assert not find(page, "#older").is_displayed()


def test_new_messages_come_while_somebody_looks(page, other_user, samples):
    chat = Conversation.objects.get()
    count = "performance.getEntries().filter(({ name }) => name.endsWith('/newest')).length"
    wait_for(page, lambda: find(page, "#hello").is_displayed())

    post_message(conversation_id=chat.pk, author=other_user, text="First")
    wait_for_messages(page, ["First"])

    page.execute_script(
        "Object.defineProperty(document, 'hidden', { value: true, writable: true })"
    )
    post_message(conversation_id=chat.pk, author=other_user, text="Second")
    wait_until(page, "new Promise((resolve) => setTimeout(() => resolve(true), 3200))")
    before = page.execute_script(f"return {count}")
    page.execute_script(
        "document.hidden = false; document.dispatchEvent(new Event('visibilitychange'))"
    )
    wait_for_messages(page, ["First", "Second"])
    assert page.execute_script(f"return {count}") == before + 1


def test_a_message_that_was_begun_earlier_and_came_later_is_shown(page, other_user):
    chat = Conversation.objects.get()
    wait_for(page, lambda: find(page, "#hello").is_displayed())
    newest = post_message(conversation_id=chat.pk, author=other_user, text="Quick")
    wait_for_messages(page, ["Quick"])

    slow = post_message(conversation_id=chat.pk, author=other_user, text="Slow")
    begun_at = newest.created_at - timedelta(seconds=1)
    Message.objects.filter(pk=slow.pk).update(created_at=begun_at)

    wait_for(page, lambda: set(read_messages(page)) == {"Quick", "Slow"})


def test_a_conversation_with_news_is_marked_whatever_its_number(
    open_page, user, other_user, conversation_of
):
    chat = conversation_of(user, other_user)
    Message.objects.create(pk=1000, conversation=chat, author=other_user, text="news")
    page = open_page(user, "/")
    seen = f"localStorage.setItem('seen-{user.pk}', JSON.stringify({{ {chat.pk}: '%s' }}))"

    page.execute_script(seen % 999)
    page.refresh()
    assert find_all(page, ".unread")

    page.execute_script(seen % 1000)
    page.refresh()
    assert not find_all(page, ".unread")
    page.execute_script("localStorage.clear()")


def test_the_messages_come_when_the_server_is_back(open_page, user, other_user, conversation_of):
    chat = conversation_of(user, other_user)
    post_message(conversation_id=chat.pk, author=other_user, text="Hello")
    page = open_page(user, "/")
    block = {"urls": ["*/messages?*"]}
    page.execute_cdp_cmd("Network.enable", {})
    page.execute_cdp_cmd("Network.setBlockedURLs", block)
    page.get(page.current_url + f"conversations/{chat.pk}")
    wait_for(page, lambda: find(page, "#notice").is_displayed())

    page.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})

    wait_for_messages(page, ["Hello"])
    assert not find(page, "#notice").is_displayed()
    assert not find(page, "#log").get_attribute("aria-busy")


def test_whoever_reads_older_messages_is_told_of_new_ones(open_chat, chat, other_user, look):
    page = open_chat()
    page.execute_script("document.getElementById('log').scrollTop = 0")

    post_message(conversation_id=chat.pk, author=other_user, text="Are you there?")
    page.execute_script("document.dispatchEvent(new Event('visibilitychange'))")
    wait_for(page, lambda: find(page, "#newest").is_displayed())
    look("newer")
    find(page, "#newest").click()

    wait_until(
        page,
        "document.querySelector('.message:last-child').getBoundingClientRect().bottom < innerHeight",
    )


def test_the_first_load_is_light(open_chat, live_server):
    page = open_chat()

    loaded = page.execute_script(
        """
        const pictures = ["img", "video", "audio", "css"];
        return performance.getEntries()
          .filter(({ initiatorType }) => initiatorType && !pictures.includes(initiatorType))
          .map((entry) => [entry.name, entry.initiatorType, entry.decodedBodySize]);
        """
    )
    addresses = [name.removeprefix(live_server.url) for name, _, _ in loaded]
    assert "/static/web/page.css" in addresses
    assert "/static/web/words.js" in addresses
    assert "/static/attachments/client.js" not in addresses  # the first file brings it
    assert sum(size for _, _, size in loaded) < 60 * 1024, loaded


# What it looks like


def test_nothing_keeps_people_from_the_page(open_chat, screen, look, live_server, chat):
    find_facts(chat)
    for name, how in LOOKS.items():
        screen(**how)
        page = open_chat()
        wait_until(page, "[...document.images].every((image) => image.complete)")
        look(f"chat-{name}")
        page.get(live_server.url)
        look(f"home-{name}")
