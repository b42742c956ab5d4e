"""The proxies of docs/, in front of a server that tells what it was asked."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import requests

from nodus.dev.embedded import find_free_ports
from tests.compose import BIN
from tests.documents import read_blocks

SITE, STORE = "chat.example.com", "files.example.com"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
needs_nginx = pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")


class Echo(BaseHTTPRequestHandler):
    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        told = {"path": self.path, **{name.lower(): text for name, text in self.headers.items()}}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def backend() -> Iterator[str]:
    """Its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def start_nginx(directory: Path, port: int, backend: str) -> list[str]:
    blocks = [
        *read_blocks("docs/security.md", "nginx"),
        *read_blocks("docs/deployment.md", "nginx"),
    ]
    text = re.sub(r"http://(minio:9000|127\.0\.0\.1:8000)", f"http://{backend}", "".join(blocks))
    text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    text = re.sub(r"^ +ssl_.*\n", "", text, flags=re.M)
    places = "".join(f"{name}_temp_path {directory}/{name};\n" for name in TEMPORARY)
    head = (
        f"daemon off;\nmaster_process off;\npid {directory}/pid;\nerror_log stderr;\nevents {{}}\n"
    )
    (directory / "nginx.conf").write_text(f"{head}http {{\naccess_log off;\n{places}{text}}}\n")
    return ["nginx", "-p", str(directory), "-c", "nginx.conf"]


def start_caddy(directory: Path, port: int, backend: str) -> list[str]:
    (text,) = read_blocks("docs/deployment.md", "caddy")
    text = re.sub(r"127\.0\.0\.1:(8000|9000)", backend, text)
    text = re.sub(r"^(\w+\.example\.com)", rf"http://\1:{port}", text, flags=re.M)
    (directory / "Caddyfile").write_text(f"{{\n\tadmin off\n}}\n{text}")
    return [str(BIN / "caddy"), "run", "--adapter", "caddyfile", "--config", "Caddyfile"]


@pytest.fixture(scope="module", params=[pytest.param(start_nginx, marks=needs_nginx), start_caddy])
def ask(request, backend, tmp_path_factory) -> Iterator[Callable[..., requests.Response]]:
    """Ask the proxy for something."""
    directory, (port,) = tmp_path_factory.mktemp("proxy"), find_free_ports(1)
    url = f"http://127.0.0.1:{port}"

    def send(method: str, host: str, path: str, **options: object) -> requests.Response:
        headers = {"Host": f"{host}:{port}", "X-Forwarded-For": "10.9.9.9"}
        return requests.request(method, url + path, headers=headers, timeout=30, **options)

    with run(request.param(directory, port, backend), directory, url):
        yield send


@contextmanager
def run(command: list[str], directory: Path, url: str) -> Iterator[None]:
    log = directory / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, "HOME": str(directory)},
            stdout=output,
            stderr=output,
        )
    try:
        while not is_answering(url):
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


def is_answering(url: str) -> bool:
    try:
        requests.get(url, timeout=30)
    except requests.ConnectionError:
        return False
    return True


def test_the_site_learns_who_asks_and_how(ask):
    told = ask("GET", SITE, "/api/v1/attachments?status=ready").json()

    assert told["path"] == "/api/v1/attachments?status=ready"
    assert told["host"].startswith(f"{SITE}:")
    assert told["x-forwarded-proto"] == "http"
    assert told["x-forwarded-for"].endswith("127.0.0.1")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_clients_reach_the_bucket(ask, method):
    answer = ask(method, STORE, "/attachments/attachments/1/2/a.png", data=b"form")

    assert answer.status_code in (200, 501)  # the server behind knows no HEAD
    if method == "GET":
        assert answer.json()["host"].startswith(f"{STORE}:")  # it is signed


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/attachments/attachments/1"),
        ("DELETE", "/attachments/attachments/1"),
        ("GET", "/minio/admin/v3/info"),
        ("GET", "/attachments-of-others/1"),
        ("GET", "/attachments/../minio/admin"),
        ("GET", "/"),
    ],
)
def test_nobody_reaches_anything_else(ask, method, path):
    assert ask(method, STORE, path).status_code in (403, 404)


def test_only_signed_requests_keep_their_parameters(ask):
    path = "/attachments/attachments/1/2/a.png"
    signed = f"{path}?X-Amz-Credential=nodus-reader%2F1&X-Amz-Signature=2"

    assert ask("GET", STORE, f"{path}?versionId=1").json()["path"] == path
    assert ask("GET", STORE, signed).json()["path"] == signed


def test_a_file_passes_to_the_store_and_json_to_the_site(ask):
    assert ask("POST", STORE, "/attachments", data=bytes(2 * 2**20)).status_code == 200
    assert ask("POST", SITE, "/api/v1/attachments/presigned", data=b"{}").status_code == 200
