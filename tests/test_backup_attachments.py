"""Backing up and verifying, as an operator does it: to a directory and to another bucket."""

import hashlib
import json
import os
import signal
import stat
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from django.core.management import CommandError
from django.db import connection

from attachments import backups, services, storage
from attachments.backups.snapshots import make_snapshot_id
from attachments.errors import BackupDamaged, ContentMismatch
from attachments.models import Attachment
from tests import commands
from tests.stores import get_checksum, make_store, take_store_away, use_endpoint

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.postgres,
    pytest.mark.usefixtures("empty_bucket"),
]

on_both = pytest.mark.parametrize("dest", ["directory", "bucket"], indirect=True)


@pytest.fixture
def dest(request, tmp_path):
    """A place of backups. Its methods ``read`` and ``write`` do not go through our code."""
    if getattr(request, "param", "directory") == "directory":
        return DirectoryDest(tmp_path / "backup")
    return BucketDest(request.getfixturevalue("offsite_bucket"))


class DirectoryDest:
    def __init__(self, path):
        self.path = path
        self.location = str(path)

    def list(self, prefix=""):
        files = (path for path in self.path.rglob("*") if path.is_file())
        names = (str(path.relative_to(self.path)) for path in files)
        return sorted(name for name in names if name.startswith(prefix))

    def read(self, name):
        return (self.path / name).read_bytes()

    def write(self, name, content):
        (self.path / name).write_bytes(content)

    def delete(self, name):
        (self.path / name).unlink()


class BucketDest:
    location = "storage:offsite"

    def __init__(self, bucket):
        self.bucket = bucket

    def list(self, prefix=""):
        return sorted(item.key for item in self.bucket.objects.filter(Prefix=prefix))

    def read(self, name):
        return self.bucket.Object(name).get()["Body"].read()

    def write(self, name, content):
        self.bucket.put_object(Key=name, Body=content)

    def delete(self, name):
        self.bucket.Object(name).delete()


run = partial(commands.run, "backup_attachments")
start = partial(commands.start, "backup_attachments")


def run_json(*args, **options):
    return json.loads(run("--json", *args, **options))


def read_manifest(dest):
    name = dest.list("snapshots/")[-3]
    assert name.endswith("/manifest.jsonl")
    return [json.loads(line) for line in dest.read(name).splitlines()]


@on_both
def test_a_backup_holds_the_objects_and_their_rows(dest, user, attachment_of, samples):
    png = attachment_of(user, filename="Снимок.png")
    pdf = attachment_of(user, content_type="application/pdf")

    report = run_json(dest.location)

    snapshot = f"snapshots/{report['snapshot']}"
    assert dest.list() == sorted(
        [f"objects/{png.key}", f"objects/{pdf.key}"]
        + [f"{snapshot}/{name}" for name in ("manifest.jsonl", "rows.jsonl", "snapshot.json")]
    )
    size_bytes = len(samples["image/png"]) + len(samples["application/pdf"])
    assert report == {
        "snapshot": report["snapshot"],
        "rows": 3,  # with their user
        "objects": 2,
        "size_bytes": size_bytes,
        "copied": 2,
        "copied_bytes": size_bytes,
        "gone": 0,
        "pruned_snapshots": 0,
        "pruned_objects": 0,
        "problems": [],
        "dry_run": False,
    }
    assert dest.read(f"objects/{png.key}") == samples["image/png"]
    entry = {line["id"]: line for line in read_manifest(dest)}[str(png.pk)]
    assert entry == {
        "id": str(png.pk),
        "key": png.key,
        "size_bytes": len(samples["image/png"]),
        "sha256": hashlib.sha256(samples["image/png"]).hexdigest(),
        "content_type": "image/png",
        "filename": "Снимок.png",
    }
    rows = [json.loads(line) for line in dest.read(f"{snapshot}/rows.jsonl").splitlines()]
    assert [row["model"] for row in rows] == ["auth.user"] + ["attachments.attachment"] * 2
    assert json.loads(dest.read(f"{snapshot}/snapshot.json")) == {
        "id": report["snapshot"],
        "rows": 3,
        "rows_sha256": hashlib.sha256(dest.read(f"{snapshot}/rows.jsonl")).hexdigest(),
        "objects": 2,
        "size_bytes": size_bytes,
        "manifest_sha256": hashlib.sha256(dest.read(f"{snapshot}/manifest.jsonl")).hexdigest(),
        "format": 1,
    }


def test_it_tells_people_what_it_did(tmp_path, user, attachment_of):
    attachment_of(user)

    text = run(tmp_path)

    assert "│ Objects                           │        1 │" in text
    assert "Snapshot 2" in text


def test_only_its_owner_may_read_a_directory(tmp_path, user, attachment_of):
    attachment_of(user)

    run(tmp_path / "new" / "backup")

    for path in (tmp_path / "new" / "backup").rglob("*"):
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


@on_both
def test_what_is_there_is_not_read_again(dest, user, attachment_of, store_calls):
    attachment_of(user)
    run(dest.location)
    new = attachment_of(user)
    store_calls()

    report = run_json(dest.location)

    assert (report["objects"], report["copied"]) == (2, 1)
    assert report["copied_bytes"] == new.size_bytes
    assert store_calls() == ["GetObject"]
    assert run_json(dest.location)["copied"] == 0
    assert store_calls() == []


def test_a_store_that_keeps_no_digests_is_not_read_again_either(
    dest, user, attachment_of, store_calls
):
    attachment_of(user)
    Attachment.objects.update(checksum_sha256="")
    run(dest.location)
    (first,) = read_manifest(dest)
    store_calls()

    assert run_json(dest.location)["copied"] == 0

    assert store_calls() == []
    assert read_manifest(dest) == [first]
    assert first["sha256"]


@on_both
def test_what_was_lost_in_the_backup_is_copied_again(dest, user, attachment_of, samples):
    lost, torn = attachment_of(user), attachment_of(user)
    run(dest.location)
    dest.delete(f"objects/{lost.key}")
    dest.write(f"objects/{torn.key}", b"half")

    assert run_json(dest.location)["copied"] == 2

    for attachment in (lost, torn):
        assert dest.read(f"objects/{attachment.key}") == samples["image/png"]
    assert run_json(dest.location, "--verify")["problems"] == []


@on_both
def test_large_objects_pass_whole(dest, user, attachment_of, samples):
    content = samples["image/png"] + os.urandom(12 * 2**20)
    attachment = attachment_of(user, content=content)

    run(dest.location)

    assert dest.read(f"objects/{attachment.key}") == content
    assert run_json(dest.location, "--verify")["problems"] == []


def test_uploads_under_way_are_left_out(tmp_path, user, upload, attachment_of):
    attachment_of(user)
    upload(user)
    rejected = upload(user, content=b"<html>")
    with pytest.raises(ContentMismatch):
        services.confirm_upload(attachment_id=rejected.attachment_id, user=user)

    report = run_json(tmp_path)

    assert (report["rows"], report["objects"]) == (3, 1)


@on_both
def test_an_empty_system(dest):
    report = run_json(dest.location)

    assert (report["rows"], report["objects"]) == (0, 0)
    assert run_json(dest.location, "--verify")["problems"] == []


# What is wrong in the store


def test_a_missing_object_is_told_and_the_rest_goes_on(dest, user, attachment_of, bucket):
    missing, kept = attachment_of(user), attachment_of(user)
    bucket.Object(missing.key).delete()

    report = run_json(dest.location, status=1)

    assert report["problems"] == [
        {"kind": "missing", "key": missing.key, "attachment_id": str(missing.pk)}
    ]
    assert dest.list("objects/") == [f"objects/{kept.key}"]
    verified = run_json(dest.location, "--verify")
    assert (verified["objects"], verified["left_out"]) == (1, 1)


@pytest.mark.parametrize("content", [b"longer than it was, and another", None])
def test_an_altered_object_is_told_and_not_kept(
    dest, user, attachment_of, bucket, samples, content
):
    altered = attachment_of(user, checksum_sha256=get_checksum(samples["image/png"]))
    content = content or samples["image/png"][:-1] + b"!"
    bucket.put_object(Key=altered.key, Body=content)

    report = run_json(dest.location, status=1)

    assert report["problems"] == [
        {"kind": "altered", "key": altered.key, "attachment_id": str(altered.pk)}
    ]
    assert dest.list("objects/") == []


def test_what_is_deleted_meanwhile_is_no_problem(dest, user, attachment_of, monkeypatch):
    kept, deleted = sorted((attachment_of(user) for _ in range(2)), key=lambda row: row.pk)
    read_object = storage.read_object

    def read_and_delete(key):
        Attachment.objects.filter(pk=deleted.pk).delete()
        return read_object(key)

    monkeypatch.setattr(storage, "read_object", read_and_delete)
    report = run_json(dest.location, "--jobs", 1)

    assert (report["rows"], report["objects"], report["gone"]) == (3, 1, 1)
    assert [entry["id"] for entry in read_manifest(dest)] == [str(kept.pk)]


def test_the_rows_are_of_one_moment(tmp_path, user, message_of, attachment_of, monkeypatch):
    """Users are read first: a user who comes and uploads after that is in no table of the dump."""
    from attachments.backups import row_dump

    attachment_of(user)
    original, late = row_dump._dump, []

    def dump_slowly(model, content):
        original(model, content)
        if not late:
            thread = threading.Thread(target=add_late)
            thread.start()
            thread.join()

    def add_late():
        try:
            late.append(attachment_of(user, message_id=message_of(user).pk))
        finally:
            connection.close()

    monkeypatch.setattr(row_dump, "_dump", dump_slowly)
    report = run_json(tmp_path)

    assert Attachment.objects.count() == 2
    assert (report["rows"], report["objects"]) == (2, 1)
    (entry,) = read_manifest(DirectoryDest(tmp_path))
    assert entry["id"] != str(late[0].pk)


def test_no_transaction_is_open_while_anything_is_copied(
    tmp_path, user, attachment_of, monkeypatch
):
    attachment_of(user)
    states, write = [], storage.Archive.write

    def look(self, name, content):
        status = connection.connection and connection.connection.info.transaction_status.name
        states.append((threading.current_thread().name.partition("_")[0], status))
        write(self, name, content)

    monkeypatch.setattr(storage.Archive, "write", look)
    run(tmp_path)

    assert {status for _thread, status in states} <= {None, "IDLE"}
    assert [thread for thread, _status in states] == [
        "MainThread",
        "store",
        "MainThread",
        "MainThread",
    ]


# Verifying


@pytest.fixture
def backed_up(dest, user, attachment_of):
    attachments = [attachment_of(user) for _ in range(3)]
    report = run_json(dest.location)
    return attachments, f"snapshots/{report['snapshot']}"


@on_both
def test_verify_finds_each_altered_byte(dest, backed_up, samples):
    (_sound, altered, lost), _snapshot = backed_up
    name = f"objects/{altered.key}"
    dest.write(name, dest.read(name)[:-1] + b"!")
    dest.delete(f"objects/{lost.key}")

    report = run_json(dest.location, "--verify", status=1)

    assert {problem["key"]: problem["kind"] for problem in report["problems"]} == {
        altered.key: "altered",
        lost.key: "missing",
    }
    assert (report["objects"], report["rows"]) == (3, 4)


def test_verify_shows_people_a_table(dest, backed_up, monkeypatch):
    (lost, other, _sound), _snapshot = backed_up
    monkeypatch.setattr("attachments.management.backups.MAX_SHOWN", 1)
    lost, other = sorted([lost, other], key=lambda attachment: attachment.pk)
    dest.delete(f"objects/{other.key}")
    dest.delete(f"objects/{lost.key}")

    text = run(dest.location, "--verify", status=1)

    assert f"│ missing │ {lost.key}" in text
    assert other.key not in text
    assert "… and 1 more; --json has them all." in text


@pytest.mark.parametrize("name", ["rows.jsonl", "manifest.jsonl", "snapshot.json"])
@pytest.mark.parametrize("how", ["altered", "deleted"])
def test_verify_finds_an_altered_snapshot(dest, backed_up, name, how):
    _attachments, snapshot = backed_up
    if how == "altered":
        dest.write(f"{snapshot}/{name}", dest.read(f"{snapshot}/{name}")[:-4] + b"!\n")
    else:
        dest.delete(f"{snapshot}/{name}")

    with pytest.raises(CommandError, match=r"altered|no finished snapshot") as stopped:
        run(dest.location, "--verify")
    assert stopped.value.returncode == (2 if (name, how) == ("snapshot.json", "deleted") else 1)


def test_a_snapshot_of_another_format_is_not_read(dest, backed_up):
    _attachments, snapshot = backed_up
    name = f"{snapshot}/snapshot.json"
    dest.write(name, json.dumps({**json.loads(dest.read(name)), "format": 2}).encode())

    with pytest.raises(CommandError, match="altered") as stopped:
        run(dest.location, "--verify")
    assert stopped.value.returncode == 1


def test_verify_of_an_older_snapshot(dest, backed_up, user, attachment_of):
    _attachments, snapshot = backed_up
    attachment_of(user)
    run(dest.location)

    older = run_json(dest.location, "--verify", "--snapshot", snapshot.removeprefix("snapshots/"))

    assert (older["objects"], older["left_out"]) == (3, 0)
    assert run_json(dest.location, "--verify")["objects"] == 4


def test_verify_does_not_need_the_store(dest, backed_up, settings):
    take_store_away(settings)

    assert run_json(dest.location, "--verify")["problems"] == []


# Pruning


def test_a_backup_that_another_took_for_dead_does_not_call_itself_finished(
    dest, user, attachment_of
):
    attachment_of(user)
    archive = storage.open_archive(dest.location)

    def prune(size_bytes):
        for name in dest.list("snapshots/"):
            dest.delete(name)

    with backups.dump_rows() as dump, pytest.raises(BackupDamaged):
        backups.backup_attachments(archive=archive, dump=dump, on_progress=prune)

    assert not [name for name in dest.list("snapshots/") if name.endswith("snapshot.json")]


@on_both
def test_keep_removes_old_snapshots_and_what_only_they_had(dest, user, attachment_of):
    old, kept = attachment_of(user), attachment_of(user)
    run(dest.location)
    old.delete()
    assert run_json(dest.location, "--keep", 2)["pruned_snapshots"] == 0

    report = run_json(dest.location, "--keep", 1)

    assert (report["pruned_snapshots"], report["pruned_objects"]) == (2, 1)
    assert dest.list("objects/") == [f"objects/{kept.key}"]
    assert {name.split("/")[1] for name in dest.list("snapshots/")} == {report["snapshot"]}
    assert run_json(dest.location, "--verify")["problems"] == []


def test_keep_removes_nothing_while_another_backup_runs(dest, user, attachment_of):
    attachment_of(user).delete()
    run(dest.location)
    other = make_snapshot_id(datetime.now(UTC))
    archive = storage.open_archive(dest.location)
    with storage.open_spool() as rows:
        archive.write(f"snapshots/{other}/rows.jsonl", rows)

    assert run_json(dest.location, "--keep", 1)["pruned_snapshots"] == 0


def test_what_a_killed_backup_left_goes_after_two_days(dest, user, attachment_of):
    attachment_of(user)
    archive = storage.open_archive(dest.location)
    killed = [make_snapshot_id(datetime.now(UTC) - timedelta(days=days)) for days in (1, 3)]
    with storage.open_spool() as rows:
        for snapshot in killed:
            archive.write(f"snapshots/{snapshot}/rows.jsonl", rows)

    report = run_json(dest.location)

    left = {name.split("/")[1] for name in dest.list("snapshots/")}
    assert left == {killed[0], report["snapshot"]}


def test_a_list_of_what_is_there(dest, user, attachment_of):
    attachment_of(user)
    made = run_json(dest.location)
    archive = storage.open_archive(dest.location)
    killed = [make_snapshot_id(datetime.now(UTC) - timedelta(days=days)) for days in (3, 1)]
    with storage.open_spool() as rows:
        for snapshot in killed:
            archive.write(f"snapshots/{snapshot}/rows.jsonl", rows)

    found = run_json(dest.location, "--list")["snapshots"]
    text = run(dest.location, "--list")

    assert [(item["id"], item["state"], item["is_complete"]) for item in found] == [
        (killed[0], "abandoned", False),
        (killed[1], "running", False),
        (made["snapshot"], "complete", True),
    ]
    facts = ("rows", "objects", "size_bytes")
    assert [found[2][name] for name in facts] == [made[name] for name in facts]
    assert all(item["id"] in text for item in found)


def test_a_dry_run_names_what_would_be_done(dest, user, attachment_of):
    old = attachment_of(user)
    first = run_json(dest.location)
    new = attachment_of(user)
    services.delete_attachments(Attachment.objects.filter(pk=old.pk))
    before = dest.list()

    report = run_json(dest.location, "--dry-run", "--keep", 1)
    text = run(dest.location, "--dry-run", "--keep", 1)

    assert dest.list() == before
    assert (report["dry_run"], report["named"], report["copied"]) == (True, [new.key], 1)
    assert (report["pruned_snapshots"], report["pruned_objects"]) == ([first["snapshot"]], 1)
    assert new.key in text
    assert first["snapshot"] in text
    assert text.endswith("Dry run: nothing was changed.\n")
    real = run_json(dest.location, "--keep", 1)
    assert (real["copied"], real["pruned_objects"]) == (1, 1)


@pytest.mark.parametrize("dest", ["bucket"], indirect=True)
def test_calls_to_the_place_of_the_backup_are_counted(dest, told):
    run(dest.location)

    assert "PutObject" in {facts["operation"] for facts in told("store_called")}


# What fails


def test_the_store_is_down(tmp_path, user, attachment_of, settings):
    attachment_of(user)
    take_store_away(settings)

    with pytest.raises(CommandError, match=r"not available.*Could not connect") as stopped:
        run(tmp_path)
    assert stopped.value.returncode == 2


@pytest.mark.parametrize("dest", ["bucket"], indirect=True)
def test_the_other_store_is_down(dest, user, attachment_of, settings):
    take_store_away(settings, alias="offsite")

    with pytest.raises(CommandError, match=r"cannot be read or written.*Could not connect"):
        run(dest.location)


def test_the_place_is_no_directory(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(CommandError, match=r"cannot be read or written: .*Not a directory"):
        run(tmp_path / "file")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_the_disk_is_full(tmp_path, user, attachment_of, monkeypatch):
    attachment_of(user)
    os_open = os.open

    def open_full(path, *args, **kwargs):
        is_object = isinstance(path, str) and ".unfinished" in path
        return os_open("/dev/full" if is_object else path, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_full)
    with pytest.raises(CommandError, match="No space left on device"):
        run(tmp_path)


@pytest.mark.parametrize("alias", ["nowhere", "attachments", ""])
def test_an_alias_that_cannot_be_used(alias):
    with pytest.raises(CommandError, match="STORAGES has default, staticfiles"):
        run(f"storage:{alias}")


@pytest.mark.parametrize("name", ["", " "])
def test_no_name_is_no_directory(name):
    with pytest.raises(CommandError, match="there is no directory") as stopped:
        run(name)

    assert stopped.value.returncode == 2


@on_both
def test_nothing_to_verify(dest):
    with pytest.raises(CommandError, match="There is no finished snapshot") as stopped:
        run(dest.location, "--verify")
    assert stopped.value.returncode == 2


def test_the_store_stops_in_the_middle(tmp_path, user, attachment_of, settings, monkeypatch):
    store = make_store(tmp_path / "store")
    use_endpoint(settings, store.start())
    attachments = [attachment_of(user) for _ in range(6)]
    dest = DirectoryDest(tmp_path / "backup")
    read_object, count = storage.read_object, iter(range(1, 10))

    def read_and_stop(key):
        if next(count) == 4:
            store.stop()
        return read_object(key)

    monkeypatch.setattr(storage, "read_object", read_and_stop)
    try:
        with pytest.raises(CommandError, match="not available"):
            run(dest.location, "--jobs", 1)
        assert len(dest.list("objects/")) == 3
        assert not any(name.endswith("snapshot.json") for name in dest.list())

        store.start()
        report = run_json(dest.location)
        assert (report["objects"], report["copied"]) == (6, 3)
        assert run_json(dest.location, "--verify")["objects"] == len(attachments)
    finally:
        store.stop()


def test_a_backup_is_killed(tmp_path, user, attachment_of):
    attachments = [attachment_of(user) for _ in range(60)]
    dest = DirectoryDest(tmp_path / "backup")

    process = start(dest.location, "--jobs", 1)
    while len(dest.list("objects/")) < 10:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()

    done = len(dest.list("objects/"))
    assert 10 <= done < 60
    assert not any(name.endswith("snapshot.json") for name in dest.list())
    report = run_json(dest.location)
    assert (report["objects"], report["copied"]) == (60, 60 - done)
    assert run_json(dest.location, "--verify")["objects"] == len(attachments)


def test_two_backups_at_once(tmp_path, user, attachment_of):
    attachments = [attachment_of(user) for _ in range(20)]
    dest = DirectoryDest(tmp_path / "backup")

    args = [dest.location, "--json", "--keep", 2]
    processes = [start(*args, stdout=subprocess.PIPE) for _ in range(2)]
    reports = [json.loads(process.communicate(timeout=60)[0]) for process in processes]

    for report in reports:
        assert (report["objects"], report["problems"]) == (20, [])
        verified = run_json(dest.location, "--verify", "--snapshot", report["snapshot"])
        assert (verified["objects"], verified["problems"]) == (len(attachments), [])
    assert dest.list(".unfinished") == []
