"""Opens the world: real servers, and what stands between them and Django."""

import copy
import gc
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from botocore.config import Config
from django.db import connection

from attachments import storage
from attachments.services import scan, verify
from tests import clamd
from tests.machine.invariants import FORGET_MOVES, NOTE_MOVES
from tests.machine.scanners import Scanners
from tests.machine.troubles import Troubles
from tests.machine.world import World
from tests.proxy import StoreProxy

SETTINGS = {
    "PUBLIC_ENDPOINT_URL": os.environ["S3_ENDPOINT_URL"],
    "MAX_ATTACHMENTS_PER_MESSAGE": 3,
    "MAX_SIZE_MB": 0.25,
    "MAX_UNCONFIRMED_PER_USER": 6,
    "PRESIGN_RATE": "12/minute",
    "QUOTA_MB_PER_USER": 2,
}


@contextmanager
def open_world(request: pytest.FixtureRequest, patch: pytest.MonkeyPatch) -> Iterator[World]:
    settings, samples = request.getfixturevalue("settings"), request.getfixturevalue("samples")
    request.getfixturevalue("transactional_db")
    bucket = request.getfixturevalue("bucket")
    url = request.getfixturevalue("clamd_server").url if clamd.is_clamd_installed() else ""
    directory = request.getfixturevalue("tmp_path")
    for module in (verify, scan):
        patch.setattr(module, "MAX_COPY_IN_REQUEST", 2**16)  # what is larger is copied in parts
    with ExitStack() as stack:
        proxy = stack.enter_context(StoreProxy(os.environ["S3_ENDPOINT_URL"]))
        _lead_through(proxy.url, settings)
        stack.callback(_run_statements, FORGET_MOVES)
        _run_statements(NOTE_MOVES)
        troubles = Troubles(proxy, patch)
        world = World(
            bucket=bucket,
            png=samples["image/png"],
            troubles=troubles,
            directory=directory,
            scanners=Scanners(
                settings=settings, url=url, let_others=troubles.let_others, stack=stack
            ),
        )
        world.clock.let_objects_age(patch)
        logging.getLogger().addHandler(world.listener)
        stack.callback(logging.getLogger().removeHandler, world.listener)
        storage.ensure_bucket()
        yield world
        world.lose_everything()
        gc.collect()  # what killed processes left open, while that is no news


def _lead_through(url: str, settings: object) -> None:
    """Django reaches the store there, and asks once: each fault is met."""
    storages = copy.deepcopy(settings.STORAGES)
    options = storages["attachments"]["OPTIONS"]
    options["endpoint_url"] = url
    once = Config(retries={"mode": "standard", "total_max_attempts": 1})
    options["client_config"] = options["client_config"].merge(once)
    settings.STORAGES = storages
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, **SETTINGS}


def _run_statements(statements: tuple[str, ...]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
