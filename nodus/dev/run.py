"""`make run`: start everything that a first look needs, in one terminal."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import NoReturn

import django
import environ
import fasteners
import psutil
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import OperationalError

from nodus.dev.addresses import Addresses, read_addresses
from nodus.dev.demo_users import DEMO_USERS
from nodus.dev.embedded import (
    PortTaken,
    StartFailed,
    check_port,
    start_missing_services,
    stop_leftovers,
    stop_processes,
)
from nodus.dev.forward import Forwarder
from nodus.dev.welcome import print_welcome

ROOT = Path(__file__).resolve().parents[2]
DATA_DIR = ROOT / ".data"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
START_TIMEOUT_SECONDS = 30
# By these arguments the processes that a killed run left are found.
SERVER_NAME = f"--name=nodus of {DATA_DIR}"
WORKER_NAME = f"--pythonpath={ROOT}"


def main() -> int:
    _obey_signals()
    _read_env()
    addresses = read_addresses()
    _name_addresses(addresses)
    DATA_DIR.mkdir(exist_ok=True)
    lock = fasteners.InterProcessLock(DATA_DIR / "run.lock")
    if not lock.acquire(blocking=False):
        sys.exit("It is already running here: stop the other `make run` first.")
    stop_leftovers(SERVER_NAME)
    stop_leftovers(WORKER_NAME)
    addresses.check_host()
    try:
        check_port(addresses.port)
    except PortTaken:
        sys.exit(addresses.describe_taken("PORT"))
    with ExitStack() as stack:
        stack.callback(_stop_children)
        _start_services(stack, addresses)
        token = _prepare()
        server = _start(stack, "gunicorn", "-c", "python:nodus.gunicorn_conf", SERVER_NAME)
        _start(stack, "django", "db_worker", "--no-reload", "--skip-checks", WORKER_NAME)
        _start(stack, "django", "run_schedule", "--skip-checks", WORKER_NAME)
        if not _wait(f"{addresses.base_url}/health", server):
            sys.exit("The server did not start; its log is above.")
        print_welcome(addresses, token)
        try:
            return server.wait()
        except KeyboardInterrupt:
            print("\nStopping; the data stays in .data/", flush=True)
            return 0


def _obey_signals() -> None:
    """Stop at each of them, also if the parent ignored it, as a script does with what it starts.

    But nohup means what it says.
    """
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _read_env() -> None:
    """Read .env, which may name servers too."""
    environ.Env.read_env(ROOT / ".env")


def _name_addresses(addresses: Addresses) -> None:
    """Let nodus answer to the name that clients use. Take no proxy to reach this machine."""
    local = ["localhost", "127.0.0.1"]
    others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    os.environ["no_proxy"] = ",".join(filter(None, [others, *local, addresses.host]))
    os.environ["BIND"] = f"{addresses.bind_host}:{addresses.port}"
    os.environ["PORT"] = str(addresses.port)  # the settings allow the site's own origin by it
    if not addresses.is_local:
        os.environ.setdefault("DJANGO_ALLOWED_HOSTS", ",".join([*local, "[::1]", addresses.host]))
        # The messenger, as others open it, puts files into the store.
        origins = [addresses.base_url, *(f"http://{host}:{addresses.port}" for host in local)]
        os.environ.setdefault("CORS_ALLOWED_ORIGINS", ",".join(origins))
        if "S3_ENDPOINT_URL" not in os.environ:
            os.environ.setdefault("S3_PUBLIC_ENDPOINT_URL", addresses.s3_url)


def _start_services(stack: ExitStack, addresses: Addresses) -> None:
    """Start the services that the environment does not name.

    The store's other parts ask nobody for a key, so it listens on this machine alone; the network
    reaches its S3 gateway through a forwarder. The services' names go into the environment, and
    into a file for `manage.py`.
    """
    print("Starting what it needs …", flush=True)
    try:
        variables, services = start_missing_services(data_dir=DATA_DIR, s3_port=addresses.s3_port)
    except PortTaken:
        sys.exit(addresses.describe_taken("S3_PORT"))
    except StartFailed as error:
        sys.exit(str(error))
    stack.enter_context(services)
    if "S3_ENDPOINT_URL" in variables and not addresses.is_local:
        try:
            forwarder = Forwarder(host=addresses.host.strip("[]"), port=addresses.s3_port)
        except OSError:
            sys.exit(addresses.describe_taken("S3_PORT"))
        stack.callback(forwarder.stop)
    os.environ.update(variables)
    names = DATA_DIR / "embedded.env"
    names.touch(mode=0o600)  # it has the keys of the store
    names.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    stack.callback(names.unlink, missing_ok=True)


def _start(stack: ExitStack, module: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """Run a module beside this process until the stack is closed."""
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, start_new_session=True)
    stack.callback(_stop, process)
    return process


def _prepare() -> str:
    """Migrate, prepare the bucket, make the demo users; give a token of alice."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nodus.settings")
    django.setup()
    from rest_framework_simplejwt.tokens import AccessToken

    if not settings.DEBUG:
        sys.exit(
            "DJANGO_DEBUG is off: `make run` is for development, everybody knows its passwords."
        )
    try:
        # The worker would end by what it finds, and the server go on.
        call_command("check", stdout=StringIO())
    except SystemCheckError as error:
        sys.exit(str(error))
    try:
        call_command("migrate", verbosity=0)
    except OperationalError as error:
        sys.exit(f"The database that DATABASE_URL names cannot be used: {error}")
    try:
        call_command("setup_storage")
    except CommandError as error:
        sys.exit(f"The store at {settings.S3_ENDPOINT_URL or 'AWS'} cannot be used: {error}")
    users = get_user_model().objects
    for name, password in DEMO_USERS.items():
        is_admin = name == "admin"
        user, is_new = users.get_or_create(
            username=name, defaults={"is_staff": is_admin, "is_superuser": is_admin}
        )
        if is_new:
            user.set_password(password)
            user.save()
    return str(AccessToken.for_user(users.get(username="alice")))


def _wait(url: str, server: "subprocess.Popen[bytes]") -> bool:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310
                return True
        except OSError:
            time.sleep(0.2)
    return False


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(35)
    except subprocess.TimeoutExpired:
        server.kill()


def _stop_children() -> None:
    """Stop what was being started when the signal came, of which nobody took note."""
    stop_processes(psutil.Process().children(recursive=True))


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    """Stop at the first signal; a second one must not keep anything from stopping."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
