"""Whether `make chaos` would see a loss or a leak, and how its clients and its parts behave."""

import sys
import time

import psutil
import pytest

from attachments.models import Attachment
from tests.chaos.faults import Weather
from tests.chaos.parts import Part, Program, find_tree
from tests.chaos.proof import prove
from tests.load import caller
from tests.load.crowd import Crowd
from tests.load.tally import LOST

postgres = pytest.mark.postgres
FILES = 4


@pytest.fixture
def crowd(transactional_db, live_server, empty_bucket, monkeypatch):
    """One client, who has played, lost some answers, and never waited long."""
    monkeypatch.setattr(caller, "sleep", lambda seconds: time.sleep(0.02))
    port = int(live_server.url.rpartition(":")[2])
    crowd = Crowd(ports=[port], clients=1, sizes=(3000,), keeps=0.7, loses=0.3, seed=4)
    flow = crowd.make_flow(0)
    for _ in range(FILES):
        flow.play()
    flow.close()
    return crowd


def look(crowd):
    return prove(uploads=crowd.journal.uploads, port=crowd.ports[0])


@postgres
def test_a_client_that_loses_answers_ends_with_one_attachment_a_file(crowd):
    uploads = crowd.journal.uploads

    assert crowd.tally.problems == []
    assert crowd.tally.errors[LOST] > 0
    assert len(crowd.tally.steps["flow"].seconds) == FILES
    assert {True, False} == {upload.is_deleted for upload in uploads}
    kept = {upload.ids[0] for upload in uploads if not upload.is_deleted}
    assert {str(row.pk) for row in Attachment.objects.all()} == kept
    proof = look(crowd)
    assert (proof.lost, proof.leaked, proof.problems) == ([], [], [])
    assert (proof.files_read, proof.bytes_read) == (len(kept), 3000 * len(kept))


@postgres
def test_losses_and_a_leak_are_found(crowd, bucket):
    without_row, without_object, changed = Attachment.objects.all()[:3]
    Attachment.objects.filter(pk=without_row.pk).delete()
    bucket.Object(without_object.key).delete()
    bucket.Object(changed.key).put(Body=b"%PDF-1.7 other bytes")
    bucket.Object(f"attachments/{changed.pk}/{'0' * 32}/copy.pdf").put(Body=b"%PDF-1.7")

    proof = look(crowd)

    for row in (without_row, without_object, changed):
        assert str(row.pk) in " ".join(proof.lost)
    assert "copy.pdf" in " ".join(proof.leaked)


@pytest.fixture
def program(tmp_path):
    with (tmp_path / "log").open("w") as log:
        program = Program(
            name="sleeper",
            command=[sys.executable, "-c", "import time; time.sleep(60)"],
            environment={},
            log=log,
        )
        program.start()
        yield program
        program.stop()


def wait_until(holds):
    """A signal takes a moment."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_part_hangs_goes_on_and_is_killed(program):
    part = Part(name="sleeper", find=lambda: find_tree(program.pid), start=program.start)
    process = psutil.Process(program.pid)

    part.hang()
    wait_until(lambda: process.status() == psutil.STATUS_STOPPED)
    part.go_on()
    wait_until(lambda: process.status() != psutil.STATUS_STOPPED)
    part.kill()
    assert program.has_ended
    part.start()
    assert not program.has_ended


def test_a_seed_tells_what_happens_when():
    part = Part(name="sleeper", find=list, stop=lambda: None)

    def plan(seed):
        planned = Weather(seed=seed, tell=print).plan(part)
        return [next(planned) for _ in range(50)]

    assert plan(1) == plan(1) != plan(2)
    assert {fault.kind for _, fault, _ in plan(1)} == {"hangs", "is killed", "stops"}


def test_a_part_that_does_not_come_back_is_told():
    weather = Weather(seed=1, tell=print, pace=1000)
    part = Part(name="broken", find=list, slow=lambda seconds: 1 / 0)

    weather.rage([part], seconds=0.5)

    assert weather.problems == ["broken did not come back: ZeroDivisionError('division by zero')"]
