"""What must hold after every step, on the real rows and the real objects."""

import json
from typing import Any

from django.db import connection

from attachments import storage
from attachments.models import Attachment
from tests.clamd import EICAR
from tests.machine.uploads import PICTURES, Upload
from tests.machine.view import View, look
from tests.machine.world import BASE, World
from tests.stores import get_checksum

PREFIXES = ("attachments/", "quarantine/", "thumbnails/")
# The arrows of docs/architecture.md; what is missing in the store may be marked as rejected.
ARROWS = {
    ("", "pending"),
    ("pending", "verifying"),
    ("verifying", "verifying"),
    ("verifying", "ready"),
    ("verifying", "scanning"),
    ("verifying", "rejected"),
    ("verifying", "pending"),
    ("scanning", "scanning"),
    ("scanning", "ready"),
    ("scanning", "infected"),
    ("scanning", "rejected"),
    ("ready", "infected"),
}
STATES = ("", "pending", "verifying", "scanning", "ready", "rejected", "infected")
ANY_ARROW = {(before, after) for before in STATES for after in STATES}
NOTE_MOVES = (
    """
    CREATE TABLE IF NOT EXISTS machine_moves (id text, before text, after text)
    """,
    """
    CREATE OR REPLACE FUNCTION machine_note_move() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO machine_moves VALUES (
            NEW.id::text, CASE WHEN TG_OP = 'INSERT' THEN '' ELSE OLD.status END, NEW.status
        );
        RETURN NULL;
    END $$
    """,
    """
    CREATE OR REPLACE TRIGGER machine_note_move AFTER INSERT OR UPDATE OF status ON attachments
    FOR EACH ROW EXECUTE FUNCTION machine_note_move()
    """,
)
FORGET_MOVES = (
    "DROP TRIGGER IF EXISTS machine_note_move ON attachments",
    "DROP FUNCTION IF EXISTS machine_note_move",
    "DROP TABLE IF EXISTS machine_moves",
)
USAGE = """
    SELECT user_id, count(*) FILTER (WHERE status IN ('ready', 'scanning')),
        coalesce(sum(size_bytes) FILTER (WHERE status IN ('ready', 'scanning')), 0),
        count(*) FILTER (WHERE status IN ('pending', 'verifying')),
        coalesce(sum(size_bytes) FILTER (WHERE status IN ('pending', 'verifying')), 0),
        count(*) FILTER (WHERE status IN ('rejected', 'infected'))
    FROM attachments GROUP BY user_id ORDER BY user_id
"""
COUNTED = """
    SELECT user_id, files, used_bytes, unconfirmed, unconfirmed_bytes, refused
    FROM attachments_usage ORDER BY user_id
"""


def check(world: World) -> View:
    view = look(world.bucket, world.clock)
    check_objects(view)
    check_begun(world, view)
    check_moves(world)
    check_usage()
    world.limits.check_quotas()
    for upload in world.uploads:
        row = view.rows.get(upload.pk)
        upload.is_unscanned |= world.scanners.mode == "off"
        if row is not None and row.is_ready:
            check_served(world, view, upload, row)
        else:
            check_hidden(world, view, upload, row)
        if row is not None:
            check_link(world, row)
    return view


def check_objects(view: View) -> None:
    """No object without a row that names it, or a note."""
    unknown = [key for key in view.objects if key.startswith(PREFIXES) and not view.is_named(key)]
    assert not unknown, f"no row and no note names {unknown}"


def check_begun(world: World, view: View) -> None:
    """What a row or a note once named is named until it is aborted or ended."""
    world.named_uploads = (world.named_uploads & view.begun) | view.named_uploads
    forgotten = world.named_uploads - view.named_uploads
    assert not forgotten, f"no row and no note names the begun copies {forgotten}"


def check_served(world: World, view: View, upload: Upload, row: Attachment) -> None:
    """The object is there, and is what was judged."""
    assert row.key in view.objects, f"the object of the ready row {row.key} is missing"
    content = world.read(row.key, view.objects[row.key])
    checksum = get_checksum(content)
    assert content in upload.posted, "something is served that nobody posted"
    assert world.judged.setdefault(row.key, checksum) == checksum, "what is served has changed"
    assert row.size_bytes == len(content), "the row tells another size"
    assert row.checksum_sha256 in ("", checksum), "the row tells another SHA-256"
    assert upload.declared.get("size_bytes", len(content)) == len(content)
    assert upload.declared.get("checksum_sha256", checksum) == checksum
    fitting = [world.files[name] for name in FITTING[row.content_type]]
    assert content in fitting, "what is served is not of the declared type"
    if EICAR in content:
        assert row.scan_outcome != "clean", "a virus was called clean"
        assert upload.is_unscanned, "a virus is served that nobody scanned"
    if not (row.thumbnail_key and row.thumbnail_key not in view.objects):
        check_links_work(world, view, row, content)
    else:
        raise AssertionError("the thumbnail of a ready row is missing")


FITTING = {"image/png": PICTURES, "application/pdf": ("pdf",)}


def check_links_work(world: World, view: View, row: Attachment, content: bytes) -> None:
    """Anybody who has the link gets the judged bytes, as the verified type."""
    if is_asked(world, row.key, view.objects[row.key]):
        return
    answer = world.open(storage.get_public_url(row.key))
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["Content-Type"] == row.content_type
    assert answer.headers["Content-Disposition"] == row.disposition


def check_hidden(world: World, view: View, upload: Upload, row: Attachment | None) -> None:
    """The id of what is not ready opens nothing, and no answer has told where it lies."""
    for link in upload.links:
        key = link.split(f"{world.bucket.name}/", 1)[1]
        if key in view.notes or key not in view.objects:
            continue  # it goes as soon as the store lets it
        assert world.open(link).status_code != 200, "what was taken down is served"
    if row is None:
        upload.links.clear()
        return
    for key in filter(None, (row.key, row.copy_key)):
        nonce = key.split("/")[2] if key.count("/") > 1 else None
        if nonce and not is_asked(world, "nonce", nonce):
            text = b"\n".join([*world.said, "\n".join(world.listener.lines).encode()])
            assert nonce.encode() not in text, "the key of what is not ready was told"
    if is_asked(world, upload.pk, row.status, row.message_id):
        return
    for key in {row.pending_key, row.key if row.is_quarantined else row.pending_key}:
        assert world.open(storage.get_public_url(key)).status_code in (403, 404), key
    if row.user_id == world.people[upload.user].pk:  # who may have been deleted, and restored
        check_api_hides(world, upload)


def check_api_hides(world: World, upload: Upload) -> None:
    """From its uploader the link, from others that it is there."""
    answer = world.call(upload.user, "get", f"{BASE}/{upload.pk}")
    told = json.loads(answer.content)
    assert (told["download_url"], told["thumbnail_url"]) == (None, None)
    answer = world.call(1 - upload.user, "get", f"{BASE}/{upload.pk}/download")
    assert answer.status_code == 404, answer.status_code


def check_link(world: World, row: Attachment) -> None:
    """Linked once, it stays with that message, for as long as it is ready."""
    if row.is_ready and row.message_id is not None:
        first = world.linked.setdefault(str(row.pk), row.message_id)
        assert first == row.message_id, "it hangs on another message"


def check_usage() -> None:
    with connection.cursor() as cursor:
        cursor.execute(USAGE)
        right = cursor.fetchall()
        cursor.execute(COUNTED)
        counted = [row for row in cursor.fetchall() if any(row[1:])]
    assert counted == right, f"usage is {counted}, and should be {right}"


def check_moves(world: World) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM machine_moves RETURNING before, after")
        moves = cursor.fetchall()
    for before, after in moves:
        world.visited[f"{before} -> {after}"] += 1
        assert (before, after) in world.arrows, f"no arrow leads from {before} to {after}"


def is_asked(world: World, *question: Any) -> bool:
    """Whether it was asked before; from now on it was."""
    is_old = question in world.asked
    world.asked.add(question)
    return is_old
