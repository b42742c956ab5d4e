"""From confirm to ready or infected, with a real ClamAV: states, objects, outages and kills."""

import json
import signal
from contextlib import nullcontext, suppress
from datetime import timedelta
from math import ceil
from typing import ClassVar

import pytest
import requests
from django.core.management import CommandError
from django.utils import timezone

from attachments import services, storage
from attachments.admin.display import show_backlog, show_scan
from attachments.errors import Infected, ScannerUnavailable, StorageUnavailable, Unscannable
from attachments.models import Attachment, ObjectDeletion
from attachments.scanning import Outcome, Verdict
from attachments.services import attempts, process, scan, scanned, verify
from attachments.services.attempts import Attempt
from attachments.storage import copies
from tests.clamd import EICAR, FOUND, STREAM_MAX_BYTES, answer, nest, play, read_file
from tests.commands import run, start
from tests.stores import get_checksum

pytestmark = pytest.mark.django_db


@pytest.fixture
def infected_content(samples):
    return samples["image/png"] + EICAR


@pytest.fixture
def confirm(upload):
    """Upload and confirm; give the row."""

    def make(user, **request):
        ticket = upload(user, **request)
        services.confirm_upload(attachment_id=ticket.attachment_id, user=user)
        return Attachment.find(ticket.attachment_id)

    return make


def process_now(row):
    services.process_attachment(attachment_id=row.pk)
    row.refresh_from_db()


def list_objects(bucket, row):
    """The keys of what there is of a file, but for its thumbnail."""
    services.remove_now()
    services.carry_out_deletions()
    keys = {item.key for item in bucket.objects.all() if str(row.pk) in item.key}
    return keys - set(Attachment.objects.values_list("thumbnail_key", flat=True))


def test_a_confirmed_file_waits_in_quarantine(user, confirm, bucket, real_clamd, samples):
    row = confirm(user)

    assert (row.status, row.is_quarantined, row.copy_key) == ("scanning", True, "")
    assert row.size_bytes == len(samples["image/png"])
    assert (row.confirmed_at, row.scan_outcome) == (None, "")
    assert list_objects(bucket, row) == {row.key}


def test_a_clean_file_is_published(user, confirm, bucket, real_clamd, samples):
    row = confirm(user, content_type="image/png", filename="a.png")
    quarantined = row.key

    process_now(row)

    assert (row.status, row.scan_outcome, row.waiting_since) == ("ready", "clean", None)
    assert row.scanner.startswith("ClamAV ")
    assert timezone.now() - row.scanned_at < timedelta(minutes=1)
    assert row.checksum_sha256 == get_checksum(samples["image/png"])
    assert row.key.startswith(f"attachments/{row.pk}/")
    assert quarantined.split("/")[2] not in row.key  # who knew that name knows nothing
    assert list_objects(bucket, row) == {row.key}
    answer = requests.get(services.get_download_url(row), timeout=10)
    assert (answer.content, answer.headers["Content-Type"]) == (samples["image/png"], "image/png")


def test_an_infected_file_is_refused(
    user, other_user, staff_user, api, confirm, bucket, real_clamd, infected_content, message_of
):
    row = confirm(user, content=infected_content, message_id=message_of(user, other_user).pk)

    process_now(row)

    assert (row.status, row.scan_outcome, row.confirmed_at) == ("infected", "infected", None)
    assert row.error == {"code": "infected", "params": {"signature": FOUND}}
    assert list_objects(bucket, row) == set()
    url = f"/api/v1/attachments/{row.pk}"
    for viewer in (user, staff_user):
        body = api(viewer).get(url).json()
        assert (body["status"], body["error"]["code"]) == ("infected", "infected")
        assert body["download_url"] is None
    assert api(other_user).get(url).status_code == 404
    with pytest.raises(Infected):
        services.confirm_upload(attachment_id=row.pk, user=user)


def test_confirm_answers_202_until_it_is_scanned(user, upload, api, real_clamd):
    body = {"attachment_id": str(upload(user).attachment_id)}
    answers = []
    for _ in range(3):
        response = api(user).post("/api/v1/attachments/confirm", body, format="json")
        answers.append((response.status_code, response.json()["status"]))
        if len(answers) == 2:
            services.process_waiting()

    assert answers == [(202, "scanning"), (202, "scanning"), (200, "ready")]


def test_confirm_answers_202_while_a_worker_scans(user, confirm, real_clamd):
    row = confirm(user)
    Attempt.take(row)

    again = services.confirm_upload(attachment_id=row.pk, user=user)

    assert again.status == "scanning"


def test_a_refused_confirm_is_422_with_its_code(user, confirm, api, real_clamd, infected_content):
    row = confirm(user, content=infected_content)
    process_now(row)

    body = {"attachment_id": str(row.pk)}
    response = api(user).post("/api/v1/attachments/confirm", body, format="json")

    (error,) = response.json()["errors"]
    assert (response.status_code, error["code"]) == (422, "infected")
    assert FOUND in error["detail"]


def make_deep(samples):
    return {"content_type": "application/zip", "content": nest(b"hello", depth=20)}


def make_large(samples):
    return {"content": samples["image/png"] + bytes(STREAM_MAX_BYTES)}


@pytest.mark.parametrize("make", [make_deep, make_large])
def test_what_cannot_be_scanned_is_rejected(
    user, confirm, settings, samples, bucket, real_clamd, make
):
    types = ["application/zip", "image/png"]
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "ALLOWED_CONTENT_TYPES": types}
    row = confirm(user, **make(samples))

    process_now(row)

    assert (row.status, row.scan_outcome) == ("rejected", "unscannable")
    assert row.error["code"] == Unscannable.code
    assert row.error["params"]["reason"]
    assert list_objects(bucket, row) == set()


def test_what_cannot_be_scanned_may_be_published_and_says_so(
    user, confirm, samples, real_clamd, use_scanner
):
    use_scanner(real_clamd.url, UNSCANNABLE="publish")
    row = confirm(user, **make_large(samples))

    process_now(row)
    services.process_attachment(attachment_id=row.pk)  # its SHA-256, which the scan did not see

    row.refresh_from_db()
    assert (row.status, row.scan_outcome) == ("ready", "unscannable")
    assert row.checksum_sha256 == get_checksum(make_large(samples)["content"])


def test_a_large_file_is_copied_in_parts_twice(
    user, confirm, samples, bucket, use_scanner, monkeypatch
):
    for module in (verify, scan):
        monkeypatch.setattr(module, "MAX_COPY_IN_REQUEST", 2**20)
    monkeypatch.setattr(copies, "PART_BYTES", 5 * 2**20)
    content = samples["image/png"] + bytes(6 * 2**20)
    with play(answer(b"stream: OK\0")) as fake:
        use_scanner(fake.url)
        row = confirm(user, content=content)
        assert (row.status, row.in_background) == ("verifying", True)

        process_now(row)

    assert (row.status, row.scan_outcome) == ("ready", "clean")
    assert list_objects(bucket, row) == {row.key}
    assert bucket.Object(row.key).get()["Body"].read() == content


@pytest.mark.parametrize(
    ("error", "is_lost"), [(storage.ObjectChanged, False), (storage.UploadNotFound, True)]
)
def test_a_copy_in_parts_that_breaks_is_made_again(
    user, confirm, bucket, real_clamd, monkeypatch, error, is_lost
):
    """Whether by the store, or by whoever took the row and aborted the upload."""
    row = confirm(user)
    monkeypatch.setattr(scan, "MAX_COPY_IN_REQUEST", 0)

    def fail(**kwargs):
        if is_lost:
            Attachment.objects.update(lease_expires_at=timezone.now())
            Attempt.take(Attachment.find(row.pk))
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(storage, "copy_in_parts", fail)
        with nullcontext() if is_lost else pytest.raises(StorageUnavailable):
            process_now(row)

    row.refresh_from_db()
    assert (row.status, row.is_leased) == ("scanning", True)
    Attachment.objects.update(lease_expires_at=timezone.now())
    services.process_attachment(attachment_id=row.pk)
    row.refresh_from_db()
    assert row.is_ready
    assert list_objects(bucket, row) == {row.key}


def test_without_a_scanner_nothing_waits(user, confirm):
    row = confirm(user)

    assert (row.status, row.scan_outcome, row.scanned_at) == ("ready", "", None)


# The scanner is away


def test_a_file_waits_for_a_scanner_that_is_down(user, confirm, use_scanner, real_clamd):
    use_scanner("unix:///nowhere/clamd.sock")
    row = confirm(user)
    waits = []
    for _ in range(6):
        with pytest.raises(ScannerUnavailable):
            process_now(row)
        row.refresh_from_db()
        waits.append(row.lease_expires_at - timezone.now())
        process_now(row)  # not yet its time
        assert row.status == "scanning"
        Attachment.objects.update(lease_expires_at=timezone.now())
        row.refresh_from_db()

    assert [ceil(wait / timedelta(minutes=1)) for wait in waits] == [1, 2, 4, 8, 15, 15]
    assert row.tries == len(waits)
    use_scanner(real_clamd.url)
    process_now(row)
    assert (row.status, row.tries) == ("ready", 0)


def test_a_verdict_on_other_bytes_is_none(user, confirm, monkeypatch, real_clamd):
    """A page of a proxy in the place of the file is clean."""
    row = confirm(user)
    monkeypatch.setattr(storage, "read_object", lambda key: iter([b"<html>Please log in</html>"]))

    with pytest.raises(StorageUnavailable):
        process_now(row)

    row.refresh_from_db()
    assert (row.status, row.scan_outcome) == ("scanning", "")


def test_the_command_says_what_still_waits(user, confirm, use_scanner, real_clamd):
    use_scanner("unix:///nowhere/clamd.sock")
    confirm(user)

    report = json.loads(run("process_attachments", "--json", status=1))
    outage = report.pop("outage")
    assert outage.startswith("The virus scanner is not available")
    assert report == {"processed": 0, "failed": 1, "waiting": 1, "without_scanner": 0}
    report = json.loads(run("process_attachments", "--json", "--stuck", status=1))
    assert (report["failed"], report["waiting"], report["outage"]) == (0, 1, None)  # it is put off
    use_scanner(real_clamd.url)
    assert "Still waiting" in run("process_attachments")
    assert Attachment.objects.get().is_ready


def test_a_scanner_that_is_restarted(user, confirm, real_clamd):
    row = confirm(user)
    real_clamd.stop()
    with pytest.raises(ScannerUnavailable):
        process_now(row)
    real_clamd.start()

    report = services.process_waiting(with_put_off=True)

    row.refresh_from_db()
    assert (report.processed, report.waiting, row.status) == (1, 0, "ready")


def test_a_task_nudges_itself_when_its_file_is_to_be_tried_again(
    user, confirm, use_scanner, settings
):
    settings.TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
    from django_tasks_db.models import DBTaskResult

    from attachments import tasks

    use_scanner("unix:///nowhere/clamd.sock")
    row = confirm(user)
    with pytest.raises(ScannerUnavailable):
        tasks.process_attachments.call([str(row.pk)])

    row.refresh_from_db()
    assert DBTaskResult.objects.filter(run_after=row.lease_expires_at).count() == 1


def test_a_scanner_that_is_down_keeps_nothing_else_waiting(
    user, confirm, attachment_of, use_scanner, monkeypatch
):
    unhashed = attachment_of(user)
    Attachment.objects.update(checksum_sha256="")
    use_scanner("unix:///nowhere/clamd.sock")
    rows = [confirm(user) for _ in range(process.MAX_OUTAGES_IN_A_ROW + 1)]

    report = services.process_waiting()

    unhashed.refresh_from_db()
    assert unhashed.checksum_sha256
    assert (report.processed, report.failed) == (1, process.MAX_OUTAGES_IN_A_ROW)
    assert report.waiting == len(rows)


def test_a_scanner_of_the_host_that_breaks_keeps_nothing_else_waiting(
    user, confirm, use_scanner, real_clamd, monkeypatch
):
    broken, other = confirm(user), confirm(user)
    scan_object = scan.scan_object

    def scan_or_break(attachment, **options):
        if attachment.pk == broken.pk:
            raise ValueError
        return scan_object(attachment, **options)

    monkeypatch.setattr(scan, "scan_object", scan_or_break)

    report = services.process_waiting()

    assert (report.processed, report.failed, report.waiting) == (1, 1, 1)
    assert Attachment.find(broken.pk).status == "scanning"
    assert Attachment.find(other.pk).is_ready


def test_a_purge_goes_on_without_the_scanner(user, confirm, use_scanner):
    use_scanner("unix:///nowhere/clamd.sock")
    confirm(user)

    assert services.purge_attachments().processed == 0
    assert Attachment.objects.get().status == "scanning"


@pytest.mark.django_db(transaction=True)  # health asks by a connection of its own
def test_files_that_were_to_be_scanned_wait_when_the_scanner_is_taken_away(
    user, confirm, use_scanner, api, real_clamd
):
    """Rather than pass: one machine may lack the setting. Whoever looks is told of them."""
    row = confirm(user)
    use_scanner("")

    with pytest.raises(ScannerUnavailable):
        process_now(row)
    report = json.loads(run("process_attachments", "--json", "--stuck", status=1))

    row.refresh_from_db()
    assert row.status == "scanning"
    assert (report["waiting"], report["without_scanner"]) == (1, 1)
    assert "--publish-unscanned" in run("process_attachments", status=1)
    Attachment.objects.update(waiting_since=timezone.now() - timedelta(hours=2))
    assert "--publish-unscanned" in show_backlog(services.find_backlog())
    assert api().get("/health").json()["waiting"]["without_scanner"] == 1


def test_a_person_may_publish_what_waits_for_a_scanner_that_is_gone(
    user, confirm, use_scanner, bucket, real_clamd
):
    row = confirm(user)
    with pytest.raises(CommandError) as error:  # while there is one
        run("process_attachments", "--publish-unscanned")
    assert error.value.returncode == 2
    use_scanner("")
    run("process_attachments", status=1)  # it is put off now

    report = json.loads(run("process_attachments", "--publish-unscanned", "--json"))

    row.refresh_from_db()
    assert (report["processed"], report["waiting"], report["without_scanner"]) == (1, 0, 0)
    assert (row.status, row.scan_outcome, row.scanned_at) == ("ready", "", None)
    assert show_scan(row) == "not scanned"
    assert list_objects(bucket, row) == {row.key}
    use_scanner(real_clamd.url)
    assert json.loads(run("scan_attachments", "--json"))["clean"] == 1


def test_what_another_machine_scans_at_this_moment_is_not_published(
    user, confirm, use_scanner, real_clamd
):
    row, held = confirm(user), confirm(user)
    attempt = Attempt.take(Attachment.find(held.pk))
    use_scanner("")

    assert services.publish_unscanned() == 1

    row.refresh_from_db(), held.refresh_from_db()
    assert (row.status, held.status, held.copy_key) == ("ready", "scanning", attempt.key)


def test_one_that_cannot_be_published_keeps_no_other_from_it(
    user, confirm, use_scanner, real_clamd, monkeypatch
):
    other, broken = confirm(user), confirm(user)
    use_scanner("")

    def release_or_fail(attachment):
        if attachment.pk == broken.pk:
            raise StorageUnavailable
        scan.release_unscanned(attachment)

    monkeypatch.setattr(process, "release_unscanned", release_or_fail)

    assert services.publish_unscanned() == 1
    assert Attachment.find(other.pk).is_ready
    assert Attachment.find(broken.pk).status == "scanning"


class Hasty:
    """A scanner of the host that does not read the file."""

    def scan(self, chunks):
        return Verdict(outcome=Outcome.CLEAN)


class Thorough:
    """A scanner of the host."""

    def scan(self, chunks):
        content = b"".join(chunks)
        outcome = Outcome.INFECTED if b"bad" in content else Outcome.CLEAN
        return Verdict(outcome=outcome, reason="word", scanner="x" * 200)


def test_a_scanner_of_the_host(user, confirm, use_scanner, samples):
    use_scanner(SCANNER=f"{__name__}.Thorough")
    good, bad = confirm(user), confirm(user, content=samples["image/png"] + b"bad")

    services.process_waiting()

    good.refresh_from_db(), bad.refresh_from_db()
    assert (good.status, good.scanner, bad.status) == ("ready", "x" * 100, "infected")


class Quick:
    """A scanner of the host that knows what is bad from its first bytes."""

    def scan(self, chunks):
        next(chunks)
        return Verdict(outcome=Outcome.INFECTED, reason="word")


def test_what_is_infected_need_not_be_read_to_its_end(user, confirm, use_scanner):
    use_scanner(SCANNER=f"{__name__}.Quick")
    row = confirm(user)
    Attachment.objects.update(checksum_sha256="")
    row.refresh_from_db()

    process_now(row)

    assert (row.status, row.error["params"]) == ("infected", {"signature": "word"})
    assert row.checksum_sha256 == ""  # that of the first bytes is not its own


def test_nothing_is_clean_that_was_not_read(user, confirm, use_scanner):
    use_scanner(SCANNER=f"{__name__}.Hasty")
    row = confirm(user)

    with pytest.raises(ScannerUnavailable) as error:
        process_now(row)

    assert error.value.reason == "it called clean what it had not read"


# The store is away, or has lost something


@pytest.mark.parametrize("function", ["read_object", "copy_object", "inspect_object"])
def test_the_store_fails_at_any_step(user, confirm, bucket, real_clamd, monkeypatch, function):
    row = confirm(user)

    def fail(*args, **kwargs):
        raise StorageUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(storage, function, fail)
        with pytest.raises(StorageUnavailable):
            process_now(row)

    row.refresh_from_db()
    assert (row.status, row.tries, row.copy_key) == ("scanning", 1, "")
    services.process_waiting(with_put_off=True)
    row.refresh_from_db()
    assert row.is_ready
    assert list_objects(bucket, row) == {row.key}


def test_a_copy_that_is_not_there_is_not_served(user, confirm, real_clamd, monkeypatch):
    row = confirm(user)
    monkeypatch.setattr(storage, "copy_object", lambda **kwargs: "")

    with pytest.raises(StorageUnavailable):
        process_now(row)

    row.refresh_from_db()
    assert row.status == "scanning"


def test_a_file_that_quarantine_lost_is_refused(user, confirm, bucket, real_clamd):
    row = confirm(user)
    bucket.Object(row.key).delete()

    process_now(row)

    assert (row.status, row.error["code"]) == ("rejected", "object_missing")


def test_a_file_that_is_deleted_while_it_waits(user, confirm, bucket, real_clamd):
    row = confirm(user)
    list_objects(bucket, row)

    services.delete_attachment(attachment_id=row.pk, user=user)

    assert list_objects(bucket, row) == set()


# Killed between any two steps


class Killed(BaseException):
    """Nothing that runs after it does anything: as after SIGKILL."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("where", "name"),
    [
        (Attempt, "take"),
        (scan, "scan_object"),
        (storage, "copy_object"),
        (scan, "check_copy"),
        (scan, "keep_linkable_message"),
        (attempts, "carry_out_notes_of"),
    ],
)
@pytest.mark.parametrize("kind", ["clean", "infected"])
def test_a_worker_dies_between_two_steps(
    user, confirm, bucket, real_clamd, infected_content, samples, where, name, after, kind
):
    content = infected_content if kind == "infected" else samples["image/png"]
    row = confirm(user, content=content)

    with pytest.MonkeyPatch.context() as patch:
        steps = _Dying(patch, where, name, after=after)
        with suppress(Killed):
            process_now(row)
        died = steps.died

    assert died or kind == "infected"  # which makes no copy
    Attachment.objects.filter(copy_key__gt="").update(lease_expires_at=timezone.now())
    run("process_attachments", "--stuck")
    row.refresh_from_db()
    assert row.status == ("ready" if kind == "clean" else "infected")
    ObjectDeletion.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    assert list_objects(bucket, row) == ({row.key} if kind == "clean" else set())


class _Dying:
    """Dies before or after a call; nothing that runs after it does anything, as after SIGKILL."""

    def __init__(self, patch, where, name, *, after):
        self.died = False
        step = getattr(where, name)

        def stop(*args, **kwargs):
            if after:
                step(*args, **kwargs)
            self.died = True
            for method in ("_give_up", "_give_way"):
                patch.setattr(Attempt, method, lambda attempt: None)
            raise Killed

        patch.setattr(where, name, stop)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_worker_is_killed_while_clamd_scans(user, confirm, bucket, clamd_server, use_scanner):
    """By SIGKILL, in a process of its own."""
    process = None

    def kill(connection):
        read_file(connection)
        process.kill()

    with play(kill) as fake:
        use_scanner(fake.url)
        row = confirm(user)
        process = start("process_attachments", env={"ATTACHMENTS_CLAMAV_URL": fake.url})
        assert process.wait(timeout=60) == -signal.SIGKILL

    held = Attachment.objects.get()
    assert (held.status, held.copy_key > "") == ("scanning", True)
    use_scanner(clamd_server.url)
    assert services.process_waiting().processed == 0  # the lease of the dead keeps others out
    Attachment.objects.update(lease_expires_at=timezone.now())
    run("process_attachments", "--stuck")
    row.refresh_from_db()
    assert row.is_ready
    assert list_objects(bucket, row) == {row.key}


def test_a_task_that_runs_twice_at_once(user, confirm, bucket, real_clamd, monkeypatch):
    row = confirm(user)
    scan_object = scanned.scan_object

    def scan_twice(*args, **kwargs):
        services.process_attachment(attachment_id=row.pk)  # finds it taken
        return scan_object(*args, **kwargs)

    monkeypatch.setattr(scan, "scan_object", scan_twice)
    process_now(row)
    services.process_attachment(attachment_id=row.pk)

    assert row.is_ready
    assert list_objects(bucket, row) == {row.key}


def test_a_worker_that_wakes_up_too_late_publishes_nothing(
    user, confirm, bucket, real_clamd, monkeypatch
):
    row = confirm(user)
    copy_object, winners = storage.copy_object, []

    def pause(**kwargs):
        """Others finish meanwhile."""
        monkeypatch.setattr(storage, "copy_object", copy_object)
        Attachment.objects.update(lease_expires_at=timezone.now())
        services.process_attachment(attachment_id=row.pk)
        winners.append(Attachment.objects.get().key)
        return copy_object(**kwargs)

    monkeypatch.setattr(storage, "copy_object", pause)
    process_now(row)

    assert (row.status, [row.key]) == ("ready", winners)
    assert list_objects(bucket, row) == {row.key}


def test_a_file_that_is_deleted_while_a_worker_copies_it(
    user, confirm, bucket, real_clamd, monkeypatch
):
    row = confirm(user)
    copy_object = storage.copy_object

    def copy_late(**kwargs):
        copy_object(**kwargs)
        services.delete_attachment(attachment_id=row.pk, user=user)

    monkeypatch.setattr(storage, "copy_object", copy_late)

    services.process_attachment(attachment_id=row.pk)

    assert list_objects(bucket, row) == set()


def test_a_lease_outlives_the_answer_of_a_scanner(user, confirm, real_clamd):
    row = confirm(user)
    Attempt.take(row)

    row.refresh_from_db()
    assert ceil((row.lease_expires_at - timezone.now()) / timedelta(minutes=1)) == 5


class Watched:
    """A scanner of the host; it notes whether the file is leased as it gets bytes and thinks."""

    leases: ClassVar[list[bool]] = []

    def scan(self, chunks):
        for _chunk in chunks:
            self.note_lease()
        self.note_lease()
        return Verdict(outcome=Outcome.CLEAN)

    def note_lease(self):
        self.leases.append(Attachment.objects.get().is_leased)
        Attachment.objects.update(lease_expires_at=timezone.now())


def test_the_lease_is_renewed_by_each_chunk_and_before_the_copy(
    user, confirm, use_scanner, monkeypatch
):
    """It is over whenever somebody has looked."""
    use_scanner(SCANNER=f"{__name__}.Watched")
    row = confirm(user)
    read_object, copy_object = storage.read_object, storage.copy_object

    def read_in_two(key):
        content = b"".join(read_object(key))
        yield from (content[:9], content[9:])

    def copy_watched(**kwargs):
        Watched().note_lease()
        return copy_object(**kwargs)

    monkeypatch.setattr(storage, "read_object", read_in_two)
    monkeypatch.setattr(storage, "copy_object", copy_watched)
    monkeypatch.setattr(attempts, "LEASE", timedelta(0))  # a good part of it is over at once
    monkeypatch.setattr(Watched, "leases", [])
    process_now(row)

    assert row.is_ready
    assert Watched.leases == [True] * 4


def test_a_long_backlog_is_not_counted_to_its_end(user, confirm, real_clamd, monkeypatch):
    for _ in range(3):
        confirm(user)
    Attachment.objects.update(waiting_since=timezone.now() - timedelta(hours=2))
    monkeypatch.setattr(process, "MAX_COUNTED", 2)

    assert services.find_backlog().files == 2


def test_of_a_backlog_those_are_told_that_no_scanner_will_take(user, upload):
    for status in ("verifying", "scanning"):
        moment = timezone.now() - timedelta(hours=2)
        rows = Attachment.objects.filter(pk=upload(user, content=None).attachment_id)
        rows.update(status=status, waiting_since=moment, lease_expires_at=moment)

    backlog = services.find_backlog()

    assert (backlog.files, backlog.without_scanner) == (2, 1)


@pytest.mark.django_db(transaction=True)  # health asks by a connection of its own
def test_the_backlog_is_told_when_it_is_old(user, confirm, api, real_clamd):
    row = confirm(user)
    assert services.find_backlog() is None  # a worker will take it any moment

    since = timezone.now() - timedelta(hours=2)
    Attachment.objects.update(waiting_since=since)

    backlog = services.find_backlog()
    assert (backlog.files, backlog.without_scanner, backlog.since) == (1, 0, since)
    response = api().get("/health")
    assert response.status_code == 200  # the site works
    assert response.json()["waiting"]["files"] == 1
    process_now(row)
    assert services.find_backlog() is None
