"""`make demo` for real, against gunicorn over the test database and the tests' store."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from django.conf import global_settings
from rich.console import Console

from attachments.conf import conf
from attachments.models import Attachment
from nodus.dev.client import Client
from nodus.dev.demo import RUSSIAN_NAME, Demo, Upload
from nodus.dev.demo_users import DEMO_USERS
from nodus.dev.embedded import find_free_ports
from tests.databases import get_database_url

DEMO = [sys.executable, "-m", "nodus.dev.demo"]


def run_demo(base_url):
    return subprocess.run(
        DEMO,
        env={**os.environ, "BASE_URL": base_url, "COLUMNS": "80"},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


@contextmanager
def serve_nodus(**variables):
    (port,) = find_free_ports(1)
    environment = {
        **os.environ,
        "DATABASE_URL": get_database_url(),
        "BIND": f"127.0.0.1:{port}",
        "WEB_CONCURRENCY": "1",
        "ACCESS_LOG": "",
        "DJANGO_LOG_LEVEL": "ERROR",
        **variables,
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "python:nodus.gunicorn_conf"]
    base_url = f"http://localhost:{port}"
    with subprocess.Popen(command, env=environment) as server:
        try:
            wait_until_healthy(base_url)
            yield base_url
        finally:
            server.send_signal(signal.SIGINT)  # at once, without waiting for idle clients


def wait_until_healthy(base_url):
    deadline = time.monotonic() + 60
    while True:
        try:
            assert requests.get(f"{base_url}/health", timeout=5).status_code == 200
        except requests.RequestException:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return


@contextmanager
def serve(answer):
    """Serve ``answer(path)`` (status, headers, body) to each GET and POST."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, body = answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 (their name)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def demo_users(transactional_db, django_user_model, settings):
    """The users that `make run` makes, with passwords hashed as in production."""
    settings.PASSWORD_HASHERS = global_settings.PASSWORD_HASHERS
    return {
        name: django_user_model.objects.create_user(name, password=DEMO_USERS[name])
        for name in ("alice", "bob")
    }


@pytest.mark.postgres
def test_the_whole_round(demo_users, bucket):
    with serve_nodus() as base_url:
        result = run_demo(base_url)

    assert (result.returncode, result.stderr) == (0, ""), result.stdout + result.stderr
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    for content_type in conf.allowed_content_types:
        (line,) = [line for line in lines if line.startswith(content_type)]
        assert "✓ ready" in line
    assert any("Договор аренды.pdf 580 bytes ✓ ready" in line for line in lines)
    assert [line for line in lines if line.startswith("✓")] == [
        "✓ Alice and Bob are logged in",
        "✓ 10 real files are made, one of each type",
        "✓ Bob does not see them yet 404 not_found",
        "✓ Alice hangs them on a message to Bob 201",
        "✓ Bob reads the message 200, 10 attachments",
        "✓ Bob downloads each by its download_url same bytes, type and name",
        "✓ … and by its stable address, /download 302, the same",
        "✓ A web page 400 content_type_not_allowed",
        "✓ A file of 104,857,601 bytes 400 file_too_large",
        "✓ More bytes than were declared 400 from the store itself",
        "✓ Another file posted after the confirm what is served did not change",
        "✓ Alice asks for what Bob did not share 404 not_found",
    ]
    assert lines[-1].startswith("All is well: 10 files, ")

    # What the demo printed is true.
    rows = Attachment.objects.all()
    assert {row.content_type for row in rows} == set(conf.allowed_content_types)
    assert {row.status for row in rows} == {"ready"}
    assert len({row.message_id for row in rows}) == 1
    for row in rows:
        assert bucket.Object(row.storage_key.name).content_length == row.size_bytes


@pytest.mark.postgres
def test_other_bytes_than_were_sent(demo_users):
    """A CDN in front of the store sends the right headers, but one byte too many."""
    origin = f"{os.environ['S3_ENDPOINT_URL']}/{os.environ['S3_BUCKET']}"

    def garble(path):
        found = requests.get(f"{origin}{path}", timeout=10)
        names = ("Content-Type", "Content-Disposition", "Cache-Control")
        return 200, {name: found.headers[name] for name in names}, found.content + b"\0"

    with serve(garble) as cdn_url, serve_nodus(CDN_URL=cdn_url) as base_url:
        result = run_demo(base_url)

    assert result.returncode == 1
    assert f"✗ SHA-256 of {cdn_url}/attachments/" in result.stderr
    assert "Bob downloads" not in result.stdout
    assert "All is well" not in result.stdout


def test_a_server_that_is_not_there():
    (port,) = find_free_ports(1)
    base_url = f"http://localhost:{port}"

    result = run_demo(base_url)

    assert (result.returncode, result.stderr) == (
        2,
        f"✗ Nodus does not answer at {base_url}. Start it in another terminal: make run\n",
    )


@pytest.mark.parametrize("width", [80, 100])
def test_each_upload_is_a_line_of_the_terminal(tmp_path, width):
    film = tmp_path / "film.mp4"
    film.touch()
    os.truncate(film, 100 * 2**20)
    uploads = [
        Upload(content_type="application/pdf", path=film, name=RUSSIAN_NAME, status="confirming"),
        Upload(content_type="video/mp4", path=film, name="film.mp4", seconds=12.345),
    ]
    screen = io.StringIO()
    console = Console(file=screen, width=width, force_terminal=True, color_system=None)

    console.print(Demo(base_url="", console=console, directory=tmp_path)._draw(uploads))

    lines = [line for line in screen.getvalue().splitlines() if line.strip()]
    assert len(lines) == 4
    assert "…" not in "".join(lines)
    assert max(map(len, lines)) <= width
    assert lines[2].split()[:5] == ["application/pdf", *RUSSIAN_NAME.split(), "104.9", "MB"]
    assert lines[3].split()[-2:] == ["12345", "ms"]


def test_a_server_that_answers_otherwise():
    with serve(lambda path: (404, {}, b"No such page")) as base_url:
        result = run_demo(base_url)

    assert (result.returncode, result.stderr) == (
        1,
        f"✗ POST {base_url}/api/v1/auth/token\nanswered 404 instead of 200:\nNo such page\n",
    )


def test_it_waits_when_it_asks_too_often():
    answers = iter([(429, {"Retry-After": "1"}, b""), (201, {}, b'{"attachment_id": "1"}')])
    waits = []

    with serve(lambda path: next(answers)) as base_url:
        started = time.monotonic()
        ticket = Client(base_url, on_wait=waits.append).presign(filename="a")

    assert (ticket, waits) == ({"attachment_id": "1"}, [1])
    assert time.monotonic() - started >= 1


def test_it_speaks_http_alone():
    code = "import sys, nodus.dev.demo; sys.exit('django' in sys.modules or 'boto3' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
