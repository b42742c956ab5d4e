"""How each command ends, whatever is away or wrong: its exit status, and one line that says so.

``TABLE`` has what is right. The commands come from the apps and the outages from ``OUTAGES``: a
new one of either that has no cells fails.
"""

import argparse
import copy
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.config import Config
from django.core.management import get_commands, load_command_class
from django.db import connection, connections
from django.utils import timezone

from attachments.management.terminal import parse_count
from attachments.models import Attachment
from attachments.scanning import Outcome, Verdict
from attachments.tasks import purge_orphans
from nodus.dev.embedded import find_free_ports
from tests import commands
from tests.stores import name_bucket, take_store_away

pytestmark = pytest.mark.django_db(transaction=True)

# A line is a command and its options, then a cell for each of OUTAGES: the exit status. Without a
# cache all goes on as ever, so that the first column is that of a system where all is well.
TABLE = """
#command                                 cache  store  hang  interrupt  secret  access  bucket  forbidden  database  silent  unmigrated  setting  address  target
adopt_attachments --dry-run              0      2      2     130        2       2       2       2          2         2       2           2        2        0
adopt_attachments                        0      2      2     130        2       2       2       2          2         2       2           2        2        0
backup_attachments DEST                  0      2      2     130        2       2       2       2          2         2       2           2        2        2
backup_attachments DEST --dry-run        0      0      0     0          0       0       0       0          2         2       2           2        2        2
backup_attachments SRC --list            0      0      0     0          0       0       0       0          0         0       0           2        2        0
backup_attachments SRC --verify          0      0      0     0          0       0       0       0          0         0       0           2        2        0
check_storage                            0      2      2     130        1       1       1       1          0         0       0           2        2        0
db_worker --batch --interval=0           0      0      0     0          0       0       0       0          2         2       2           2        2        0
make_thumbnails                          0      2      2     130        2       2       2       2          2         2       2           2        2        0
process_attachments                      0      2      2     130        2       2       2       2          2         2       2           2        2        0
scan_attachments                         0      2      2     130        2       2       2       2          2         2       2           2        2        0
purge_orphans --dry-run                  0      2      2     130        2       2       2       2          2         2       2           2        2        0
reconcile_storage                        0      2      2     130        2       2       2       2          2         2       2           2        2        0
restore_attachments SRC --dry-run        0      2      2     130        2       2       2       2          2         2       2           2        2        0
restore_attachments SRC --keep-existing  0      2      2     130        2       2       2       2          2         2       2           2        2        0
run_schedule --once                      0      2      2     130        2       2       2       2          2         2       2           2        2        0
purge_orphans                            0      2      2     130        2       2       2       2          2         2       2           2        2        0
setup_storage --dry-run                  0      2      2     130        2       2       1       2          0         0       0           2        2        0
setup_storage                            0      2      2     130        2       2       0       2          0         0       0           2        2        0
setup_storage --print-policies           0      0      0     0          0       0       0       0          0         0       0           2        2        0
"""  # fmt: skip
LINES = [line.split() for line in TABLE.strip().splitlines()]
COLUMNS = LINES[0][1:]
CELLS = {
    tuple(line[: -len(COLUMNS)]): dict(zip(COLUMNS, map(int, line[-len(COLUMNS) :]), strict=True))
    for line in LINES[1:]
}


def test_each_command_has_its_cells():
    ours = {name for name, app in get_commands().items() if app in ("attachments", "nodus")}

    assert {command for command, *_options in CELLS} == ours
    dry = {command for command, *options in CELLS if "--dry-run" in options}
    assert dry == {name for name in ours if "--dry-run" in read_options(name)}
    assert [*OUTAGES] == COLUMNS


@pytest.mark.parametrize("name", sorted({command for command, *_options in CELLS} - {"db_worker"}))
def test_each_command_speaks_json(name):
    assert "--json" in read_options(name)


def read_options(name: str) -> set[str]:
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    return {option for action in parser._actions for option in action.option_strings}


# What may be away or wrong. Each is a context in which all of the table's commands run.


class CleanScanner:
    def scan(self, chunks):
        for _chunk in chunks:
            pass
        return Verdict(outcome=Outcome.CLEAN, scanner="tests")


FASTAPI_TABLE = """
CREATE TABLE attachments_fastapi (
    id VARCHAR(36) PRIMARY KEY, user_id INTEGER, message_id INTEGER, filename VARCHAR(255),
    content_type VARCHAR(100), size_bytes INTEGER, storage_key VARCHAR(512), metadata JSONB,
    created_at TIMESTAMP
)
"""


@pytest.fixture
def world(user, attachment_of, empty_bucket, settings, tmp_path):
    """An orphan that is to be looked into and scanned, a backup of it, and a task that waits."""
    attachment_of(user)
    scanner = f"{__name__}.CleanScanner"
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "SCANNER": scanner}
    moment = timezone.now() - timedelta(days=8)
    Attachment.objects.update(created_at=moment, confirmed_at=moment, is_inspected=False)
    places = {"SRC": tmp_path / "backup", "DEST": tmp_path / "other"}
    commands.run("backup_attachments", places["SRC"])
    purge_orphans.enqueue()
    with connection.cursor() as cursor:
        cursor.execute(FASTAPI_TABLE)
    yield SimpleNamespace(settings=settings, places=places)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE attachments_fastapi")


def change_store(world: Any, **options: Any) -> None:
    storages = copy.deepcopy(world.settings.STORAGES)
    storages["attachments"]["OPTIONS"] |= options
    world.settings.STORAGES = storages


def change_keys(world: Any, part: str, value: str) -> None:
    """Of all roles."""
    change_store(world, **{part: value})
    keys = {f"{role}_{part.upper()}": value for role in ("ADMIN", "SIGNER", "READER")}
    given = {name: value for name, value in keys.items() if world.settings.ATTACHMENTS.get(name)}
    world.settings.ATTACHMENTS = {**world.settings.ATTACHMENTS, **given}


@contextmanager
def lose_cache(world: Any) -> Iterator[None]:
    (port,) = find_free_ports(1)
    backend = "django.core.cache.backends.redis.RedisCache"
    world.settings.CACHES = {
        "default": {"BACKEND": backend, "LOCATION": f"redis://127.0.0.1:{port}"}
    }
    yield


@contextmanager
def lose_store(world: Any) -> Iterator[None]:
    take_store_away(world.settings)
    yield


@contextmanager
def hang_store(world: Any, on_request: Callable[[], None] = lambda: None) -> Iterator[None]:
    impatient = Config(connect_timeout=5, read_timeout=0.1, retries={"total_max_attempts": 1})
    options = world.settings.STORAGES["attachments"]["OPTIONS"]
    with keep_silent(on_request) as port:
        change_store(
            world,
            endpoint_url=f"http://127.0.0.1:{port}",
            client_config=options["client_config"].merge(impatient),
        )
        yield


@contextmanager
def interrupt(world: Any) -> Iterator[None]:
    """Press Ctrl-C once the command waits for the store."""
    main = threading.main_thread().ident
    with hang_store(world, lambda: signal.pthread_kill(main, signal.SIGINT)):
        yield


@contextmanager
def keep_silent(on_request: Callable[[], None] = lambda: None) -> Iterator[int]:
    """The port of a server that takes requests and never answers."""

    def serve(server: socket.socket) -> None:
        with ExitStack() as stack:
            while True:
                try:
                    taken = stack.enter_context(server.accept()[0])
                except OSError:
                    return
                if taken.recv(1):
                    on_request()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def spoil_secret(world: Any) -> Iterator[None]:
    change_keys(world, "secret_key", "wrong")
    yield


@contextmanager
def spoil_access(world: Any) -> Iterator[None]:
    change_keys(world, "access_key", "nobody")
    yield


@contextmanager
def lose_bucket(world: Any, s3: Any) -> Iterator[None]:
    name = name_bucket()
    change_store(world, bucket_name=name)
    yield
    if s3.Bucket(name).creation_date:  # setup_storage made it
        s3.Bucket(name).delete()


@contextmanager
def forbid_bucket(world: Any, s3: Any) -> Iterator[None]:
    name = f"others-{name_bucket()[-8:]}"
    bucket = s3.create_bucket(Bucket=name)
    change_store(world, bucket_name=name)
    try:
        yield
    finally:
        bucket.delete()


@contextmanager
def change_database(**changes: Any) -> Iterator[None]:
    """Threads connect anew, and this one too."""
    pools = type(connections["default"])._connection_pools
    connection.close()
    pool, before = pools.pop("default", None), copy.deepcopy(connection.settings_dict)
    connection.settings_dict["OPTIONS"].pop("pool", None)
    for name, value in changes.items():
        if name == "pool":
            connection.settings_dict["OPTIONS"]["pool"] = value
        else:
            connection.settings_dict[name] = value
    try:
        yield
    finally:
        connection.close()
        if made := pools.pop("default", None):
            made.close(timeout=0)
        connection.settings_dict.update(before)
        if pool:
            pools["default"] = pool


@contextmanager
def lose_database(world: Any) -> Iterator[None]:
    (port,) = find_free_ports(1)
    with change_database(HOST="127.0.0.1", PORT=port):
        yield


@contextmanager
def silence_database(world: Any) -> Iterator[None]:
    with keep_silent() as port, change_database(HOST="127.0.0.1", PORT=port, pool={"timeout": 0.1}):
        yield


@contextmanager
def forget_migrations(world: Any) -> Iterator[None]:
    with change_database(NAME="postgres"):
        yield


@contextmanager
def mistype_setting(world: Any) -> Iterator[None]:
    world.settings.ATTACHMENTS = {**world.settings.ATTACHMENTS, "PRESING_RATE": "10/minute"}
    yield


@contextmanager
def misspell_address(world: Any) -> Iterator[None]:
    change_store(world, endpoint_url="minio.example.com")
    yield


@contextmanager
def spoil_target(world: Any) -> Iterator[None]:
    world.places["DEST"].write_text("a file, where a directory should be")
    yield


OUTAGES: dict[str, tuple[Callable[..., Any], str]] = {
    # Its words are in the line of each that ends with 2.
    "cache": (lose_cache, ""),
    "store": (lose_store, "The file storage is not available.*Could not connect"),
    "hang": (hang_store, "The file storage is not available.*Read timeout"),
    "interrupt": (interrupt, "Interrupted"),
    "secret": (spoil_secret, "SignatureDoesNotMatch.*The secret is not that of the key in S3_"),
    "access": (spoil_access, "InvalidAccessKeyId.*does not know this access key: look at S3_"),
    "bucket": (lose_bucket, "Look at S3_BUCKET"),
    "forbidden": (forbid_bucket, "AccessDenied.*Give the key of S3_"),
    "database": (lose_database, "The database is not available: .*refused"),
    "silent": (silence_database, "The database is not available: .*couldn't get a connection"),
    "unmigrated": (forget_migrations, "not migrated: run manage.py migrate|attachments_fastapi"),
    "setting": (mistype_setting, "unknown key 'PRESING_RATE'. Did you mean PRESIGN_RATE"),
    "address": (misspell_address, "'minio.example.com', which is no address"),
    "target": (spoil_target, "The backup cannot be read or written: .*Not a directory"),
}


@pytest.mark.postgres
@pytest.mark.parametrize("outage", OUTAGES)
def test_how_each_command_ends(world, s3, capfd, outage):
    make, words = OUTAGES[outage]
    found = {}
    with make(world, s3) if make in (lose_bucket, forbid_bucket) else make(world):
        for name, *options in CELLS:
            given = [str(world.places.get(option, option)) for option in options]
            is_checked = outage in ("setting", "address")
            status, out, err = run(capfd, name, *given, *([] if is_checked else ["--skip-checks"]))
            found[name, *options] = status

            if name != "db_worker" or status:  # it logs how its tasks fail
                assert "Traceback" not in out + err, (name, err)
            if status >= 2:
                (line,) = re.findall(r"^CommandError: .*", err, re.M)
                # Amid a statement, Ctrl-C costs its connection, of which the pool logs the end.
                said = [text for text in err.splitlines() if " psycopg.pool " not in text]
                assert said[-1] == line, (name, err)
                assert re.search(words, line), (name, line)
            if status >= 2 and name != "db_worker":
                assert json.loads(out.splitlines()[-1]).keys() & {"error", "outage"}, (name, out)

    assert found == {command: cells[outage] for command, cells in CELLS.items()}


HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)  # by db_worker


def run(capfd: Any, name: str, *args: str) -> tuple[int, str, str]:
    """As `manage.py` does; with ``--json``, whose every line is a document."""
    as_json = [] if name == "db_worker" else ["--json"]
    capfd.readouterr()
    status = 0
    before = [(number, signal.getsignal(number)) for number in HANDLED]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        command = load_command_class(get_commands()[name], name)
        command.run_from_argv(["manage.py", name, *args, *as_json])
    except SystemExit as stopped:
        status = stopped.code or 0
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    out, err = capfd.readouterr()
    for line in out.splitlines():
        json.loads(line)
    return status, out, err


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"DJANGO_DEBUG": "false", "DJANGO_SECRET_KEY": ""}, "DJANGO_SECRET_KEY is not set"),
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL is no address such as postgres://"),
    ],
    ids=["debug", "database"],
)
def test_settings_that_cannot_be_read_end_in_a_line(variables, words):
    process = commands.start_python(
        *("manage.py", "setup_storage", "--json"),
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = process.communicate(timeout=60)

    assert process.returncode == 2
    assert re.fullmatch(f"CommandError: .*{words}.*\n", err)
    assert words in json.loads(out)["error"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_takes_nothing_ends_in_a_line():
    with open("/dev/full", "w") as full:
        process = commands.start(
            *("setup_storage", "--print-policies"), stdout=full, stderr=subprocess.PIPE
        )
        err = process.communicate(timeout=60)[1]

    assert process.returncode == 2
    assert err.endswith("CommandError: [Errno 28] No space left on device\n")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("empty_bucket")
def test_an_output_that_nobody_reads_ends_in_a_line(bucket):
    bucket.put_object(Key="attachments/unknown.png", Body=b"x")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        process = commands.start(
            *("reconcile_storage", "--grace", "0s"), stdout=pipe, stderr=subprocess.PIPE
        )
        err = process.communicate(timeout=60)[1]

    assert process.returncode == 2
    assert err.endswith("CommandError: [Errno 32] Broken pipe\n")


@pytest.mark.parametrize("text", ["0", "-1", "²", "1.5", "9" * 20, "9" * 5000])
def test_a_count_that_no_database_holds_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="not a whole number from 1 to 999999999"):
        parse_count(text)
