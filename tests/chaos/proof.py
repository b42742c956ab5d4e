"""When all is up again: nothing that was confirmed is lost, and after a purge nothing leaked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.contrib.auth import get_user_model
from rest_framework_simplejwt.tokens import AccessToken

from attachments import services
from tests.load.caller import API
from tests.load.uploads import Upload
from tests.machine.clock import Clock
from tests.machine.invariants import check_objects, check_usage
from tests.machine.settling import (
    PAUSES,
    check_nothing_is_left,
    check_nothing_is_stuck,
    find_disagreements,
)
from tests.machine.view import look
from tests.stores import open_bucket


@dataclass(kw_only=True)
class Proof:
    files_read: int = 0
    bytes_read: int = 0
    lost: list[str] = field(default_factory=list)
    """Confirmed, not deleted, and not there as it was uploaded."""
    leaked: list[str] = field(default_factory=list)
    """What is left after the purge, and nothing needs."""
    problems: list[str] = field(default_factory=list)


def prove(*, uploads: list[Upload], port: int) -> Proof:
    """Nobody else may work on the rows meanwhile; the server on ``port`` reads the files."""
    proof, clock = Proof(), Clock()
    with pytest.MonkeyPatch.context() as patch:
        clock.let_objects_age(patch)
        _settle(proof, clock, open_bucket())
    read_all(proof, uploads, port=port)
    return proof


def _settle(proof: Proof, clock: Clock, bucket: Any) -> None:
    """Let workers and operators do what is theirs, while time goes by."""
    view = look(bucket, clock)
    _check(proof.problems, check_objects, view)
    clock.wait(PAUSES[0])
    services.process_waiting(with_put_off=True)
    view = look(bucket, clock)
    _check(proof.problems, check_usage)
    _check(proof.problems, check_nothing_is_stuck, view)
    _check(proof.problems, _agree, "before the purge")
    for pause in PAUSES:
        clock.wait(pause)
        services.purge_attachments(older_than=timedelta(days=365))
        view = look(bucket, clock)
    _check(proof.leaked, check_nothing_is_left, view)
    _check(proof.problems, _agree, "after the purge")


def _check(problems: list[str], check: Callable[..., None], *arguments: Any) -> None:
    try:
        check(*arguments)
    except AssertionError as error:
        problems.append(f"{check.__name__}: {error}"[:2000])


def _agree(when: str) -> None:
    found = find_disagreements("--checksums")
    # A form works for a while after its upload was confirmed, or given up.
    found = [line for line in found if not line["key"].startswith("pending/")]
    assert not found, f"reconcile finds, {when}: {found}"


def read_all(proof: Proof, uploads: list[Upload], *, port: int) -> None:
    """Every byte of each file, by the API, as staff."""
    staff, _ = get_user_model().objects.get_or_create(username="auditor", is_staff=True)
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {AccessToken.for_user(staff)}"
    for upload in uploads:
        if len(upload.ids) > 1:
            proof.problems.append(f"{upload.key} has several attachments: {upload.ids}")
        for attachment_id in upload.ids[-1:]:
            address = f"http://127.0.0.1:{port}{API}/{attachment_id}/download"
            _read(proof, upload, session.get(address, timeout=60))


def _read(proof: Proof, upload: Upload, answer: requests.Response) -> None:
    is_there = answer.status_code == 200
    if is_there and answer.content != upload.content:
        proof.lost.append(f"{upload.ids[-1]} has other bytes")
    elif is_there and upload.is_deleted:
        proof.problems.append(f"{upload.ids[-1]} was deleted, and is served")
    elif not is_there and upload.is_confirmed and not upload.is_delete_asked:
        proof.lost.append(f"{upload.ids[-1]}: {answer.status_code} {answer.text[:200]}")
    proof.files_read += is_there
    proof.bytes_read += len(answer.content) * is_there
