"""Workers hear of served files soon after the answers, of many in one task."""

import atexit
import multiprocessing
import queue
import time
from threading import Thread

import pytest
from django.db import connections, transaction
from django_tasks_db import DatabaseBackend
from django_tasks_db.models import DBTaskResult

from attachments import services, tasks
from attachments.errors import StorageUnavailable
from attachments.services import nudges, process, soon
from attachments.services.soon import Soon

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _tasks_in_the_database(settings):
    settings.TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}


def confirm(upload, user):
    ticket = upload(user)
    services.confirm_upload(attachment_id=ticket.attachment_id, user=user)
    return str(ticket.attachment_id)


def wait_for(find):
    deadline = time.monotonic() + 10
    while not (found := find()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_files_that_were_confirmed_together_are_one_task(user, upload, monkeypatch):
    monkeypatch.setattr(soon, "DELAY_SECONDS", 1)

    ids = [confirm(upload, user) for _ in range(3)]

    (task,) = wait_for(lambda: list(DBTaskResult.objects.all()))
    assert task.task_path == "attachments.tasks.process_attachments"
    assert sorted(task.args_kwargs["args"][0]) == sorted(ids)


def test_many_files_are_shared_by_workers(user, upload):
    nudges.served.take()
    for number in range(25):
        nudges.served.add((str(number), f"request-{number}"))

    nudges.served.do_now()

    sizes = [len(task.args_kwargs["args"][0]) for task in DBTaskResult.objects.all()]
    assert sorted(sizes) == [5, 10, 10]
    for task in DBTaskResult.objects.all():
        ids, request_ids = task.args_kwargs["args"]
        assert request_ids == [f"request-{number}" for number in ids]


def test_a_repeated_confirm_tells_of_what_is_left_and_of_nothing_else(user, upload):
    ticket = upload(user)

    def confirm_and_listen():
        services.confirm_upload(attachment_id=ticket.attachment_id, user=user)
        return [attachment_id for attachment_id, _request_id in nudges.served.take()]

    nudges.served.take()
    assert confirm_and_listen() == confirm_and_listen() == [str(ticket.attachment_id)]

    services.process_attachment(attachment_id=ticket.attachment_id)
    assert confirm_and_listen() == []


def test_nobody_is_told_of_what_was_rolled_back(user, upload):
    with pytest.raises(RuntimeError), transaction.atomic():
        confirm(upload, user)
        assert nudges.served.take() == []  # not before the commit either
        raise RuntimeError

    assert nudges.served.take() == []


@pytest.mark.postgres
def test_what_follows_the_answers_keeps_no_connection(monkeypatch):
    """The thread ends: nobody else would give its connection back to the pool."""
    monkeypatch.setattr(soon, "DELAY_SECONDS", 0)
    used = []

    def ask(items):
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT 1")
        used.append(connections["default"])

    Soon(ask).add("anything")

    (connection,) = wait_for(lambda: list(used))
    wait_for(lambda: connection.connection is None)


def test_one_file_that_fails_stops_no_other_of_its_task(user, upload, monkeypatch):
    ids = sorted(confirm(upload, user) for _ in range(3))
    done = []

    def fail_for_the_first(*, attachment_id):
        if str(attachment_id) == ids[0]:
            raise StorageUnavailable
        done.append(str(attachment_id))

    monkeypatch.setattr(process, "process_attachment", fail_for_the_first)
    with pytest.raises(StorageUnavailable):
        tasks.process_attachments.call(ids)

    assert done == ids[1:]
    (task,) = DBTaskResult.objects.all()
    assert (task.args_kwargs["args"], task.run_after is None) == ([[ids[0]], [""]], False)


def test_a_backend_without_times_is_asked_for_none(user, upload, monkeypatch):
    monkeypatch.setattr(DatabaseBackend, "supports_defer", False)
    ids = [confirm(upload, user) for _ in range(2)]
    done = []

    def fail(*, attachment_id):
        done.append(str(attachment_id))
        raise StorageUnavailable

    monkeypatch.setattr(process, "process_attachment", fail)
    with pytest.raises(StorageUnavailable):
        tasks.process_attachments.call(ids)

    assert done == ids
    assert not DBTaskResult.objects.exists()


def test_what_finds_no_thread_is_done_with_what_comes_next(monkeypatch):
    done = []
    waiting = Soon(done.extend)
    with monkeypatch.context() as patch:
        patch.setattr(Thread, "start", refuse_to_start)
        waiting.add("first")
    monkeypatch.setattr(soon, "DELAY_SECONDS", 0)

    waiting.add("second")

    wait_for(lambda: sorted(done) == ["first", "second"])


def test_a_thread_begins_again_after_what_it_did(monkeypatch):
    monkeypatch.setattr(soon, "DELAY_SECONDS", 0)
    done = queue.Queue()
    waiting = Soon(done.put)

    for item in ("first", "second"):
        waiting.add(item)

        assert done.get(timeout=10) == [item]


def test_a_process_that_ends_does_what_waits(monkeypatch):
    at_exit, done = [], []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    waiting = Soon(done.extend)
    waiting.add("left")

    (end,) = at_exit
    end()

    assert done == ["left"]


def refuse_to_start(thread):
    raise RuntimeError("can't start new thread")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_does_its_own(tmp_path, monkeypatch):
    """Its parent's thread is not there, and a lock may be held for ever."""
    found = tmp_path / "done"
    waiting = Soon(lambda items: found.write_text(" ".join(items)))
    waiting.add("of the parent")
    monkeypatch.setattr(soon, "DELAY_SECONDS", 0)

    def work():
        waiting.add("of the child")
        wait_for(found.exists)

    with waiting._lock:
        child = multiprocessing.get_context("fork").Process(target=work, daemon=True)
        child.start()
        child.join(30)
        child.kill()

    assert found.read_text() == "of the child"
    assert waiting.take() == ["of the parent"]
