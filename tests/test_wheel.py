"""The wheel in a stranger's project, beside other users and other messages.

tests/stranger is that project. It runs in an environment of its own, which has the wheel and what
the wheel declares. The tests use it as strangers do: in a terminal and over HTTP.
"""

import base64
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from zipfile import ZipFile

import pytest
import requests
from django.conf import settings
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import (
    presence_of_element_located,
    text_to_be_present_in_element,
    url_matches,
)
from selenium.webdriver.support.ui import WebDriverWait

from nodus.dev.embedded import find_free_ports
from tests.pasting import paste_blocks, read_exports, read_packages
from tests.proxy import StoreProxy
from tests.stores import get_root_key, name_bucket

ROOT = Path(__file__).resolve().parent.parent
UV = str(Path(sys.executable).parent / "uv")
START_TIMEOUT_SECONDS = 60

MAKE_PEOPLE = """
from chat.models import Guest, Post
guests = {name: Guest(name=name) for name in ("author", "reader", "outsider")}
for name, guest in guests.items():
    guest.set_password(name)
    guest.save()
post = Post.objects.create(author=guests["author"])
post.readers.add(guests["reader"])
print(guests["author"].pk, post.pk)
"""

# For each line at the end of the settings, what the check then says.
WRONG_SETTINGS = {
    "del ATTACHMENTS": (
        "(attachments.E003) ATTACHMENTS['MESSAGE_MODEL'] is not set.\n"
        "\tHINT: Name the model that attachments hang on"
    ),
    "ATTACHMENTS['MESSAGE_MODEL'] = 'nosuch.Model'": (
        "(attachments.E003) ATTACHMENTS['MESSAGE_MODEL'] names 'nosuch.Model', "
        "which is not installed."
    ),
    "ATTACHMENTS['MESSAGE_MODEL'] = 'garbage'": (
        "(attachments.E003) ATTACHMENTS['MESSAGE_MODEL'] is 'garbage', not 'app_label.Model'."
    ),
    "ATTACHMENTS['MESSAGE_MODEL'] = 'chat.models.Post'": (
        "(attachments.E003) ATTACHMENTS['MESSAGE_MODEL'] is 'chat.models.Post', "
        "not 'app_label.Model'."
    ),
    "ATTACHMENTS['MAX_SIZE_MBB'] = 5": (
        "(attachments.E001) ATTACHMENTS has an unknown key 'MAX_SIZE_MBB'.\n"
        "\tHINT: Did you mean MAX_SIZE_MB?"
    ),
    "ATTACHMENTS['ACCESS_POLICY'] = 'chat.policy.Nosuch'": (
        "(attachments.E004) ATTACHMENTS['ACCESS_POLICY'] names 'chat.policy.Nosuch', "
        "which cannot be imported"
    ),
    "del STORAGES['attachments']": (
        "(attachments.E005) Could not find config for 'attachments' in settings.STORAGES."
    ),
}


@dataclass(frozen=True, kw_only=True)
class Project:
    """The stranger's project: its directory, its interpreter, its environment variables."""

    directory: Path
    python: Path
    environment: dict[str, str]

    def run(self, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return run(
            str(self.python), *args, cwd=self.directory, env={**self.environment, **variables}
        )

    def manage(self, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run("manage.py", *args, "--no-color", **variables)


@dataclass(frozen=True, kw_only=True)
class Site:
    """The project while it serves, with its users and its post."""

    url: str
    author_id: str
    post_id: str

    def call(self, name: str, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(
            method,
            f"{self.url}/files/attachments{path}",
            auth=(name, name),
            timeout=30,
            allow_redirects=False,
            **options,
        )


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command; give what it printed, on both of its streams."""
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.run(command, check=False, timeout=300, **output, **options)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    options = ["--wheel", "--no-build-isolation", "--python", sys.executable]
    built = run(UV, "build", *options, "--out-dir", str(directory), str(ROOT), cwd=directory)
    assert built.returncode == 0, built.stdout
    (path,) = directory.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the wheel and what the wheel declares, and nothing else."""
    directory = tmp_path_factory.mktemp("stranger")
    made = run(UV, "venv", "--python", sys.executable, "venv", cwd=directory)
    assert made.returncode == 0, made.stdout
    path = directory / "venv" / Path(sys.executable).relative_to(sys.prefix)
    install(path, str(wheel))
    return path


def install(python: Path, *what: str) -> None:
    """Install in the pinned versions; most likely uv's cache has them, from those of the tests."""
    command = [UV, "pip", "install", "--python", str(python), *what]
    command += ["--constraint", str(ROOT / "requirements.txt")]
    installed = run(*command, "--offline")
    if installed.returncode != 0:
        installed = run(*command)
    assert installed.returncode == 0, installed.stdout


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProxy]:
    """The store, for browsers of any origin, too."""
    with StoreProxy(os.environ["S3_ENDPOINT_URL"]) as proxy:
        proxy.let_in_all_origins(settings.CORS_ALLOWED_ORIGINS[0])
        yield proxy


@pytest.fixture(scope="module")
def project(python: Path, store: StoreProxy, tmp_path_factory: pytest.TempPathFactory) -> Project:
    directory = tmp_path_factory.mktemp("projects") / "guestbook"
    shutil.copytree(
        ROOT / "tests" / "stranger", directory, ignore=shutil.ignore_patterns("__pycache__")
    )
    ours = ("PYTHON", "DJANGO_", "ATTACHMENTS_", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment["S3_ACCESS_KEY"] = settings.S3_ACCESS_KEY
    environment["S3_SECRET_KEY"] = settings.S3_SECRET_KEY
    environment["S3_BUCKET"] = name_bucket()
    environment["S3_ENDPOINT_URL"] = store.url
    return Project(directory=directory, python=python, environment=environment)


@pytest.fixture(scope="module")
def migrated(project: Project) -> Project:
    migrate = project.manage("migrate")
    assert migrate.returncode == 0, migrate.stdout
    return project


@pytest.fixture(scope="module")
def site(migrated: Project) -> Iterator[Site]:
    """The project behind `manage.py runserver`."""
    people = migrated.manage("shell", "--command", MAKE_PEOPLE)
    assert people.returncode == 0, people.stdout
    author_id, post_id = people.stdout.split()[-2:]
    (port,) = find_free_ports(1)
    command = [str(migrated.python), "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{port}"
    with serve(command, url, cwd=migrated.directory, env=migrated.environment):
        yield Site(url=url, author_id=author_id, post_id=post_id)


@contextmanager
def serve(command: list[str], url: str, *, cwd: Path, env: dict[str, str]) -> Iterator[None]:
    """Run the command from when it answers at the URL to the end of the context."""
    log = cwd / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=cwd, env=env, stdout=output, stderr=output)
    try:
        wait_for(url, server, log)
        yield
    finally:
        server.terminate()
        server.wait(10)


def wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            requests.get(url, timeout=5)
        except requests.ConnectionError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"The server did not start:\n{log.read_text()}")


@pytest.fixture
def post_picture(
    site: Site, post_file: Callable[..., requests.Response], samples: dict[str, bytes]
) -> Callable[[], dict[str, Any]]:
    """Upload a picture as the author, hang it on the post, and give the attachment."""

    def post() -> dict[str, Any]:
        asked = {"filename": "Müller & co.png", "content_type": "image/png"}
        ticket = site.call("author", "POST", "/presigned", json=asked)
        assert ticket.status_code == 201, ticket.text
        assert post_file(ticket.json(), samples["image/png"]).status_code == 204
        asked = {"attachment_id": ticket.json()["attachment_id"], "message_id": site.post_id}
        confirmed = site.call("author", "POST", "/confirm", json=asked)
        assert confirmed.status_code == 200, confirmed.text
        return confirmed.json()

    return post


# The wheel


def test_wheel_holds_the_app_and_nothing_else(wheel):
    # given
    app = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "attachments").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    # when
    names = set(ZipFile(wheel).namelist())

    # then: translations, templates and the typing marker are there like any other file
    metadata = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    assert names - metadata == app
    assert {"attachments/py.typed", "attachments/migrations/0001_initial.py"} <= app


def test_wheel_holds_no_secrets_and_no_trace_of_its_host(wheel):
    # given
    words = [settings.S3_SECRET_KEY, "messaging.", "nodus."]

    # when
    with ZipFile(wheel) as archive:
        migrations = "".join(
            archive.read(name).decode()
            for name in archive.namelist()
            if name.startswith("attachments/migrations/")
        )

    # then
    assert [word for word in words if word in migrations] == []


def test_app_comes_from_the_wheel_and_its_host_is_not_there(project):
    # when
    code = (
        "import attachments, importlib.util as i; print(attachments.__file__, i.find_spec('nodus'))"
    )
    said = project.run("-c", code).stdout

    # then
    path, host = said.split()
    assert Path(path).is_relative_to(project.python.parent.parent)
    assert host == "None"


# The terminal


def test_check_finds_nothing_to_say(project):
    # when
    check = project.manage("check")

    # then
    assert check.stdout == "System check identified no issues (0 silenced).\n"
    assert check.returncode == 0


def test_migrations_are_complete_for_any_message_model(project):
    # when
    changes = project.manage("makemigrations", "--check", "--dry-run")

    # then
    assert changes.stdout == "No changes detected\n"
    assert changes.returncode == 0


def test_migrate_points_the_keys_at_the_strangers_tables(migrated):
    # when
    with sqlite3.connect(migrated.directory / "db.sqlite3") as database:
        keys = database.execute(
            'SELECT "from", "table", "to" FROM pragma_foreign_key_list(?)', ["attachments"]
        ).fetchall()
    database.close()

    # then
    assert sorted(keys) == [("message_id", "chat_post", "id"), ("user_id", "chat_guest", "id")]


def test_setup_storage_brings_a_bucket_and_finds_it_the_second_time(project):
    # given: a bucket that no other test uses
    bucket = name_bucket()

    # when
    first = project.manage("setup_storage", "--json", S3_BUCKET=bucket)
    second = project.manage("setup_storage", "--json", S3_BUCKET=bucket)

    # then
    assert [step["state"] for step in json.loads(first.stdout)][:2] == ["created", "created"]
    assert {step["state"] for step in json.loads(second.stdout)} == {"unchanged"}


@pytest.mark.parametrize(("change", "said"), WRONG_SETTINGS.items(), ids=WRONG_SETTINGS)
def test_check_explains_what_is_wrong_in_the_settings(project, change, said):
    # given
    module = f"wrong_{uuid.uuid4().hex}"
    code = f"from guestbook.settings import *\n\n{change}\n"
    (project.directory / f"{module}.py").write_text(code)

    # when
    check = project.manage("check", DJANGO_SETTINGS_MODULE=module)

    # then
    assert said in check.stdout
    assert "Traceback" not in check.stdout
    assert check.returncode == 1


# The API


def test_upload_goes_into_the_strangers_bucket_and_comes_back(site, project, post_file, samples):
    # given
    picture = samples["image/png"]
    checksum = base64.b64encode(hashlib.sha256(picture).digest()).decode()
    asked = {
        "filename": "Müller & co.png",
        "content_type": "image/png",
        "size_bytes": len(picture),
        "checksum_sha256": checksum,
        "metadata": {"caption": "us"},
    }

    # when
    ticket = site.call("author", "POST", "/presigned", json=asked)
    posted = post_file(ticket.json(), picture)
    attachment_id = ticket.json()["attachment_id"]
    asked = {"attachment_id": attachment_id, "message_id": site.post_id}
    confirmed = site.call("author", "POST", "/confirm", json=asked)
    looked_at = site.call("author", "GET", f"/{attachment_id}")
    download = site.call("author", "GET", f"/{attachment_id}/download")
    file = requests.get(download.headers["Location"], timeout=30)

    # then
    store = f"{project.environment['S3_ENDPOINT_URL']}/{project.environment['S3_BUCKET']}"
    answers = [ticket, posted, confirmed, looked_at, download, file]
    assert [answer.status_code for answer in answers] == [201, 204, 200, 200, 302, 200]
    assert ticket.json() == {
        "attachment_id": ANY,
        "url": store,
        "fields": ANY,
        "expires_at": ANY,
        "expires_in": 600,
        "max_size_bytes": len(picture),
    }
    assert confirmed.json() == {
        "id": attachment_id,
        "user_id": site.author_id,
        "message_id": site.post_id,
        "filename": "Müller & co.png",
        "content_type": "image/png",
        "size_bytes": len(picture),
        "checksum_sha256": checksum,
        "status": "ready",
        "metadata": {"caption": "us"},
        "media": {},
        "created_at": ANY,
        "confirmed_at": ANY,
        "download_url": download.headers["Location"],
        "download_expires_at": None,
        "thumbnail_url": None,
        "error": None,
    }
    assert looked_at.json() == confirmed.json()
    assert download.headers["Location"].startswith(f"{store}/attachments/{attachment_id}/")
    assert file.content == picture
    assert file.headers["Content-Type"] == "image/png"


def test_reader_of_the_post_sees_the_attachment(site, post_picture):
    # given
    attachment = post_picture()

    # when
    looked_at = site.call("reader", "GET", f"/{attachment['id']}")
    listed = site.call("reader", "GET", "", params={"message_id": site.post_id, "page_size": 1})

    # then
    assert looked_at.json() == attachment
    assert listed.json() == {"next": ANY, "previous": None, "results": [attachment]}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_attachment_does_not_exist_for_others(site, post_picture, method):
    # given
    attachment = post_picture()

    # when
    answer = site.call("outsider", method, f"/{attachment['id']}")
    listed = site.call("outsider", "GET", "")

    # then
    assert answer.status_code == 404
    assert answer.json() == {
        "type": "client_error",
        "errors": [{"code": "not_found", "detail": "Not found.", "attr": None}],
    }
    assert listed.json() == {"next": None, "previous": None, "results": []}


def test_linking_needs_a_post_that_the_policy_allows(site):
    # given: readers may read the author's post, but not write there
    asked = {"filename": "a.png", "content_type": "image/png", "message_id": site.post_id}

    # when
    answer = site.call("reader", "POST", "/presigned", json=asked)

    # then
    assert answer.status_code == 404
    assert answer.json() == {
        "type": "client_error",
        "errors": [{"code": "not_found", "detail": "Not found.", "attr": "message_id"}],
    }


def test_message_id_that_is_no_uuid_is_refused(site):
    # when
    asked = {"filename": "a.png", "content_type": "image/png", "message_id": "7"}
    answer = site.call("author", "POST", "/presigned", json=asked)

    # then
    assert answer.status_code == 400
    assert answer.json() == {
        "type": "validation_error",
        "errors": [{"code": "invalid", "detail": "Not a valid message id.", "attr": "message_id"}],
    }


def test_deleting_removes_the_file(site, post_picture):
    # given
    attachment = post_picture()

    # when
    deleted = site.call("author", "DELETE", f"/{attachment['id']}")
    file = requests.get(attachment["download_url"], timeout=30)

    # then
    assert deleted.status_code == 204
    assert file.status_code == 404


# A form


def fill_in(browser: Any, **values: str) -> None:
    for name, value in values.items():
        browser.find_element(By.NAME, name).send_keys(value)
    browser.find_element(By.TAG_NAME, "button").click()


def choose(browser: Any, path: Path) -> None:
    browser.find_element(By.CSS_SELECTOR, "[type=file]").send_keys(str(path))


def test_a_form_uploads_in_the_browser_and_submits_the_id(site, browser, tmp_path, samples):
    # given
    wait = WebDriverWait(browser, 30)
    picture, document, lie = (tmp_path / name for name in ("Кот.png", "a.pdf", "lie.png"))
    picture.write_bytes(samples["image/png"])
    document.write_bytes(samples["application/pdf"])
    lie.write_bytes(b"no picture")
    browser.get(f"{site.url}/cards/new")
    fill_in(browser, username="author", password="author")

    # when: nothing is chosen
    wait.until(presence_of_element_located((By.NAME, "title"))).send_keys("Cats")
    browser.find_element(By.CSS_SELECTOR, "form > button").click()

    # then: the browser asks for a file
    assert browser.find_elements(By.CSS_SELECTOR, "[type=file]:invalid")

    # when: what is chosen is refused by the server
    choose(browser, lie)

    # then
    status = browser.find_element(By.CSS_SELECTOR, "[role=status]")
    wait.until(lambda _: status.text.startswith("lie.png: The content is not image"))

    # when: the form is sent before the file has arrived
    choose(browser, picture)
    browser.find_element(By.CSS_SELECTOR, "form > button").click()

    # then: it waits
    wait.until(url_matches(r"/cards/[-0-9a-f]{36}$"))
    card = browser.current_url
    wait.until(text_to_be_present_in_element((By.TAG_NAME, "body"), "Cats: Кот.png"))

    # when: another file takes the place of the first, which the form refuses
    browser.get(f"{card}/edit")
    shown = browser.find_element(By.CSS_SELECTOR, "attachment-input li").text
    choose(browser, document)
    wait.until(lambda _: len(browser.find_elements(By.CSS_SELECTOR, "[data-state=ready]")) == 1)
    browser.find_element(By.CSS_SELECTOR, "form > button").click()

    # then
    wait.until(presence_of_element_located((By.CSS_SELECTOR, ".errorlist")))
    errors = browser.find_element(By.CSS_SELECTOR, ".errorlist").text
    assert shown.startswith("Кот.png")
    assert errors == "A file of the type application/pdf is not allowed here."
    browser.get(card)
    assert browser.find_element(By.TAG_NAME, "body").text == "Cats: Кот.png"


# A fresh project, by the README


@pytest.fixture
def fresh_site(python: Path, project: Project, tmp_path: Path) -> Iterator[str]:
    """What the README tells to paste, done in an empty directory, and served."""
    (port,) = find_free_ports(1)
    url = f"http://localhost:{port}"
    extras, directory = tmp_path / "extras", tmp_path / "fresh"
    directory.mkdir()
    install(python, "--target", str(extras), "--no-deps", *read_packages())
    environment = name_environment(project.environment) | {"PYTHONPATH": str(extras)}
    command = paste_blocks(directory=directory, python=python, environment=environment, port=port)
    with serve(command, url, cwd=directory, env=environment):
        yield url


def name_environment(environment: dict[str, str]) -> dict[str, str]:
    """What the README tells to export, but this store; and no variable of the store besides."""
    key = get_root_key()
    ours = {
        "S3_ENDPOINT_URL": environment["S3_ENDPOINT_URL"],
        "S3_BUCKET": name_bucket(),
        "S3_ACCESS_KEY": key.access_key,
        "S3_SECRET_KEY": key.secret_key,
    }
    others = {name: value for name, value in environment.items() if not name.startswith("S3_")}
    return others | {name: ours.get(name, value) for name, value in read_exports().items()}


def test_the_steps_of_the_readme_make_a_project_that_uploads(
    fresh_site, browser, samples, tmp_path
):
    # given
    picture = tmp_path / "us.png"
    picture.write_bytes(samples["image/png"])
    browser.get(fresh_site)
    browser.find_element(By.NAME, "username").send_keys("alice")
    browser.find_element(By.NAME, "password").send_keys("alice-demo\n")
    wait = WebDriverWait(browser, 30)
    wait.until(presence_of_element_located((By.CSS_SELECTOR, "[type=file]")))

    # when
    choose(browser, picture)
    link = wait.until(presence_of_element_located((By.CSS_SELECTOR, "li a")))

    # then
    assert link.text == "us.png"
    assert requests.get(link.get_attribute("href"), timeout=30).content == samples["image/png"]
