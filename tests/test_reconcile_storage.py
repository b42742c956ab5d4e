"""The command as an operator uses it."""

import json
import os
import subprocess
import sys
import uuid
from datetime import timedelta
from functools import partial

import pytest
from django.core.management import CommandError

from attachments import services
from attachments.models import Attachment
from nodus.dev.embedded import find_free_ports
from tests import commands
from tests.databases import get_database_url
from tests.stores import list_keys, take_store_away

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("empty_bucket")]

UNKNOWN = f"attachments/{uuid.UUID(int=1)}/file.png"


@pytest.fixture
def wrong(user, attachment_of, bucket):
    """A row without its object, a row whose object was cut short, and an object without a row."""
    lost, cut, good = (attachment_of(user) for _ in range(3))
    bucket.Object(lost.key).delete()
    bucket.put_object(Key=cut.key, Body=b"short")
    bucket.put_object(Key=UNKNOWN, Body=b"hello")
    return {"lost": lost, "cut": cut, "good": good}


@pytest.fixture
def all_are_old(monkeypatch):
    """Treat each object as if it had come long ago, because no store can be made to say so."""
    monkeypatch.setattr(services, "RECONCILE_GRACE", timedelta(days=-1))


run = partial(commands.run, "reconcile_storage")


def read_count(text, what):
    (line,) = [line for line in text.splitlines() if line.startswith(f"│ {what} ")]
    return int(line.split("│")[2])


def run_json(*args, status=0):
    """Give the lines that were printed, read as JSON."""
    return [json.loads(line) for line in run("--json", *args, status=status).splitlines()]


def test_all_agrees(user, attachment_of):
    attachment_of(user)

    text = run()

    assert read_count(text, "Rows compared") == 1
    assert "Expected" not in text


def test_it_tells_people_what_is_wrong(all_are_old, wrong):
    text = run(status=1)

    assert read_count(text, "Rows whose object is missing") == 1
    assert read_count(text, "Objects of another size than their row says") == 1
    assert read_count(text, "Objects that no row knows") == 1
    for key in (wrong["lost"].key, wrong["cut"].key, UNKNOWN):
        assert text.count(key) == 1
    assert wrong["good"].key not in text


def test_it_tells_programs_what_is_wrong(all_are_old, wrong):
    *findings, summary = run_json(status=1)

    lost, cut, good = wrong["lost"], wrong["cut"], wrong["good"]
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
            "missing_thumbnail": 0,
            "unknown_object": 1,
        },
        "waiting": 0,
        "young": 0,
        "without_checksum": 0,
        "deleted": 0,
        "marked": 0,
        "is_clean": False,
        "dry_run": True,
    }


def test_limit_bounds_the_table_and_not_the_json(all_are_old, wrong):
    assert "… and 1 more" in run("--limit", "2", status=1)
    assert len(run_json("--limit", "2", status=1)) == 4


@pytest.mark.parametrize("args", [[], ["--grace", "30m"]])
def test_what_is_younger_than_the_grace_is_not_unknown(wrong, args):
    *findings, _summary = run_json(*args, status=1)

    assert {item["kind"] for item in findings} == {"missing_object", "size_mismatch"}


def test_checksums(user, attachment_of, bucket):
    attachment = attachment_of(user)
    Attachment.objects.update(checksum_sha256="A" * 43 + "=")

    run_json(status=0)
    finding, summary = run_json("--checksums", status=1)

    assert (finding["kind"], finding["key"]) == ("checksum_mismatch", attachment.key)
    assert finding["expected"] == "A" * 43 + "="
    assert len(finding["found"]) == 44
    assert summary["findings"]["checksum_mismatch"] == 1


def test_acting_mends_what_can_be_mended(all_are_old, wrong, bucket):
    # An object that was cut short cannot be mended.
    *_findings, summary = run_json("--delete-unknown", "--mark-missing", status=1)

    assert (summary["deleted"], summary["marked"], summary["is_clean"]) == (1, 1, False)
    assert list_keys(bucket) == {wrong["cut"].key, wrong["good"].key}
    wrong["lost"].refresh_from_db()
    assert wrong["lost"].status == "rejected"

    wrong["cut"].delete()
    run(status=0)


def test_all_mended_is_success(user, attachment_of, bucket):
    attachment = attachment_of(user)
    bucket.Object(attachment.key).delete()

    run("--mark-missing", status=0)
    run(status=0)


def test_it_asks_at_a_terminal_and_takes_no(all_are_old, wrong, answers, bucket):
    asked = answers("no")

    with pytest.raises(CommandError, match="Nothing was changed") as raised:
        run("--delete-unknown", "--mark-missing")

    assert raised.value.returncode == 2
    assert len(asked) == 1
    assert "deleted for good" in asked[0]
    assert UNKNOWN in list_keys(bucket)


def test_it_asks_at_a_terminal_and_takes_yes(all_are_old, wrong, answers):
    asked = answers("yes", "yes")

    run("--delete-unknown", "--mark-missing", status=1)

    assert len(asked) == 2
    assert not Attachment.objects.get(pk=wrong["lost"].pk).is_ready


@pytest.mark.parametrize("args", [[], ["--delete-unknown", "--no-input"]])
def test_it_does_not_ask(all_are_old, wrong, answers, args):
    asked = answers()

    run(*args, status=1)

    assert asked == []


@pytest.mark.parametrize("args", [["--grace", "soon"], ["--limit", "0"]])
def test_nonsense_is_refused(args):
    with pytest.raises(CommandError, match="not a"):
        run(*args)


def test_the_store_is_down(settings):
    take_store_away(settings)

    with pytest.raises(CommandError, match=r"not available.*Could not connect") as raised:
        run("--mark-missing")

    assert raised.value.returncode == 2


# As a process


def run_process(*args, **environment):
    command = [sys.executable, "manage.py", "reconcile_storage", *args]
    # Without a warning that rates are counted without Redis.
    no_rates = {"ATTACHMENTS_PRESIGN_RATE": "", "ATTACHMENTS_TOKEN_RATE": ""}
    variables = {**os.environ, **no_rates, **environment}
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.postgres
def test_exit_statuses_of_the_process(user, attachment_of, bucket):
    attachment = attachment_of(user)
    bucket.Object(attachment.key).delete()

    wrong = run_process("--json", DATABASE_URL=get_database_url())
    (port,) = find_free_ports(1)
    no_database = run_process(DATABASE_URL=f"postgres://nobody@127.0.0.1:{port}/nodus?pool=false")

    assert (wrong.returncode, wrong.stderr) == (1, "")
    assert [json.loads(line)["kind"] for line in wrong.stdout.splitlines()] == [
        "missing_object",
        "summary",
    ]
    assert (no_database.returncode, no_database.stdout) == (2, "")
    assert "The database is not available" in no_database.stderr
    assert "Traceback" not in no_database.stderr
