"""Whether a worker lives, and a worker that outlives its database."""

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from datetime import timedelta
from urllib.parse import urlsplit

import psycopg
import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from django_tasks_db.management.commands.db_worker import Worker

from attachments import services, tasks
from attachments.models import WorkerSign
from tests.commands import IMMEDIATE
from tests.databases import get_database_url

pytestmark = pytest.mark.django_db
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)


def grow_older(**ages):
    now = timezone.now()
    WorkerSign.objects.update(**{name: now - age for name, age in ages.items()})


def test_nothing_was_asked():
    assert services.find_silence() is None


@pytest.mark.django_db(transaction=True)
def test_a_task_that_nobody_begins():
    tasks.refresh_usage.enqueue()
    assert services.find_silence() is None

    grow_older(asked_at=timedelta(seconds=11))
    tasks.refresh_usage.enqueue()  # others who ask do not begin to wait anew

    assert services.find_silence().seen_at is None


def test_nobody_waits_for_whoever_asks_in_a_transaction(django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        tasks.refresh_usage.enqueue()
        assert not WorkerSign.objects.exists()

    assert WorkerSign.objects.get().asked_at


@pytest.mark.django_db(transaction=True)
def test_a_task_that_a_worker_begins():
    tasks.refresh_usage.enqueue()
    grow_older(asked_at=timedelta(seconds=11))

    call_command("db_worker", batch=True, interval=0, verbosity=0)

    assert services.find_silence() is None
    assert WorkerSign.objects.get().expected_by is None


@pytest.mark.django_db(transaction=True)
def test_a_task_for_later_asks_nobody_now():
    tasks.refresh_usage.using(run_after=timezone.now() + timedelta(hours=1)).enqueue()

    assert not WorkerSign.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_without_workers_nobody_is_missed(settings):
    settings.TASKS = {"default": {"BACKEND": IMMEDIATE}}

    with transaction.atomic():
        tasks.refresh_usage.enqueue()

    assert WorkerSign.objects.get().asked_at is None


def test_a_worker_that_was_seen_and_begins_nothing_any_more():
    services.note_sign()
    for _ in range(2):  # the first question, and one after an answer
        services.note_question()
        services.note_question()
        sign = WorkerSign.objects.get()
        assert sign.asked_at > sign.seen_at

        grow_older(seen_at=timedelta(seconds=20), asked_at=timedelta(seconds=11))
        assert services.find_silence() == sign
        services.note_sign()
        assert services.find_silence() is None


def test_a_question_is_no_sign_of_a_worker():
    services.note_question()
    assert not services.has_seen_worker()

    services.note_sign()

    assert services.has_seen_worker()


def test_a_worker_that_does_not_keep_its_promise():
    services.note_sign(next_within=timedelta(minutes=2))
    assert services.find_silence() is None

    grow_older(expected_by=timedelta(seconds=1))

    assert services.find_silence() == WorkerSign.objects.get()


def test_a_worker_that_was_told_to_stop_does_not_wait_for_its_database(monkeypatch):
    def run(worker):
        worker.running_task = True
        signal.raise_signal(signal.SIGTERM)
        raise OperationalError

    before = {number: signal.getsignal(number) for number in STOPS}
    monkeypatch.setattr(Worker, "run", run)
    monkeypatch.setattr("nodus.management.commands.db_worker._leaving_signs", nullcontext)
    try:
        call_command("db_worker", verbosity=0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_the_worker_outlives_its_database(tmp_path):
    url = get_database_url()
    options, separator = "pool=false&application_name=worker", "&" if "?" in url else "?"
    log = tmp_path / "log"
    name = connection.settings_dict["NAME"]
    server = urlsplit(url)._replace(path="/postgres").geturl()
    with psycopg.connect(server, autocommit=True) as database, log.open("w") as output:
        worker = subprocess.Popen(
            [sys.executable, "manage.py", "db_worker", "--interval=0.1", "--no-startup-delay"],
            env={**os.environ, "DATABASE_URL": f"{url}{separator}{options}"},
            stdout=output,
            stderr=output,
        )
        try:
            wait_until(WorkerSign.objects.filter(expected_by__gt=timezone.now()).exists, log)
            try:
                database.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
                database.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'worker'"
                )
                wait_until(lambda: "waits for the database" in log.read_text(), log)
            finally:
                database.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
            result = tasks.refresh_usage.enqueue()
            wait_until(lambda: tasks.refresh_usage.get_result(result.id).is_finished, log)
            assert worker.poll() is None
        finally:
            worker.terminate()
            worker.wait(20)
    assert "Traceback" not in log.read_text()


def wait_until(is_so, log):
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
