"""The client module in Chromium, against the API and the store as they run."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from rest_framework_simplejwt.tokens import AccessToken

from attachments import services
from attachments.models import Attachment
from attachments.rules.file_types import TYPES
from tests.clamd import EICAR
from tests.proxy import Answer, Exchange, Forward, StoreProxy

pytestmark = pytest.mark.django_db(transaction=True)

MODULE = "/static/attachments/client.js"
PAUSE_SHARE = 0.1  # of each pause: in these pages timers run ten times as fast
# What the scripts of the tests are written with.
PRELUDE = """
const { createClient, chooseContentType } = await import("/static/attachments/client.js");
const client = createClient();
const FILES = window.files;
const makeFile = ({ type = "image/png", name = "cat.png", content = FILES[type], size = 0 } = {}) => {
  const bytes = Uint8Array.from(atob(content), (char) => char.charCodeAt(0));
  return new File([bytes, new Uint8Array(Math.max(0, size - bytes.length))], name, { type });
};
const tell = ({ name, code, status, attr, attachment }) =>
  ({ name, code, status, attr, attachment: attachment?.status });
const judge = (promise) => promise.then((done) => done.status, tell);
const watch = (seen = {}) => Object.assign(seen, {
  states: [], progress: [], retries: [],
  onState: (state) => seen.states.push(state),
  onProgress: ({ loaded }) => seen.progress.push(loaded),
  onRetry: (error) => seen.retries.push(error.code),
});
"""


class Page:
    """A page of the site, in which a user is signed in by a session."""

    def __init__(self, browser: Any, files: dict[str, str]) -> None:
        self.browser = browser
        self._files = json.dumps(files)

    def open(self, url: str, path: str = MODULE) -> None:
        # A document of this origin without a policy that forbids the store.
        self.browser.get(url + path)
        self.browser.execute_script(f"""
            window.files = {self._files};
            const wait = window.setTimeout;
            window.setTimeout = (act, ms) => wait(act, ms * {PAUSE_SHARE});
        """)

    def start(self, script: str) -> None:
        """Begin the body of an async function; `wait` gives what it returns."""
        self.browser.execute_script(
            f"window.outcome = (async () => {{ {PRELUDE} {script} }})();"
            "window.outcome.catch(() => {});"
        )

    def wait(self) -> Any:
        return self.browser.execute_async_script(
            "window.outcome.then(arguments[0], (error) => arguments[0](`${error} ${error.stack}`))"
        )

    def run(self, script: str) -> Any:
        self.start(script)
        return self.wait()


@pytest.fixture
def store(s3: Any, settings: Any) -> Iterator[StoreProxy]:
    """The store as the browser reaches it."""
    with StoreProxy(s3.meta.client.meta.endpoint_url) as proxy:
        proxy.let_in_all_origins(django_settings.CORS_ALLOWED_ORIGINS[0])
        settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_ENDPOINT_URL": proxy.url}
        yield proxy


@pytest.fixture(scope="module")
def files(samples: dict[str, bytes]) -> dict[str, str]:
    """Small files in base64, by their content type."""
    chosen = ("image/png", "application/pdf", "image/gif")
    return {name: base64.b64encode(samples[name]).decode() for name in chosen}


@pytest.fixture
def page(
    browser: Any, live_server: Any, store: StoreProxy, client: Any, user: Any, files: Any
) -> Page:
    client.force_login(user)
    session = client.cookies[django_settings.SESSION_COOKIE_NAME]
    for name, value in {session.key: session.value, "csrftoken": "c" * 32}.items():
        cookie = {"name": name, "value": value, "url": live_server.url}
        browser.execute_cdp_cmd("Network.setCookie", cookie)
    page = Page(browser, files)
    page.open(live_server.url)
    return page


def cut_half_way(exchange: Exchange, forward: Forward) -> Answer:
    next(exchange.incoming)
    raise ConnectionAbortedError


def test_an_upload_tells_its_states_and_progress(page, store, user, samples):
    sent: list[Any] = []
    store.on("PostObject", lambda exchange: sent.append(exchange.headers))

    seen = page.run("""
        const seen = watch();
        seen.attachment = await client.upload(makeFile({ type: "image/gif", name: "Кот.gif" }),
          { ...seen, metadata: { room: 7 } });
        return seen;
    """)

    row = Attachment.objects.get()
    assert seen["attachment"]["id"] == str(row.pk)
    assert seen["attachment"]["metadata"] == {"room": 7}
    assert (row.filename, row.size_bytes) == ("Кот.gif", len(samples["image/gif"]))
    assert seen["states"] == ["queued", "sending", "verifying", "ready"]
    assert (seen["progress"][0], seen["progress"][-1]) == (0, len(samples["image/gif"]))
    assert seen["retries"] == []
    (headers,) = sent
    assert {"Cookie", "Authorization", "X-CSRFToken"}.isdisjoint(headers.keys())


def test_files_given_at_once_share_a_presign_and_four_travel_at_a_time(page, user, message_of):
    message = message_of(user)

    seen = page.run(f"""
        const send = XMLHttpRequest.prototype.send;
        let open = 0, most = 0;
        XMLHttpRequest.prototype.send = function (body) {{
          most = Math.max(most, ++open);
          this.addEventListener("loadend", () => open--);
          return send.call(this, body);
        }};
        const names = Array.from({{ length: 12 }}, (_, number) => `${{number}}.png`);
        const uploads = names.map((name) =>
          client.upload(makeFile({{ name }}), {{ messageId: {message.pk} }}));
        const done = await Promise.all(uploads);
        const asked = performance.getEntriesByType("resource").map(({{ name }}) => name);
        return [done.map(({{ filename, message_id }}) => [filename, message_id]), most,
          asked.filter((url) => url.includes("/presigned")).length];
    """)

    assert seen == [[[f"{number}.png", message.pk] for number in range(12)], 4, 1]


def test_a_large_file_is_aborted_and_sent_again(page, bucket):
    seen = page.run("""
        const film = makeFile({ type: "application/pdf", name: "a.pdf", size: 90 * 2 ** 20 });
        const controller = new AbortController();
        const onProgress = ({ loaded }) => loaded && controller.abort();
        const first = await judge(client.upload(film, { signal: controller.signal, onProgress }));
        const seen = watch();
        const again = await judge(client.upload(film, seen));
        return { first: first.name, again, progress: seen.progress };
    """)

    assert (seen["first"], seen["again"]) == ("AbortError", "ready")
    progress = seen["progress"]
    assert progress == sorted(progress)
    assert len(progress) > 2
    assert progress[-1] == 90 * 2**20
    assert Attachment.objects.get().is_ready  # the first one is gone


def test_waiting_uploads_are_aborted_and_forgotten(page, store):
    held = store.hold("PostObject")
    page.start("""
        const controllers = Array.from({ length: 3 }, () => new AbortController());
        const seen = watch();
        const slow = createClient({ concurrency: 1 });
        const uploads = controllers.map(({ signal }, number) =>
          judge(slow.upload(makeFile(), { ...seen, signal })));
        window.leave = () => controllers.slice(1).forEach((controller) => controller.abort("off"));
        const early = AbortSignal.abort("early");
        const never = await slow.upload(makeFile(), { signal: early }).catch((reason) => reason);
        return [await uploads[0], never,
          ...await Promise.all(uploads.slice(1).map((upload) => upload.catch((reason) => reason)))];
    """)
    held.reached.wait(30)
    page.browser.execute_script("window.leave()")
    held.release()

    ready, never, *left = page.wait()

    assert (ready, never) == ("ready", "early")
    assert len(left) == 2
    wait_until(lambda: Attachment.objects.count() == 1)


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("fault", "retries"),
    [
        # Twice, because Chromium itself repeats what failed on a connection that was open.
        (lambda store: store.add("PostObject", cut_half_way, times=2), ["network_error"]),
        (lambda store: store.drop_answer("PostObject", times=2), ["network_error"]),
        (lambda store: store.answer("PostObject", 503, times=2), ["storage_unavailable"]),
        (lambda store: store.answer("PostObject", 403), []),  # once more, with another form
        (lambda store: store.answer("PostObject", 204), []),  # a lie: the file is not there
    ],
    ids=["cut half-way", "answer lost", "store down and back", "refused once", "lost"],
)
def test_what_goes_wrong_once_is_done_again(page, store, fault, retries):
    fault(store)

    seen = page.run("""
        const seen = watch();
        return [await judge(client.upload(makeFile({ size: 300_000 }), seen)), seen.retries];
    """)

    assert (seen[0], sorted(set(seen[1]))) == ("ready", retries)
    assert Attachment.objects.get().is_ready


def test_the_api_comes_back_after_its_store_was_down(page, s3, settings):
    with StoreProxy(s3.meta.client.meta.endpoint_url) as proxy:
        proxy.drop("CopyObject", times=2)  # boto3 tries twice
        attachments = settings.STORAGES["attachments"]
        options = {**attachments["OPTIONS"], "endpoint_url": proxy.url}
        settings.STORAGES = {
            **settings.STORAGES,
            "attachments": {**attachments, "OPTIONS": options},
        }

        seen = page.run("""
            const seen = watch();
            return [await judge(client.upload(makeFile(), seen)), seen.retries];
        """)

    assert (seen[0], set(seen[1])) == ("ready", {"storage_unavailable"})


def test_a_form_that_expired_on_the_way_is_replaced(page, store, settings):
    def give_up_the_form(exchange: Exchange, forward: Forward) -> Answer:
        settings.ATTACHMENTS = {**settings.ATTACHMENTS, "UPLOAD_EXPIRES_SECONDS": 600}
        time.sleep(1.1)
        return forward()

    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "UPLOAD_EXPIRES_SECONDS": 1}
    store.add("PostObject", give_up_the_form)

    seen = page.run("""
        const seen = watch();
        return [await judge(client.upload(makeFile(), seen)), seen.retries];
    """)

    assert seen == ["ready", []]
    assert Attachment.objects.get().is_ready
    assert [call.operation for call in store.calls].count("PostObject") == 2


def test_each_refused_file_says_why_and_the_others_pass(page, settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "MAX_SIZE_MB": 1}

    seen = page.run("""
        const refuse = (file, options) => judge(client.upload(file, options));
        return Promise.all([
          refuse(makeFile()),
          refuse(makeFile({ name: "a.exe", type: "application/x-msdownload", content: btoa("MZ") })),
          refuse(makeFile({ size: 2 ** 20 + 1 })),
          refuse(makeFile({ content: btoa("no picture") })),
          refuse(makeFile({ content: "" })),
          refuse(makeFile(), { messageId: 12345 }),
          refuse(makeFile({ name: "b.png" })),
        ]);
    """)

    def refused(code: str, status: int, attr: str | None, attachment: str | None = None) -> Any:
        facts = {"code": code, "status": status, "attr": attr, "attachment": attachment}
        return {"name": "AttachmentError", **facts}

    assert seen == [
        "ready",
        refused("content_type_not_allowed", 400, "content_type"),
        refused("file_too_large", 400, "size_bytes"),
        refused("content_mismatch", 422, None, "rejected"),
        refused("invalid_size", 400, "size_bytes"),
        refused("not_found", 404, "message_id"),
        "ready",
    ]


def test_files_that_have_room_pass_where_all_together_do_not(page, settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "QUOTA_MB_PER_USER": 1}

    seen = page.run("""
        const sizes = [400_000, 400_000, 900_000];
        return Promise.all(sizes.map((size) => judge(client.upload(makeFile({ size })))));
    """)

    assert seen[:2] == ["ready", "ready"]
    assert seen[2]["code"] == "quota_exceeded"


def test_a_file_waits_for_the_scanner(page, real_clamd, samples):
    infected = base64.b64encode(samples["image/png"] + EICAR).decode()
    page.start(f"""
        const [seen, bad] = [watch(), watch()];
        const clean = await judge(client.upload(makeFile(), seen));
        return [clean, seen.states, await judge(client.upload(makeFile({{ content: "{infected}" }}), bad))];
    """)
    for _ in range(2):
        scanning = Attachment.objects.filter(status="scanning")
        wait_until(scanning.exists)
        services.process_waiting()

    clean, states, bad = page.wait()

    assert (clean, states[-2:]) == ("ready", ["scanning", "ready"])
    assert (bad["code"], bad["attachment"]) == ("infected", "infected")


def test_a_throttled_upload_waits_for_its_turn(page, settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PRESIGN_RATE": "1/second"}

    seen = page.run("""
        const seen = watch();
        const first = await judge(client.upload(makeFile()));
        return [first, await judge(client.upload(makeFile(), seen)), new Set(seen.retries).size,
          seen.retries[0]];
    """)

    assert seen[:2] == ["ready", "ready"]
    assert seen[2:] in ([0, None], [1, "throttled"])  # on a slow machine its turn has come


def test_two_tabs_upload_at_once(page, browser, live_server):
    first = browser.current_window_handle
    script = "return Promise.all([1, 2].map(() => judge(client.upload(makeFile()))))"
    page.start(script)
    browser.switch_to.new_window("tab")
    page.open(live_server.url)

    second_seen = page.run(script)

    browser.close()
    browser.switch_to.window(first)
    assert page.wait() == second_seen == ["ready", "ready"]
    assert Attachment.objects.count() == 4


def test_another_origin_with_tokens_and_without_secure_functions(
    page, live_server, user, browser, settings
):
    other = live_server.url.replace("localhost", "127.0.0.1")
    settings.CORS_ALLOWED_ORIGINS = [other]
    browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
    page.open(other)

    seen = page.run(f"""
        for (const name of ["subtle", "randomUUID"]) {{
          Object.defineProperty(crypto, name, {{ value: undefined }});
        }}
        const asked = [];
        const getHeaders = async ({{ isRefused }}) => {{
          asked.push(isRefused);
          return {{ Authorization: `Bearer ${{isRefused ? "{AccessToken.for_user(user)}" : "old"}}` }};
        }};
        const distant = createClient({{ baseUrl: "{live_server.url}/api/v1/", getHeaders }});
        const done = await distant.upload(makeFile());
        await distant.remove(done.id);
        await distant.remove(done.id);
        return [asked.slice(0, 2), await judge(distant.get(done.id))];
    """)

    assert seen[0] == [False, True]
    assert seen[1]["code"] == "not_found"


def test_without_the_csrf_token_a_session_may_not_upload(page):
    seen = page.run("""
        return judge(createClient({ csrfToken: "" }).upload(makeFile()));
    """)

    assert (seen["code"], seen["status"]) == ("permission_denied", 403)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (lambda store: store.drop("PostObject", times=None), "network_error"),
        (lambda store: store.answer("PostObject", 403, times=None), "store_refused"),
    ],
    ids=["down", "refused"],
)
def test_what_does_not_pass_is_given_up_and_deleted(page, store, fault, code):
    fault(store)

    seen = page.run("""
        return judge(createClient({ patienceSeconds: 3 }).upload(makeFile()));
    """)

    assert seen["code"] == code
    wait_until(lambda: not Attachment.objects.exists())


def test_a_file_that_left_the_disk_is_told_from_a_lost_connection(
    page, browser, store, tmp_path, samples
):
    path: Path = tmp_path / "a.png"
    path.write_bytes(samples["image/png"])
    browser.execute_script("""
        document.body.append(Object.assign(document.createElement("input"), { type: "file" }));
    """)
    browser.find_element("css selector", "input").send_keys(str(path))
    store.on("PostObject", lambda exchange: path.unlink())
    store.drop("PostObject", times=None)

    seen = page.run("""
        const [file] = document.querySelector("input").files;
        return [await judge(client.upload(file)), await judge(client.upload(file))];
    """)

    assert [error["code"] for error in seen] == ["file_unreadable", "file_unreadable"]


def test_types_are_those_of_the_servers_table(page):
    expected = {
        extension.removeprefix("."): name
        for best in (False, True)
        for name, known in reversed(TYPES.items())
        for extension in (known.extensions[:1] if best else known.extensions)
    }

    seen = page.run(f"""
        const names = {json.dumps(sorted(expected))};
        return names.map((name) => [name, chooseContentType(`a.b.${{name.toUpperCase()}}`)]);
    """)

    assert dict(seen) == expected


def test_types_that_browsers_say(page):
    cases = {
        ("a.jpg", "image/jpeg"): "image/jpeg",
        ("a.png", "image/jpeg"): "image/jpeg",  # made by a script: it knows
        ("a.jpg", "image/pjpeg"): "image/jpeg",
        ("a.ogv", "application/ogg"): "video/ogg",
        ("a.csv", "application/vnd.ms-excel"): "text/csv",
        ("a.webm", "video/webm;codecs=vp9"): "video/webm",
        ("a.gpx", "application/gpx+xml"): "application/gpx+xml",
        ("a", ""): "application/octet-stream",
        ("a", "text/x-log"): "text/x-log",
    }

    seen = page.run(f"""
        return {json.dumps(list(cases))}.map((args) => chooseContentType(...args));
    """)

    assert seen == list(cases.values())


def test_a_callback_that_aborts_or_throws_leaves_the_others_alone(page, store):
    sent: list[Any] = []
    store.on("PostObject", lambda exchange: sent.append(exchange.headers))

    seen = page.run("""
        const [first, second] = [new AbortController(), new AbortController()];
        const fail = () => { throw "mine"; };
        const thrown = await client.upload(makeFile(), { signal: first.signal, onState: fail })
          .catch((reason) => reason);
        const other = judge(client.upload(makeFile()));
        first.abort();
        const aborted = await client.upload(makeFile(), {
          signal: second.signal, onProgress: () => second.abort("off") }).catch((reason) => reason);
        return [thrown, aborted, await other];
    """)

    assert seen == ["mine", "off", "ready"]
    assert len(sent) == 1
