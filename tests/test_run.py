"""`make run` for real, in a copy of the tree, with data, ports and a .env of its own."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import requests
from django.conf import settings

from nodus.dev.addresses import read_addresses
from nodus.dev.client import Client, post_file
from nodus.dev.demo_users import DEMO_USERS
from nodus.dev.embedded import PortTaken, check_port, find_free_ports, stop_leftovers
from tests.stores import name_bucket

READY = "Ctrl-C stops everything"
OURS = re.compile(r"DATABASE_URL|DJANGO_|S3_|ATTACHMENTS_|CDN_URL|PORT$|BIND$")


@pytest.fixture
def tree():
    """A copy of the code. What a test leaves running in it is stopped."""
    # Not pytest's directory: the next pytest closes that to others, and PostgreSQL runs as another
    # user when root runs this.
    # Servers that are stopped may still write when their directory is removed.
    with tempfile.TemporaryDirectory(prefix="nodus-run-", ignore_cleanup_errors=True) as directory:
        root = Path(directory)
        for name in ("nodus", "attachments"):
            shutil.copytree(settings.BASE_DIR / name, root / name)
        yield root
        processes = find_processes(root)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=10)


def find_processes(tree):
    """The processes that run in the tree, name a place there, or have their data there."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "cwd", "environ"])
        if process.info["cwd"] == str(tree)
        or str(tree) in " ".join(process.info["cmdline"] or ())
        or str(tree) in (process.info["environ"] or {}).get("PGDATA", "")
    ]


def _ignore(*numbers):
    """The beginning of a command that is started with these signals ignored."""
    names = " ".join(signal.Signals(number).name.removeprefix("SIG") for number in numbers)
    return ["sh", "-c", f"trap '' {names}; exec \"$@\"", "sh"] if numbers else []


class Run:
    def __init__(self, tree: Path, *, ignored: tuple[int, ...] = (), **variables: object) -> None:
        environment = {name: value for name, value in os.environ.items() if not OURS.match(name)}
        environment["WEB_CONCURRENCY"] = "1"
        environment |= {name: str(value) for name, value in variables.items()}
        self._log = tree / f"run-{time.monotonic_ns()}.log"
        # Whoever runs the tests may ignore it, and children inherit that.
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [*_ignore(*ignored), sys.executable, "-m", "nodus.dev.run"],
                cwd=tree,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        signal.signal(signal.SIGHUP, before)

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait_until_ready(self) -> str:
        deadline = time.monotonic() + 60
        while READY not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.1)
        return self.output

    def wait_until_over(self) -> tuple[int, str]:
        return self.process.wait(60), self.output

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def running(tree, **variables):
    run = Run(tree, **variables)
    try:
        run.wait_until_ready()
        yield run
    finally:
        run.stop()


def put_file(client, path):
    ticket = client.presign(filename="note.txt", content_type="image/png")
    post_file(ticket, path)
    return client.confirm(ticket)


def wait_for_thumbnail(client, attachment):
    """The worker makes it soon; give the attachment as it is then."""
    deadline = time.monotonic() + 60
    while not (found := client.call("GET", f"/attachments/{attachment['id']}").json())[
        "thumbnail_url"
    ]:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


@contextmanager
def stopped(tree, name):
    """Let these servers of the run hang: they take connections, and answer nothing."""
    (server,) = [process for process in find_processes(tree) if process.name() == name]
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def read_health(port):
    """Its status and body; an error if there is none long after the two seconds that it may take."""
    answer = requests.get(f"http://localhost:{port}/health", timeout=8)
    return answer.status_code, answer.json()


def assert_health_is_told_while_its_servers_hang(tree, port):
    for name, part in (("weed", "minio"), ("postgres", "database")):
        with stopped(tree, name):
            time.sleep(1.1)  # what was found before is told for a moment
            status, body = read_health(port)
        assert (status, body["status"], body[part]) == (503, "error", "unavailable")
        wait_for_health(port)


def wait_for_health(port):
    deadline = time.monotonic() + 30
    while read_health(port)[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_what_it_starts_works_and_outlives_its_ends(tree, samples, tmp_path):
    port, s3_port = find_free_ports(2)
    ports = {"PORT": port, "S3_PORT": s3_port}
    client = Client(f"http://localhost:{port}")
    picture = tmp_path / "picture.png"
    picture.write_bytes(samples["image/png"])

    # The command that the first run prints can be pasted.
    first = Run(tree, ignored=(signal.SIGHUP,), **ports)  # as nohup does
    output = first.wait_until_ready()
    first.process.send_signal(signal.SIGHUP)
    assert f"Messenger  http://localhost:{port}/\n" in output
    for address in ("api/docs", "admin/", "health"):
        assert f"http://localhost:{port}/{address}" in output
    for name, password in DEMO_USERS.items():
        assert f"{name} / {password}" in output
    curl = re.search(r"^  curl (.+\\\n)+.+$", output, re.MULTILINE).group()
    pasted = subprocess.run(["bash", "-c", curl], check=False, capture_output=True, text=True)
    assert '"attachment_id"' in pasted.stdout, pasted.stderr
    assert '"x-amz-credential":"signer-' in pasted.stdout  # the keys are split here too
    client.log_in("alice", DEMO_USERS["alice"])
    attachment = wait_for_thumbnail(client, put_file(client, picture))

    # A second run refuses to start, and the first goes on.
    assert Run(tree, PORT=find_free_ports(1)[0], S3_PORT=s3_port).wait_until_over() == (
        1,
        "It is already running here: stop the other `make run` first.\n",
    )
    path = f"/attachments/{attachment['id']}"
    assert client.call("GET", path).json() == attachment

    assert_health_is_told_while_its_servers_hang(tree, port)

    # A run that is stopped leaves only the data.
    assert first.stop(signal.SIGTERM) == 0
    assert find_processes(tree) == []
    assert not (tree / ".data" / "embedded.env").exists()

    # Others reach the second run, at an address at which the store does not listen itself.
    second = Run(tree, BIND="127.0.0.2", **ports)
    output = second.wait_until_ready()
    assert f"make demo BASE_URL=http://127.0.0.2:{port}\n" in output
    assert "everybody knows the passwords" in output
    assert requests.get(attachment["download_url"], timeout=10).content == picture.read_bytes()
    other = Client(f"http://127.0.0.2:{port}")
    other.log_in("bob", DEMO_USERS["bob"])
    origin = {"Origin": other.base_url, "Access-Control-Request-Method": "POST"}
    preflight = requests.options(attachment["download_url"], headers=origin, timeout=10)
    assert preflight.headers["Access-Control-Allow-Origin"] == other.base_url
    link = put_file(other, picture)["download_url"]
    assert link.startswith(f"http://127.0.0.2:{s3_port}/")
    assert requests.get(link, timeout=10).content == picture.read_bytes()

    # A run that is killed leaves its servers.
    second.stop(signal.SIGKILL)
    assert find_processes(tree)

    # The third run stops those servers, and has the same ports and the same data.
    third = Run(tree, ignored=(signal.SIGINT,), **ports)  # as a script does with `make run &`
    third.wait_until_ready()
    assert client.call("GET", path).json() == attachment
    assert requests.get(attachment["download_url"], timeout=10).content == picture.read_bytes()
    assert put_file(client, picture)["status"] == "ready"
    assert third.stop(signal.SIGINT) == 0
    assert find_processes(tree) == []


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("", signal.SIGTERM),
        ("postgres.new/base/1", signal.SIGHUP),
        ("postgres.new/base/5", signal.SIGTERM),
        ("postgres", signal.SIGINT),
        ("s3/weed.log", signal.SIGTERM),
    ],
)
def test_stopped_while_it_starts_it_leaves_nothing(tree, place, number):
    port, s3_port = find_free_ports(2)
    run = Run(tree, PORT=port, S3_PORT=s3_port)
    while not (tree / ".data" / place).exists():
        time.sleep(0.005)

    assert run.stop(number) in {130, -number}
    assert "Traceback" not in run.output
    assert find_processes(tree) == []


@pytest.mark.parametrize("name", ["PORT", "S3_PORT"])
def test_a_taken_port(tree, name):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (other,) = find_free_ports(1)
        others = {"PORT": other, "S3_PORT": other + 1}
        run = Run(tree, BIND="127.0.0.2:80", **{**others, name: port})
        code, output = run.wait_until_over()

    assert code == 1
    hint = re.search(r"Port (\d+) is taken. Choose another: make run BIND=127.0.0.2 (.+)\n", output)
    asked = dict(pair.split("=") for pair in hint[2].split())
    assert int(hint[1]) == port != int(asked.pop(name))
    assert asked == {key: str(value) for key, value in others.items() if key != name}
    assert "Traceback" not in output
    assert find_processes(tree) == []


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"PORT": "http"}, "PORT is a number from 1 to 65535, not 'http'."),
        ({"S3_PORT": "65536"}, "S3_PORT is a number from 1 to 65535, not '65536'."),
        ({"PORT": "9000"}, "PORT and S3_PORT are both 9000: choose two."),
        ({"BIND": "unix:/run/nodus"}, "BIND is a host, or host:port, not 'unix:/run/nodus'."),
        ({"BIND": "0.0.0.0:99999"}, "PORT is a number from 1 to 65535, not '99999'."),
    ],
)
def test_a_wrong_port(monkeypatch, variables, message):
    for name in ("PORT", "S3_PORT", "BIND", "S3_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit, match=f"^{re.escape(message)}$"):
        read_addresses()


def test_an_address_of_another_machine(tree):
    assert Run(tree, BIND="203.0.113.9").wait_until_over() == (
        1,
        "BIND names no address of this machine: 203.0.113.9\n",
    )


def test_it_uses_the_servers_that_env_file_names(tree, samples, tmp_path):
    (port,) = find_free_ports(1)
    names = {
        "DATABASE_URL": f"sqlite:///{tree}/db.sqlite3",
        **{name: value for name, value in os.environ.items() if name.startswith("S3_")},
        "S3_BUCKET": name_bucket(),
    }
    (tree / ".env").write_text("".join(f"{name}={value}\n" for name, value in names.items()))
    (tree / ".data").mkdir()  # where a run that was killed left other names
    (tree / ".data" / "embedded.env").write_text(
        "DATABASE_URL=postgres://nobody@localhost:1/none\nS3_ENDPOINT_URL=http://localhost:1\n"
    )
    picture = tmp_path / "picture.png"
    picture.write_bytes(samples["image/png"])

    with running(tree, PORT=port):
        client = Client(f"http://localhost:{port}")
        client.log_in("bob", DEMO_USERS["bob"])
        attachment = put_file(client, picture)

    store = f"{names['S3_ENDPOINT_URL']}/{names['S3_BUCKET']}"
    assert attachment["download_url"].startswith(f"{store}/")
    assert {path.name for path in (tree / ".data").iterdir()} == {"run.lock"}


@pytest.mark.parametrize(
    ("bind", "host", "port"),
    [
        ("", "localhost", 8000),
        ("localhost:8001", "localhost", 8001),
        ("192.168.1.5", "192.168.1.5", 8000),
        ("[::1]:8001", "localhost", 8001),
        ("nodus.local:", "nodus.local", 8000),
    ],
)
def test_where_it_listens(monkeypatch, bind, host, port):
    monkeypatch.delenv("PORT", raising=False)
    monkeypatch.setenv("BIND", bind)

    addresses = read_addresses()

    assert (addresses.host, addresses.port) == (host, port)
    assert addresses.is_local is (host == "localhost")


@pytest.mark.parametrize(
    ("bind", "hint"),
    [("", "S3_PORT=9001"), ("127.0.0.2:8080", "BIND=127.0.0.2 PORT=8080 S3_PORT=9001")],
)
def test_the_hint_keeps_the_port_of_bind(monkeypatch, bind, hint):
    monkeypatch.setattr("nodus.dev.addresses.check_port", lambda port: None)
    for name in ("PORT", "S3_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BIND", bind)

    text = read_addresses().describe_taken("S3_PORT")

    assert text == f"Port 9000 is taken. Choose another: make run {hint}"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DATABASE_URL", "sqlite:////no/such/place", "The database that DATABASE_URL names"),
        ("S3_ENDPOINT_URL", "http://localhost:{port}", "The store at http://localhost:{port} "),
    ],
)
def test_named_servers_that_do_not_answer(tree, name, value, message):
    port, nothing = find_free_ports(2)
    names = {
        "DATABASE_URL": f"sqlite:///{tree}/db.sqlite3",
        "S3_ENDPOINT_URL": os.environ["S3_ENDPOINT_URL"],
        name: value.format(port=nothing),
    }

    code, output = Run(tree, PORT=port, **names).wait_until_over()

    assert code == 1
    assert message.format(port=nothing) in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("environment", "found"),
    [({}, "main-1 signer-1"), ({"S3_ENDPOINT_URL": "https://minio.example"}, "minioadmin ")],
    ids=["of the store that was started", "of another store"],
)
def test_keys_of_the_started_store_are_for_that_one_alone(tree, environment, found):
    (tree / ".data").mkdir()
    (tree / ".data" / "embedded.env").write_text(
        "S3_ENDPOINT_URL=http://localhost:1\nS3_ACCESS_KEY=main-1\nS3_SIGNER_ACCESS_KEY=signer-1\n"
    )
    code = (
        "from nodus.settings import ATTACHMENTS, S3_ACCESS_KEY as main;"
        "print(main, ATTACHMENTS['SIGNER_ACCESS_KEY'])"
    )

    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tree,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout == f"{found}\n"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"DJANGO_DEBUG": "false", "DJANGO_SECRET_KEY": "x" * 50}, "DJANGO_DEBUG is off"),
        ({"ATTACHMENTS_ORFAN_DAYS": "3"}, "unknown key 'ORFAN_DAYS'"),
    ],
)
def test_settings_that_cannot_do_start_nothing(tree, wrong, words):
    """With the first, everybody would know the passwords."""
    names = {
        "DATABASE_URL": f"sqlite:///{tree}/db.sqlite3",
        "S3_ENDPOINT_URL": os.environ["S3_ENDPOINT_URL"],
        "S3_ACCESS_KEY": "access",
        "S3_SECRET_KEY": "secret",
    }

    code, output = Run(tree, PORT=find_free_ports(1)[0], **names, **wrong).wait_until_over()

    assert code == 1
    assert words in output
    assert not (tree / "db.sqlite3").exists()


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_a_port_is_taken_at_either_address_of_localhost(family, host):
    try:
        taken = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"no {host} here")
    with taken, pytest.raises(PortTaken):
        check_port(taken.getsockname()[1])


def test_leftovers_that_do_not_want_to_stop(monkeypatch):
    monkeypatch.setattr("nodus.dev.embedded.STOP_TIMEOUT_SECONDS", 0.5)
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('', flush=True); time.sleep(60)"
    argument = f"-of={os.getpid()}"
    process = subprocess.Popen([sys.executable, "-c", stubborn, argument], stdout=subprocess.PIPE)
    with process:
        process.stdout.readline()

        stop_leftovers(argument)

        assert process.wait(5) == -signal.SIGKILL
