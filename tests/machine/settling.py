"""The end of each run: no fault any more, workers and operators do their work, time goes by."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

from django.core.management import call_command

from attachments import services
from attachments.models import Attachment, ObjectDeletion
from tests.machine.invariants import check
from tests.machine.view import View
from tests.machine.world import World

# After these a worker tries again, forms are forgotten, and stale uploads go; then the notes of
# their copies are carried out again, three times.
PAUSES = [timedelta(minutes=20), timedelta(hours=2), timedelta(days=2), *[timedelta(days=8)] * 3]


def settle(world: World) -> None:
    """Nothing is stuck, nothing leaks, and nobody who looks finds anything."""
    world.outage = 0
    world.scanners.use("on")
    world.troubles.land()
    services.remove_now()
    world.wait(PAUSES[0])
    services.process_waiting(with_put_off=True)
    check_nothing_is_stuck(check(world))
    for pause in PAUSES:
        world.wait(pause)
        services.purge_attachments(older_than=timedelta(days=30))
        check(world)
    check_nothing_is_left(check(world))
    assert not find_disagreements("--checksums")
    services.purge_attachments(older_than=timedelta())
    # What was served once stays, as the record of a loss
    assert not Attachment.objects.exclude(status="ready").filter(confirmed_at=None).exists()
    check_nothing_is_left(check(world))


def check_nothing_is_stuck(view: View) -> None:
    for row in view.rows.values():
        assert not row.in_background, f"{row.status} for ever"
        if row.is_ready:
            assert row.checksum_sha256, "a ready file has no SHA-256"
            assert row.is_inspected, "nobody looked into a ready file"


def check_nothing_is_left(view: View) -> None:
    """Every object is that of a ready row, and nothing waits to be deleted."""
    ready = [row for row in view.rows.values() if row.is_ready]
    named = {key for row in ready for key in (row.key, row.thumbnail_key) if key}
    assert set(view.objects) == named, set(view.objects) ^ named
    assert not ObjectDeletion.objects.exists()
    assert not view.begun, "a copy in parts was begun, and never ended"


def find_disagreements(*options: str) -> list[dict[str, Any]]:
    """What reconcile_storage finds."""
    out = StringIO()
    try:
        call_command("reconcile_storage", "--json", "--no-input", *options, stdout=out)
    except SystemExit as stopped:
        if stopped.code != 1:
            raise
    return [
        line for line in map(json.loads, out.getvalue().splitlines()) if line["kind"] != "summary"
    ]
