"""`make run`: everything that a first look needs, in one terminal."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import NoReturn

import fasteners

from nodus.dev.embedded import PortTaken, StartFailed, check_port, start_missing_services

DATA_DIR = Path(__file__).resolve().parents[2] / ".data"
# For this machine only: the README says so, and DJANGO_DEBUG off has other users.
DEMO_USERS = {"alice": "alice-demo", "bob": "bob-demo", "admin": "admin-demo"}
DEFAULT_PORT = 8000
START_TIMEOUT_SECONDS = 30


def main() -> int:
    port = int(os.environ.get("PORT", DEFAULT_PORT))
    s3_port = int(os.environ.get("S3_PORT", "9000"))
    signal.signal(signal.SIGTERM, _interrupt)
    DATA_DIR.mkdir(exist_ok=True)
    lock = fasteners.InterProcessLock(DATA_DIR / "run.lock")
    if not lock.acquire(blocking=False):
        sys.exit("It is already running here: stop the other `make run` first.")
    try:
        check_port(port)
    except PortTaken:
        sys.exit(f"Port {port} is taken. Choose another: make run PORT={port + 1}")
    with ExitStack() as stack:
        try:
            print("Starting PostgreSQL and S3 …", flush=True)
            variables, services = start_missing_services(data_dir=DATA_DIR, s3_port=s3_port)
        except PortTaken:
            sys.exit(f"Port {s3_port} is taken. Choose another: make run S3_PORT={s3_port + 1}")
        except StartFailed as error:
            sys.exit(str(error))
        stack.enter_context(services)
        os.environ.update(variables)
        lines = "".join(f"{name}={value}\n" for name, value in variables.items())
        (DATA_DIR / "embedded.env").write_text(lines)
        token = _prepare()
        command = [sys.executable, "-m", "gunicorn", "-c", "python:nodus.gunicorn_conf"]
        environment = {**os.environ, "BIND": f"127.0.0.1:{port}"}
        server = subprocess.Popen(command, env=environment, start_new_session=True)
        stack.callback(_stop, server)
        if not _wait(f"http://localhost:{port}/health", server):
            sys.exit("The server did not start; its log is above.")
        _print_welcome(port, token)
        try:
            return server.wait()
        except KeyboardInterrupt:
            print("\nStopping; the data stays in .data/", flush=True)
            return 0


def _prepare() -> str:
    """Migrate, prepare the bucket, make the demo users; give a token of alice."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nodus.settings")
    import django
    from django.core.management import call_command

    django.setup()
    from django.contrib.auth import get_user_model
    from rest_framework_simplejwt.tokens import AccessToken

    call_command("migrate", verbosity=0)
    call_command("setup_storage")
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


def _print_welcome(port: int, token: str) -> None:
    base = f"http://localhost:{port}"
    body = json.dumps({"filename": "test.jpg", "content_type": "image/jpeg"})
    users = ", ".join(f"{name} / {password}" for name, password in DEMO_USERS.items())
    print(
        f"""
  API        {base}/api/docs
  Admin      {base}/admin/
  Health     {base}/health
  Users      {users}

  Token of alice, for an hour:
  {token}

  Ask for an upload form:
  curl {base}/api/v1/attachments/presigned \\
    -H "Authorization: Bearer {token}" \\
    -H "Content-Type: application/json" \\
    -d '{body}'

  The whole round in another terminal: make demo{"" if port == DEFAULT_PORT else f" PORT={port}"}
  Ctrl-C stops everything; the data stays in .data/
""",
        flush=True,
    )


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
