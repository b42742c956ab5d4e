"""Real servers for the whole run, and the fixtures that tests share."""

import copy
import functools
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import django
import pytest
import requests
from django.conf import settings
from django.db import connection
from django.utils import translation

from nodus.dev.embedded import make_up_key, start_missing_services
from nodus.dev.samples import make_samples
from tests import clamd, stores
from tests.real_files import make_real_files

# Tests make much and keep most of it: collecting it each 700 objects is a tenth of their time.
gc.set_threshold(100_000, 20, 100)


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers before pytest-django reads the settings, which name them.

    The workers of pytest-xdist find them in their environment; each has a database and a bucket of
    its own there.
    """
    os.environ.setdefault("S3_BUCKET", "test-attachments")
    if worker := getattr(config, "workerinput", {}).get("workerid"):
        os.environ["S3_BUCKET"] = stores.name_bucket(worker.zfill(8))
    else:
        _start_servers(config)
    if worker or not config.getoption("numprocesses", None):
        _set_up_django()


def _start_servers(config: pytest.Config) -> None:
    directory = config.stash[_directory] = tempfile.TemporaryDirectory(
        prefix="nodus-", ignore_cleanup_errors=True
    )
    root = Path(directory.name)
    root.chmod(0o755)  # PostgreSQL runs as another user when the tests run as root
    root_key = make_up_key("root")
    bucket = os.environ["S3_BUCKET"]
    variables, config.stash[_services] = start_missing_services(
        data_dir=root,
        buckets=[bucket + stores.SUFFIX_PATTERN * depth for depth in range(3)],
        root=root_key,
        is_durable=False,
    )
    if "S3_ENDPOINT_URL" in variables:
        variables |= stores.name_root_key(root_key)
    os.environ.update(variables)


def _set_up_django() -> None:
    """Set up Django, and let what each test does be fast."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nodus.settings")
    django.setup()
    from django.test import TransactionTestCase

    from tests.databases import empty_tables

    TransactionTestCase._fixture_teardown = empty_tables
    # Tests ask for more forms than people do; those of rates turn them on.
    settings.ATTACHMENTS |= {"PRESIGN_RATE": None, "TOKEN_RATE": None}
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # Each boto3 session reads botocore's description of S3 anew, in 0.1 s: let them share it.
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)


# The modules that take longest, the longest first. If they began last, the others would be done.
_LONGEST = ["test_run", "test_promise", "test_faults"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of what the database cannot do, as on SQLite: `make test-sqlite`."""
    items.sort(key=lambda item: [*_LONGEST, item.path.stem].index(item.path.stem))
    if settings.DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
        return
    deselected = [item for item in items if item.get_closest_marker("postgres")]
    items[:] = [item for item in items if not item.get_closest_marker("postgres")]
    config.hook.pytest_deselected(items=deselected)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _services in config.stash:
        config.stash[_services].close()
        config.stash[_directory].cleanup()


_directory = pytest.StashKey[tempfile.TemporaryDirectory]()
_services = pytest.StashKey[Any]()


@pytest.fixture(autouse=True)
def _leave_no_broken_connection(django_db_blocker: Any) -> Iterator[None]:
    """A test that loses its connection may fail, and not all that follow."""
    yield
    with django_db_blocker.unblock():
        connection.close_if_unusable_or_obsolete()


@pytest.fixture(autouse=True)
def _forget_language() -> Iterator[None]:
    """Deactivate the language, because Django's test client leaves that of its last request."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def _leave_nothing_for_soon(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """What one test confirmed goes before the next one looks, and at no moment in between."""
    from attachments.services import nudges, pending, soon
    from nodus import health

    monkeypatch.setattr(soon, "DELAY_SECONDS", 3600)
    marker = request.node.get_closest_marker("django_db")
    if marker and not marker.kwargs.get("transaction"):  # it never commits
        monkeypatch.setattr(pending, "on_commit", lambda do, **kwargs: do())
    yield
    for probe in health.PROBES:
        probe.forget()
    pending.remove_now()
    nudges.served.take()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """End the sessions that killed processes left: they would keep the test database in use."""
    yield
    from django.db import connection

    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of a real file, by content type."""
    paths = make_samples(tmp_path_factory.mktemp("samples"))
    return {content_type: path.read_bytes() for content_type, path in paths.items()}


@pytest.fixture(scope="session")
def real_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of real files of each known type, by name: see tests/real_files.py."""
    return make_real_files(tmp_path_factory.mktemp("real"))


@pytest.fixture(autouse=True)
def _drop_notes_of_flush(request: pytest.FixtureRequest) -> None:
    """Drop the notes that triggers made when DELETE emptied the tables between tests on SQLite."""
    marker = request.node.get_closest_marker("django_db")
    if marker and marker.kwargs.get("transaction") and connection.vendor == "sqlite":
        from attachments.models import ObjectDeletion

        request.getfixturevalue("transactional_db")
        ObjectDeletion.objects.all().delete()


@pytest.fixture
def user(django_user_model):
    return django_user_model.objects.create_user("alice", password="alice-demo")


@pytest.fixture
def other_user(django_user_model):
    return django_user_model.objects.create_user("bob", password="bob-demo")


@pytest.fixture
def staff_user(django_user_model):
    return django_user_model.objects.create_user("carol", password="carol-demo", is_staff=True)


@pytest.fixture(scope="session")
def s3() -> Any:
    return stores.open_resource(settings.STORAGES["attachments"]["OPTIONS"]["endpoint_url"])


@pytest.fixture
def bucket(s3: Any) -> Any:
    """The bucket itself, without our code: tests put objects into it and read them out of it."""
    from attachments import storage

    storage.ensure_bucket()
    return s3.Bucket(settings.STORAGES["attachments"]["OPTIONS"]["bucket_name"])


@pytest.fixture
def empty_bucket(bucket: Any) -> Any:
    bucket.objects.all().delete()
    for upload in bucket.multipart_uploads.all():
        upload.abort()
    return bucket


@pytest.fixture
def offsite_bucket(settings: Any, s3: Any) -> Any:
    """Another empty bucket, which STORAGES names ``offsite``."""
    offsite = copy.deepcopy(settings.STORAGES["attachments"])
    offsite["OPTIONS"]["bucket_name"] = stores.name_bucket("offsite0")
    settings.STORAGES = {**settings.STORAGES, "offsite": offsite}
    bucket = s3.Bucket(offsite["OPTIONS"]["bucket_name"])
    if bucket.creation_date is None:
        bucket.create()
    bucket.objects.all().delete()
    return bucket


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Pretend that a person at a terminal gives these answers; give the list of the questions."""

    def sit(*given: str) -> list[str]:
        asked: list[str] = []
        waiting = list(given)

        def answer(prompt: str) -> str:
            asked.append(prompt)
            return waiting.pop(0)

        monkeypatch.setattr("builtins.input", answer)
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        return asked

    return sit


@pytest.fixture
def store_calls() -> Iterator[Callable[[], list[str]]]:
    """A function that gives the S3 operations since its last call."""
    from attachments.storage.client import get_admin, get_client, get_copier

    calls: list[str] = []
    clients = {get_client(), get_copier(), get_admin()}  # one key for all: one client

    def note(model: Any, **kwargs: Any) -> None:
        calls.append(model.name)

    for client in clients:
        client.meta.events.register("before-call.s3", note)
    yield lambda: [calls.pop(0) for _ in list(calls)]
    for client in clients:
        client.meta.events.unregister("before-call.s3", note)


@pytest.fixture
def told() -> Iterator[Callable[..., list[Any]]]:
    """A function that gives the facts of each event of this name that was told, in their order."""
    from attachments.events import EVENTS

    heard: list[tuple[str, dict[str, Any]]] = []

    def hear(signal: Any, sender: Any, **facts: Any) -> None:
        heard.append((signal.name, facts))

    for event in EVENTS.values():
        event.connect(hear)
    yield lambda name: [facts for heard_name, facts in heard if heard_name == name]
    for event in EVENTS.values():
        event.disconnect(hear)


@pytest.fixture
def post_file() -> Callable[..., requests.Response]:
    """POST a file to a signed form, as a client does."""

    def post(form: Any, content: bytes, **overrides: str) -> requests.Response:
        url, fields = (
            (form["url"], form["fields"]) if isinstance(form, dict) else (form.url, form.fields)
        )
        return requests.post(
            url, data={**fields, **overrides}, files={"file": ("file", content)}, timeout=30
        )

    return post


@pytest.fixture
def api():
    """Make clients of the API, signed in by a bearer token. They check that errors are described."""
    from rest_framework_simplejwt.tokens import AccessToken

    from tests.described import CheckedClient

    def make(user: Any = None) -> CheckedClient:
        client = CheckedClient()
        if user is not None:
            client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(user)}")
        return client

    return make


@pytest.fixture
def upload(post_file, samples):
    """Presign and put a file there; give the ticket. ``content=None`` puts nothing."""
    from attachments import services

    def put(user: Any, content_type: str = "image/png", content: Any = ..., **request: Any):
        request.setdefault("filename", "file")
        ticket = services.presign_upload(user=user, content_type=content_type, **request)
        if content is ...:
            content = samples[content_type]
        if content is not None:
            assert post_file(ticket, content).status_code == 204
        return ticket

    return put


@pytest.fixture
def attachment_of(upload):
    """Make a ready attachment; what its client put is gone, and no worker has to look into it."""
    from attachments import services

    def make(user: Any, **request: Any):
        ticket = upload(user, **request)
        attachment = services.confirm_upload(attachment_id=ticket.attachment_id, user=user)
        services.remove_now()
        attachment.change(where={}, is_inspected=True)
        return attachment

    return make


@pytest.fixture
def conversation_of():
    """Make a conversation of these users."""
    from nodus.messaging.models import Conversation

    def make(*users: Any):
        conversation = Conversation.objects.create()
        conversation.participants.set(users)
        return conversation

    return make


@pytest.fixture
def message_of(conversation_of):
    """Make a message by the first of these users, in a conversation of them all."""
    from nodus.messaging.models import Message

    def make(*users: Any):
        return Message.objects.create(conversation=conversation_of(*users), author=users[0])

    return make


@pytest.fixture(scope="session")
def clamd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[clamd.RealClamd]:
    """A real ClamAV that knows one signature, EICAR. Nobody asks it yet."""
    if not clamd.is_clamd_installed():
        pytest.skip("clamd is not installed (Debian: clamav-daemon)")
    config = f"AlertExceedsMax yes\nStreamMaxLength {clamd.STREAM_MAX_BYTES}"
    real = clamd.RealClamd(directory=tmp_path_factory.mktemp("clamd"), config=config)
    real.start()
    yield real
    real.stop()


@pytest.fixture
def use_scanner(settings: Any) -> Callable[..., None]:
    """Scan with the clamd at this address, or by other settings; without any, not at all."""

    def use(url: str = "", **others: Any) -> None:
        settings.ATTACHMENTS = {**settings.ATTACHMENTS, "CLAMAV_URL": url, **others}

    return use


@pytest.fixture
def real_clamd(clamd_server: clamd.RealClamd, use_scanner: Callable[..., None]) -> clamd.RealClamd:
    """It scans from now on."""
    use_scanner(clamd_server.url)
    return clamd_server


@pytest.fixture(scope="module")
def kill(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., None]]:
    """Run a script that has to kill itself, in a process of its own: ``kill(code, *arguments)``."""
    from tests.forks import start_forker

    log = tmp_path_factory.mktemp("killed") / "stderr"
    with start_forker(log) as run:

        def run_until_killed(code: str, *arguments: object) -> None:
            assert run(code, *arguments) == -signal.SIGKILL, log.read_text()

        yield run_until_killed


@pytest.fixture
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What the state machine of tests/machine drives; ``begin`` empties it."""
    from tests.machine.opening import open_world

    with open_world(request, monkeypatch) as world:
        yield world


@pytest.fixture(scope="session")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver

    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and chromedriver):
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new",
        "--no-sandbox",  # Chromium refuses one as root
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--lang=en",
        "--window-size=1280,1000",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # With the driver's path given, selenium does not look for one in the network.
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    yield driver
    driver.quit()


@pytest.fixture
def browser(_chromium: Any) -> Iterator[Any]:
    """A headless Chromium in which nobody is signed in. No page breaks the security policy."""
    _chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
    _chromium.get_log("browser")  # that of the test before
    yield _chromium
    assert _read_refusals(_chromium) == []


def _read_refusals(driver: Any) -> list[str]:
    """What the policy forbade since the log was last read."""
    lines = [entry["message"] for entry in driver.get_log("browser")]
    return [line for line in lines if "Content Security Policy" in line]


@pytest.fixture
def find_barriers(browser: Any) -> Callable[[], list[str]]:
    """A function that gives what axe-core, or the policy, finds wrong with the page as it is now."""
    from selenium_axe_python import Axe

    def find() -> list[str]:
        refusals = _read_refusals(browser)
        axe = Axe(browser)
        if not browser.execute_script("return Boolean(window.axe)"):
            axe.inject()
        found = axe.run()["violations"]
        browser.get_log("browser")  # axe-core's own styles are forbidden, too
        return refusals + [
            f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
            for rule in found
            for node in rule["nodes"]
        ]

    return find


@pytest.fixture
def emulate(browser: Any) -> Iterator[Callable[[str, int], None]]:
    """Set the colour scheme, and the width of the window in pixels."""

    def set_up(scheme: str, width: int) -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    yield set_up
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def open_page(browser: Any, live_server: Any, client: Any) -> Callable[..., Any]:
    """Open a page in the browser, as this user; ``path`` begins with a slash."""

    def open_as(user: Any, path: str) -> Any:
        client.force_login(user)
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        cookie = {"name": settings.SESSION_COOKIE_NAME, "value": session, "url": live_server.url}
        browser.execute_cdp_cmd("Network.setCookie", cookie)
        browser.get(f"{live_server.url}{path}")
        return browser

    return open_as


@pytest.fixture
def open_admin(open_page: Callable[..., Any]) -> Callable[..., Any]:
    """Open a page of the admin in the browser, as this user; ``path`` is what follows /admin/."""
    return lambda user, path="": open_page(user, f"/admin/{path}")


@pytest.fixture
def host_model(transactional_db: None) -> Iterator[Callable[..., Any]]:
    """Make a model of a host, and its table: ``host_model("Cover", file=ForeignKey(...))``."""
    from django.apps import apps
    from django.db import models

    made: list[Any] = []

    def make(name: str, **fields: Any) -> Any:
        meta = type("Meta", (), {"app_label": "messaging"})
        model = type(name, (models.Model,), {"__module__": "tests", "Meta": meta, **fields})
        with connection.schema_editor() as editor:
            editor.create_model(model)
        made.append(model)
        return model

    yield make
    for model in reversed(made):
        with connection.schema_editor() as editor:
            editor.delete_model(model)
        del apps.all_models["messaging"][model._meta.model_name]
        apps.clear_cache()
