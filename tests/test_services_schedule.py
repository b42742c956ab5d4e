"""Periodic work, and the command that runs it."""

import signal
import threading
import time
from datetime import timedelta

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.db.models.functions import Now
from django.utils import timezone

from attachments import services
from attachments.errors import StorageUnavailable
from attachments.management.commands import run_schedule
from attachments.models import Attachment, PeriodicJob
from attachments.services import schedule
from attachments.services.schedule import Job
from tests.commands import run, start
from tests.stores import take_store_away

pytestmark = pytest.mark.django_db


@pytest.fixture
def jobs(monkeypatch):
    """Replace the jobs; ``ran`` has the names of those that ran."""

    def use(**functions):
        monkeypatch.setattr(
            schedule,
            "JOBS",
            [Job(name=name, every=timedelta(days=1), run=run) for name, run in functions.items()],
        )

    return use


def let_all_be_due():
    PeriodicJob.objects.update(due_at=timezone.now() - timedelta(seconds=1))


def measure_wait(name):
    return PeriodicJob.objects.get(name=name).due_at - timezone.now()


def test_everything_is_due_at_first_and_then_in_its_time(user, attachment_of, bucket):
    names = services.run_due_jobs()

    assert names == ["process", "idempotency_keys", "usage", "purge"]
    assert services.run_due_jobs() == []
    assert timedelta(hours=23) < measure_wait("purge") < timedelta(days=1)
    assert measure_wait("process") < timedelta(minutes=1)
    assert services.find_next_due() == PeriodicJob.objects.get(name="process").due_at


def test_the_schedule_does_what_is_stuck(user, upload, bucket):
    upload(user)
    now = timezone.now()
    Attachment.objects.update(status="verifying", waiting_since=now, lease_expires_at=now)

    services.run_due_jobs()

    assert Attachment.objects.get().is_ready


def test_a_job_that_another_runs_is_left_alone(jobs):
    ran = []

    def first():
        ran.append("first")
        assert services.run_due_jobs() == []  # what another machine does meanwhile

    jobs(first=first)
    services.run_due_jobs()

    assert ran == ["first"]


def test_a_job_of_a_run_that_was_killed_is_soon_due_again(jobs):
    class Killed(BaseException):
        pass

    def die():
        raise Killed

    jobs(purge=die)
    with pytest.raises(Killed):
        services.run_due_jobs()
    assert measure_wait("purge") < timedelta(0)  # it could say so itself

    # After SIGKILL it cannot.
    PeriodicJob.objects.update(due_at=Now() + schedule.LEASE, run_id="0" * 32)
    assert services.run_due_jobs() == []
    let_all_be_due()
    jobs(purge=lambda: None)
    assert services.run_due_jobs() == ["purge"]
    assert PeriodicJob.objects.get().run_id is None


@pytest.mark.parametrize("error", [StorageUnavailable, ValueError])
def test_a_job_that_fails_keeps_no_other_waiting(jobs, told, error):
    def fail():
        raise error

    jobs(purge=fail, usage=lambda: None)

    assert services.run_due_jobs() == ["usage"]
    assert timedelta(minutes=4) < measure_wait("purge") < timedelta(minutes=5)
    ended = told("job_ended")
    assert [(run["job"], run["is_done"]) for run in ended] == [("purge", False), ("usage", True)]
    assert all(0 <= run["seconds"] < 60 for run in ended)


def test_a_cause_is_logged_once(settings, caplog):
    take_store_away(settings)

    services.run_due_jobs()

    assert caplog.text.count("Could not connect") == 1
    assert "Left undone: job purge: StorageUnavailable" in caplog.text


def test_what_a_run_once_left_undone_is_its_exit_status(jobs):
    def fail():
        raise ValueError("why")

    jobs(purge=fail, usage=lambda: None)

    text = run("run_schedule", "--once", status=1)

    assert text == "purge: left undone (why)\nusage: done\n"


def test_a_run_that_woke_up_too_late_puts_nothing_off(jobs):
    def sleep():
        PeriodicJob.objects.update(run_id="1" * 32, due_at=timezone.now())

    jobs(purge=sleep)
    services.run_due_jobs()

    assert measure_wait("purge") < timedelta(0)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [None, OperationalError, InterfaceError])
def test_a_long_job_keeps_its_lease(jobs, monkeypatch, caplog, error):
    """Also if the database is away when the lease is to be renewed for the first time."""
    other = PeriodicJob.objects.create(name="other", due_at=timezone.now())
    waits = []

    class Hurry(threading.Event):
        """Notes how long it was to wait, and which connection the thread holds meanwhile."""

        def wait(self, timeout):
            waits.append((timeout, connection.connection))
            return super().wait(0.01)

    def fail_once():
        if threading.current_thread() is not threading.main_thread():
            monkeypatch.setattr(schedule, "Now", Now)
            raise error
        return Now()

    if error:
        monkeypatch.setattr(schedule, "Now", fail_once)

    def look():
        before = PeriodicJob.objects.get(name="purge").due_at
        deadline = time.monotonic() + 30
        while PeriodicJob.objects.get(name="purge").due_at <= before:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    monkeypatch.setattr(schedule, "Event", Hurry)
    jobs(purge=look)

    assert services.run_due_jobs() == ["purge"]
    assert len(waits) > 1
    assert all(seconds < schedule.LEASE.total_seconds() / 2 for seconds, _held in waits)
    assert {held for _seconds, held in waits} == {None}
    assert ("could not be renewed" in caplog.text) is bool(error)
    assert PeriodicJob.objects.get(name="other").due_at == other.due_at


def test_the_command_runs_what_is_due_once(jobs):
    ran = []
    jobs(purge=lambda: ran.append(1))

    run("run_schedule", "--once")
    run("run_schedule", "--once")

    assert ran == [1]


def test_the_schedule_waits_for_a_database_that_is_away(monkeypatch):
    def fail(**options):
        raise OperationalError

    monkeypatch.setattr(services, "run_due_jobs", fail)
    monkeypatch.setattr(connection, "close", lambda: None)

    assert run_schedule._run_due_jobs() == run_schedule.MAX_PAUSE_SECONDS


def test_a_stop_within_a_statement_is_not_lost(monkeypatch):
    """What tidies up then finds the connection busy, and says so instead."""

    def stop(**options):
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            raise OperationalError("another command is already in progress")

    monkeypatch.setattr(services, "run_due_jobs", stop)
    monkeypatch.setattr(connection, "close", lambda: None)

    run("run_schedule")


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_schedule_that_is_stopped_leaves_its_work_to_the_next(user, attachment_of, signum):
    attachment_of(user)
    process = start("run_schedule")
    try:
        deadline = time.monotonic() + 60
        while not PeriodicJob.objects.filter(name="process", run_id=None).exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.send_signal(signum)
        status = process.wait(timeout=30)

    assert status == (0 if signum == signal.SIGTERM else -signum)
    let_all_be_due()
    assert set(services.run_due_jobs()) == {job.name for job in schedule.JOBS}
