"""`manage.py scan_attachments`, by a real ClamAV."""

import json
from datetime import UTC, datetime
from itertools import chain, repeat

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from attachments import services
from attachments.models import Attachment
from attachments.services import rescans
from tests.clamd import EICAR, FOUND, STREAM_MAX_BYTES, answer, play
from tests.commands import run
from tests.stores import get_checksum

pytestmark = pytest.mark.django_db


@pytest.fixture
def infected(attachment_of, user, samples):
    """Served, because there was no scanner yet."""
    return attachment_of(user, content=samples["image/png"] + EICAR)


@pytest.fixture
def scan(clamd_server, use_scanner):
    """The scanner is set up; then what there is already is scanned."""

    def run_scan(*args, url=clamd_server.url, status=0):
        use_scanner(url)
        return json.loads(run("scan_attachments", "--json", *args, status=status))

    return run_scan


def test_what_is_infected_is_taken_down(user, attachment_of, upload, infected, bucket, scan):
    clean = attachment_of(user)
    clean.change(where={}, thumbnail_key=(thumbnail_key := clean.make_thumbnail_key()))
    upload(user)  # it is not served yet

    report = scan(status=1)

    assert (report["clean"], report["infected"]) == (1, 1)
    assert report["taken_down"] == [{"attachment_id": str(infected.pk), "signature": FOUND}]
    clean.refresh_from_db()
    assert (clean.status, clean.scan_outcome) == ("ready", "clean")
    assert clean.thumbnail_key == thumbnail_key
    key = infected.key
    infected.refresh_from_db()
    assert (infected.status, infected.error["code"]) == ("infected", "infected")
    assert infected.confirmed_at  # it was served: a purge keeps the record
    assert key not in {item.key for item in bucket.objects.all()}
    counts = dict.fromkeys(("clean", "infected", "unscannable", "skipped", "failed"), 0)
    assert scan() == {**counts, "outage": None, "taken_down": []}


def test_people_read_what_was_found(infected, real_clamd):
    printed = run("scan_attachments", status=1)

    assert str(infected.pk) in printed
    assert FOUND in printed


def test_what_cannot_be_scanned_stays_and_is_told(user, attachment_of, samples, scan):
    large = attachment_of(user, content=samples["image/png"] + bytes(STREAM_MAX_BYTES))

    assert scan(status=1)["unscannable"] == 1

    large.refresh_from_db()
    assert (large.status, large.scan_outcome) == ("ready", "unscannable")


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ([], 1),
        (["--before", "2025-06-01"], 2),
        (["--before", "2025-06-01T12:00:00+02:00"], 2),
        (["--signatures-before", "27000"], 3),  # of those without a version, too
        (["--signatures-before", "26000"], 2),
    ],
)
def test_which_files_are_scanned(user, attachment_of, scan, options, count):
    never, old, other = (attachment_of(user) for _ in range(3))
    moment = datetime(2025, 5, 1, tzinfo=UTC)
    rows = Attachment.objects
    rows.filter(pk=old.pk).update(scanned_at=moment, signatures_version=26500)
    rows.filter(pk=other.pk).update(scanned_at=timezone.now())
    with play(answer(b"stream: OK\0")) as fake:
        assert scan(*options, url=fake.url)["clean"] == count
    never.refresh_from_db()
    assert never.signatures_version == 27500


def test_an_object_that_is_gone(user, attachment_of, bucket, scan):
    bucket.Object(attachment_of(user).key).delete()

    assert scan()["skipped"] == 1


@pytest.mark.parametrize("url", ["", "unix:///nowhere/clamd.sock"])
def test_without_a_scanner_it_cannot_run(user, attachment_of, use_scanner, url):
    attachment_of(user)
    use_scanner(url)

    with pytest.raises(CommandError) as error:
        run("scan_attachments")

    assert error.value.returncode == 2
    assert Attachment.objects.get().scan_outcome == ""


def test_a_file_that_gets_no_verdict_keeps_no_other_from_its_own(
    user, attachment_of, use_scanner, capsys
):
    rows = [attachment_of(user) for _ in range(2)]
    answers = chain([b"stream: Can't allocate memory ERROR\0"], repeat(b"stream: OK\0"))

    def judge(connection):
        answer(next(answers))(connection)

    with play(judge) as fake, pytest.raises(CommandError) as error:
        use_scanner(fake.url)
        call_command("scan_attachments", "--json")

    assert error.value.returncode == 2
    report = json.loads(capsys.readouterr().out)  # what was done is told all the same
    assert (report["clean"], report["failed"]) == (1, 1)
    assert "Can't allocate memory" in report["outage"]
    assert sorted(Attachment.find(row.pk).scan_outcome for row in rows) == ["", "clean"]


def test_a_run_ends_when_many_in_a_row_get_no_verdict(
    user, attachment_of, use_scanner, monkeypatch
):
    monkeypatch.setattr(rescans, "MAX_OUTAGES_IN_A_ROW", 2)
    monkeypatch.setattr(rescans, "SCANS_AT_ONCE", 1)  # or else they get each other's answers
    for _ in range(5):
        attachment_of(user)
    clean, away = b"stream: OK\0", b"stream: Can't allocate memory ERROR\0"
    answers = chain([away, clean, away, away], repeat(clean))

    def judge(connection):
        answer(next(answers))(connection)

    with play(judge) as fake:
        use_scanner(fake.url)
        report = services.scan_published(services.find_unscanned())

    assert (report.failed, report.clean) == (3, 1)
    assert Attachment.objects.filter(scan_outcome="").count() == 4


def test_the_checksum_that_was_unknown_is_kept(user, attachment_of, samples, scan):
    attachment_of(user)
    Attachment.objects.update(checksum_sha256="")

    scan()

    assert Attachment.objects.get().checksum_sha256 == get_checksum(samples["image/png"])


class Picky:
    """A scanner of the host, with a defect."""

    def scan(self, chunks):
        raise ValueError


def test_a_scanner_of_the_host_that_breaks(user, attachment_of, use_scanner, caplog):
    attachment = attachment_of(user)
    use_scanner(SCANNER=f"{__name__}.Picky")

    report = json.loads(run("scan_attachments", "--json", status=1))

    assert (report["failed"], report["outage"]) == (1, None)
    assert f"Left undone: scan of {attachment.pk}" in caplog.text


def test_a_date_that_is_none(real_clamd):
    with pytest.raises(CommandError, match="not a date"):
        run("scan_attachments", "--before", "yesterday")


def test_a_file_that_changes_meanwhile_is_left_alone(infected, scan, monkeypatch):
    keep = rescans._keep

    def keep_late(attachment, found):
        Attachment.objects.update(storage_key=attachment.pending_key)
        return keep(attachment, found)

    monkeypatch.setattr(rescans, "_keep", keep_late)

    assert scan()["skipped"] == 1
    assert Attachment.objects.get().is_ready
