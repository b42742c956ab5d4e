"""nodus behind gunicorn: metrics of several processes, logs, and its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests
from gunicorn.config import Config
from gunicorn.workers.gthread import _DEFER, TConn
from prometheus_client.parser import text_string_to_metric_families
from rest_framework_simplejwt.tokens import AccessToken

from nodus.dev.embedded import find_free_ports
from nodus.gunicorn_worker import Worker
from tests.databases import get_database_url
from tests.proxy import StoreProxy
from tests.stores import list_keys

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]
BASE = "/api/v1/attachments"
CONFIRMS = 14
"""More than two processes have threads."""
FILE = {"filename": "salary.png", "content_type": "image/png"}


@dataclass
class Server:
    process: subprocess.Popen
    log: Path
    port: int
    session: requests.Session

    def call(self, method, path, body=None, **headers):
        url = f"http://127.0.0.1:{self.port}{path}"
        return self.session.request(method, url, json=body, timeout=30, headers=headers)

    def count(self, name, **labels):
        families = text_string_to_metric_families(self.call("GET", "/metrics").text)
        samples = (sample for family in families for sample in family.samples)
        return sum(item.value for item in samples if (item.name, item.labels) == (name, labels))

    def stop(self):
        self.process.terminate()
        return self.process.wait(40)

    def read_log(self):
        return [
            json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")
        ]


@pytest.fixture
def serve(tmp_path, user):
    @contextmanager
    def start(**variables):
        (port,) = find_free_ports(1)
        environment = {
            **os.environ,
            "DATABASE_URL": get_database_url(),
            "BIND": f"127.0.0.1:{port}",
            "WEB_CONCURRENCY": "2",
            "LOG_FORMAT": "json",
            "METRICS_ALLOWED": "127.0.0.1",
            "TMPDIR": str(tmp_path),
            **variables,
        }
        command = [sys.executable, "-m", "gunicorn", "-c", "python:nodus.gunicorn_conf"]
        path = tmp_path / "gunicorn.log"
        with path.open("w") as log, requests.Session() as session:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            session.headers["Authorization"] = f"Bearer {AccessToken.for_user(user)}"
            server = Server(process, path, port, session)
            try:
                wait_for(lambda: path.read_text().count("Booting worker") == 2, log=path)
                yield server
            finally:
                if process.poll() is None:
                    server.stop()

    return start


def wait_for(find, *, log=None):
    deadline = time.monotonic() + 30
    while not find():
        assert time.monotonic() < deadline, log and log.read_text()
        time.sleep(0.05)


def find_workers(server):
    return psutil.Process(server.process.pid).children()


def test_what_several_processes_count_is_one_number(serve, bucket, post_file, samples, tmp_path):
    with serve() as server:
        tickets = []
        for _ in range(6):
            server.session.close()  # chance gives each connection to one of the processes
            tickets.append(server.call("POST", f"{BASE}/presigned", FILE).json())
        post_file(tickets[0], samples["image/png"])
        body = {"attachment_id": tickets[0]["attachment_id"]}
        assert server.call("POST", f"{BASE}/confirm", body).status_code == 200
        assert server.count("attachments_presigned_total") == 6
        assert server.count("attachments_uploads_total") == 1
        size = server.count("attachments_upload_size_bytes_sum")
        assert size == len(samples["image/png"])

        dead = find_workers(server)[0]
        dead.kill()
        wait_for(lambda: server.log.read_text().count("Booting worker") == 3, log=server.log)

        assert server.count("attachments_presigned_total") == 6
        assert server.count("attachments_waiting", kind="pending") == 5
        assert list(tmp_path.glob("nodus-metrics-*"))
        assert server.stop() == 0
    assert not list(tmp_path.glob("nodus-metrics-*"))


def test_a_request_is_one_line_of_json(serve, bucket):
    with serve() as server:
        answer = server.call("POST", f"{BASE}/presigned", FILE, **{"X-Request-ID": "line-1"})
        server.stop()

    assert answer.headers["X-Request-ID"] == "line-1"
    lines = [line for line in server.read_log() if line.get("request_id") == "line-1"]
    assert [line["event"] for line in lines] == ["presigned", "request"]
    assert lines[1]["path"] == f"{BASE}/presigned"
    assert "salary" not in server.log.read_text()
    own = [line for line in server.read_log() if line["logger"] == "gunicorn.error"]
    assert len(own) >= 3  # it starts, its workers start, it ends
    assert len(server.read_log()) == len(server.log.read_text().splitlines())


def test_sigterm_finishes_what_runs_and_refuses_the_rest(serve, bucket, upload, user):
    ticket = upload(user)
    body = {"attachment_id": str(ticket.attachment_id)}
    with (
        StoreProxy(os.environ["S3_ENDPOINT_URL"]) as proxy,
        serve(S3_ENDPOINT_URL=proxy.url) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        held = proxy.hold("CopyObject")
        confirm = pool.submit(server.call, "POST", f"{BASE}/confirm", body)
        assert held.reached.wait(30)

        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: is_refused(server.port))
        held.release()

        assert confirm.result(30).json()["status"] == "ready"
        assert server.process.wait(40) == 0
    # What follows the answers was done at the end, not left to a purge.
    assert f"pending/{ticket.attachment_id}" not in list_keys(bucket)


def is_refused(port):
    try:
        requests.get(f"http://127.0.0.1:{port}/health/live", timeout=5)
    except requests.ConnectionError:
        return True
    return False


def test_a_store_that_hangs_leaves_the_others_alone(serve, bucket, upload, user):
    """Confirms of more files than there are threads; a thread is free all the same."""
    tickets = [upload(user) for _ in range(CONFIRMS)]
    with (
        StoreProxy(os.environ["S3_ENDPOINT_URL"]) as proxy,
        serve(S3_ENDPOINT_URL=proxy.url, WEB_CONCURRENCY="2") as server,
        ThreadPoolExecutor(CONFIRMS) as pool,
    ):
        held = proxy.hold("CopyObject", times=None)

        def confirm(ticket):
            body = {"attachment_id": str(ticket.attachment_id)}
            return server.call("POST", f"{BASE}/confirm", body).status_code

        confirms = [pool.submit(confirm, ticket) for ticket in tickets]
        assert held.reached.wait(30)

        details = [
            server.call("GET", f"{BASE}/{ticket.attachment_id}").status_code for ticket in tickets
        ]

        assert not all(confirm.done() for confirm in confirms)
        assert details == [200] * CONFIRMS
        held.release()
        assert {confirm.result(60) for confirm in confirms} <= {200, 503}


def test_a_connection_that_says_nothing_keeps_no_thread(monkeypatch):
    waits = []
    monkeypatch.setattr(TConn, "wait_for_data", lambda conn, seconds: waits.append(seconds))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        conn = TConn(Config(), theirs, ("127.0.0.1", 1), ("127.0.0.1", 2))

        assert Worker.handle(object.__new__(Worker), conn) is _DEFER

    assert waits == [0.2]
