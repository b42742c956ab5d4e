"""The stores that tests run against. One more for the contract suite is one line in ``STORES``."""

import base64
import copy
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from django.conf import settings
from moto.server import ThreadedMotoServer

from nodus.dev.embedded import find_free_ports


@contextmanager
def run_moto() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it would log each request
    (port,) = find_free_ports(1)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@contextmanager
def use_running_store() -> Iterator[str]:
    yield os.environ["S3_ENDPOINT_URL"]


@dataclass(frozen=True, kw_only=True)
class Store:
    run: Callable
    is_real: bool
    """Whether it enforces what is signed; moto takes anything."""


STORES = {
    "real": Store(run=use_running_store, is_real=True),
    "moto": Store(run=run_moto, is_real=False),
}


def open_resource(endpoint_url: str) -> Any:
    """boto3 itself, to see what is in a store without our code."""
    options = settings.STORAGES["attachments"]["OPTIONS"]
    return boto3.resource(
        "s3",
        endpoint_url=endpoint_url,
        region_name=options["region_name"],
        aws_access_key_id=options["access_key"],
        aws_secret_access_key=options["secret_key"],
    )


def list_keys(bucket: Any) -> set[str]:
    return {item.key for item in bucket.objects.all()}


def get_checksum(content: bytes) -> str:
    """The SHA-256, as S3 spells it."""
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def use_endpoint(settings: Any, url: str, *, alias: str = "attachments") -> None:
    """Until the test ends, look for this storage at ``url``."""
    storages = copy.deepcopy(settings.STORAGES)
    storages[alias]["OPTIONS"]["endpoint_url"] = url
    settings.STORAGES = storages


def take_store_away(settings: Any, *, alias: str = "attachments") -> None:
    """Until the test ends, look for this storage where nothing listens."""
    (port,) = find_free_ports(1)
    use_endpoint(settings, f"http://127.0.0.1:{port}", alias=alias)
