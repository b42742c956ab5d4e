"""The command as an operator uses it."""

import copy
import json
import os
import subprocess
import sys
import uuid
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from attachments import services
from attachments.models import Attachment
from nodus.dev.embedded import find_free_ports

pytestmark = pytest.mark.django_db(transaction=True)

UNKNOWN = f"attachments/{uuid.UUID(int=1)}/file.png"


@pytest.fixture(autouse=True)
def _empty_bucket(bucket):
    bucket.objects.all().delete()


@pytest.fixture
def wrong(user, attachment_of, bucket):
    """One row without its object, one with an object that was cut, one object without a row."""
    lost, cut, good = (attachment_of(user) for _ in range(3))
    bucket.Object(lost.key).delete()
    bucket.put_object(Key=cut.key, Body=b"short")
    bucket.put_object(Key=UNKNOWN, Body=b"hello")
    return {"lost": lost, "cut": cut, "good": good}


@pytest.fixture
def all_are_old(monkeypatch):
    """As if each object had come long ago: a store cannot be made to say so."""
    monkeypatch.setattr(services, "RECONCILE_GRACE", timedelta(days=-1))


@pytest.fixture
def store_down(settings):
    storages = copy.deepcopy(settings.STORAGES)
    (port,) = find_free_ports(1)
    storages["attachments"]["OPTIONS"]["endpoint_url"] = f"http://127.0.0.1:{port}"
    settings.STORAGES = storages


@pytest.fixture
def answers(monkeypatch):
    """Sit at a terminal and give these answers; gives what was asked."""

    def sit(*given):
        asked, waiting = [], list(given)

        def answer(prompt):
            asked.append(prompt)
            return waiting.pop(0)

        monkeypatch.setattr("builtins.input", answer)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        return asked

    return sit


def run(*args):
    """Give the exit status and what was printed."""
    out = StringIO()
    try:
        call_command("reconcile_storage", *args, stdout=out)
    except SystemExit as error:
        return error.code, out.getvalue()
    return 0, out.getvalue()


def read_count(text, what):
    (line,) = [line for line in text.splitlines() if line.startswith(f"│ {what} ")]
    return int(line.split("│")[2])


def run_json(*args):
    status, text = run("--json", *args)
    return status, [json.loads(line) for line in text.splitlines()]


def test_all_agrees(user, attachment_of):
    attachment_of(user)

    status, text = run()

    assert status == 0
    assert read_count(text, "Rows compared") == 1
    assert "Expected" not in text


def test_it_tells_people_what_is_wrong(all_are_old, wrong):
    status, text = run()

    assert status == 1
    assert read_count(text, "Rows whose object is missing") == 1
    assert read_count(text, "Objects of another size than their row says") == 1
    assert read_count(text, "Objects that no row knows") == 1
    for key in (wrong["lost"].key, wrong["cut"].key, UNKNOWN):
        assert text.count(key) == 1
    assert wrong["good"].key not in text


def test_it_tells_programs_what_is_wrong(all_are_old, wrong):
    status, (*findings, summary) = run_json()

    lost, cut, good = wrong["lost"], wrong["cut"], wrong["good"]
    assert status == 1
    assert sorted(findings, key=lambda item: item["kind"]) == [
        {
            "kind": "missing_object",
            "key": lost.key,
            "attachment_id": str(lost.pk),
            "size_bytes": None,
            "expected": None,
            "found": None,
        },
        {
            "kind": "size_mismatch",
            "key": cut.key,
            "attachment_id": str(cut.pk),
            "size_bytes": 5,
            "expected": good.size_bytes,
            "found": 5,
        },
        {
            "kind": "unknown_object",
            "key": UNKNOWN,
            "attachment_id": None,
            "size_bytes": 5,
            "expected": None,
            "found": None,
        },
    ]
    assert summary == {
        "kind": "summary",
        "rows": 3,
        "objects": 3,
        "findings": {
            "missing_object": 1,
            "size_mismatch": 1,
            "checksum_mismatch": 0,
            "unknown_object": 1,
        },
        "waiting": 0,
        "without_checksum": 0,
        "deleted": 0,
        "marked": 0,
        "is_clean": False,
    }


def test_limit_bounds_the_table_and_not_the_json(all_are_old, wrong):
    _status, text = run("--limit", "2")

    assert "… and 1 more" in text
    assert len(run_json("--limit", "2")[1]) == 4


@pytest.mark.parametrize("args", [[], ["--grace", "30m"]])
def test_what_is_younger_than_the_grace_is_not_unknown(wrong, args):
    _status, (*findings, _summary) = run_json(*args)

    assert {item["kind"] for item in findings} == {"missing_object", "size_mismatch"}


def test_checksums(user, attachment_of, bucket):
    attachment = attachment_of(user)
    Attachment.objects.update(checksum_sha256="A" * 43 + "=")

    assert run_json()[0] == 0
    status, (finding, summary) = run_json("--checksums")

    assert (status, finding["kind"], finding["key"]) == (1, "checksum_mismatch", attachment.key)
    assert finding["expected"] == "A" * 43 + "="
    assert len(finding["found"]) == 44
    assert summary["findings"]["checksum_mismatch"] == 1


def test_acting_mends_what_can_be_mended(all_are_old, wrong, bucket):
    status, (*_findings, summary) = run_json("--delete-unknown", "--mark-missing")

    assert status == 1  # a cut object stays one
    assert (summary["deleted"], summary["marked"], summary["is_clean"]) == (1, 1, False)
    assert {item.key for item in bucket.objects.all()} == {wrong["cut"].key, wrong["good"].key}
    wrong["lost"].refresh_from_db()
    assert wrong["lost"].status == "rejected"

    wrong["cut"].delete()
    assert run()[0] == 0


def test_all_mended_is_success(user, attachment_of, bucket):
    attachment = attachment_of(user)
    bucket.Object(attachment.key).delete()

    assert run("--mark-missing")[0] == 0
    assert run()[0] == 0


def test_it_asks_at_a_terminal_and_takes_no(all_are_old, wrong, answers, bucket):
    asked = answers("no")

    with pytest.raises(CommandError, match="Nothing was changed") as raised:
        run("--delete-unknown", "--mark-missing")

    assert raised.value.returncode == 2
    assert len(asked) == 1
    assert "deleted for good" in asked[0]
    assert UNKNOWN in {item.key for item in bucket.objects.all()}


def test_it_asks_at_a_terminal_and_takes_yes(all_are_old, wrong, answers):
    asked = answers("yes", "yes")

    run("--delete-unknown", "--mark-missing")

    assert len(asked) == 2
    assert not Attachment.objects.get(pk=wrong["lost"].pk).is_ready


@pytest.mark.parametrize("args", [[], ["--delete-unknown", "--no-input"]])
def test_it_does_not_ask(all_are_old, wrong, answers, args):
    asked = answers()

    run(*args)

    assert asked == []


@pytest.mark.parametrize("args", [["--grace", "soon"], ["--limit", "0"]])
def test_nonsense_is_refused(args):
    with pytest.raises(CommandError, match="not a"):
        run(*args)


@pytest.mark.usefixtures("store_down")
def test_the_store_is_down():
    with pytest.raises(CommandError, match=r"not available.*Could not connect") as raised:
        run("--mark-missing")

    assert raised.value.returncode == 2


# As a process


def run_process(*args, **environment):
    command = [sys.executable, "manage.py", "reconcile_storage", *args]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def database_url():
    """Of the tests' own database, for another process."""
    name = connection.settings_dict["NAME"]
    return os.environ["DATABASE_URL"].replace("/nodus", f"/{name}", 1)


@pytest.mark.postgres
def test_exit_statuses_of_the_process(user, attachment_of, bucket, database_url):
    attachment = attachment_of(user)
    bucket.Object(attachment.key).delete()

    wrong = run_process("--json", DATABASE_URL=database_url)
    (port,) = find_free_ports(1)
    no_database = run_process(DATABASE_URL=f"postgres://nobody@127.0.0.1:{port}/nodus")

    assert (wrong.returncode, wrong.stderr) == (1, "")
    assert [json.loads(line)["kind"] for line in wrong.stdout.splitlines()] == [
        "missing_object",
        "summary",
    ]
    assert (no_database.returncode, no_database.stdout) == (2, "")
    assert "The database is not available" in no_database.stderr
    assert "Traceback" not in no_database.stderr
