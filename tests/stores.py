"""The stores that tests run against. One more for the contract suite is one line in ``STORES``."""

import base64
import copy
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import boto3
from django.conf import settings
from moto.server import ThreadedMotoServer

from attachments.storage.policies import VARIABLES, Key
from nodus.dev.embedded import EmbeddedS3, find_free_ports

# A worker's bucket has the name of the suite's and nine characters more, and so has what a test
# makes for itself: the keys are for those too. `?` lets the pattern match a bucket's name and
# nothing in a bucket.
SUFFIX_PATTERN = "-????????"


def name_bucket(suffix: str = "") -> str:
    """The name of another bucket for which the suite's keys are good; without suffix a free one."""
    return f"{os.environ['S3_BUCKET']}-{suffix or token_hex(4)}"


def name_root_key(key: Key) -> dict[str, str]:
    """The variables that give it to `open_resource`; a store of your own may set them too."""
    return {"TEST_S3_ACCESS_KEY": key.access_key, "TEST_S3_SECRET_KEY": key.secret_key}


def make_store(data_dir: Path) -> EmbeddedS3:
    """A store that a test may stop; it knows the keys of the suite."""
    root = get_root_key()
    keys = {
        role: Key(
            access_key=os.environ[f"{prefix}_ACCESS_KEY"],
            secret_key=os.environ[f"{prefix}_SECRET_KEY"],
        )
        for role, prefix in VARIABLES.items()
        if f"{prefix}_ACCESS_KEY" in os.environ  # a store of your own may have one key for all
    }
    return EmbeddedS3(
        data_dir=data_dir,
        port=find_free_ports(1)[0],
        keys={role: key for role, key in keys.items() if key != root},
        buckets=[os.environ["S3_BUCKET"]],
        root=root,
    )


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
    """boto3 itself, to see what is in a store without our code. It may do anything."""
    options = settings.STORAGES["attachments"]["OPTIONS"]
    key = get_root_key()
    return boto3.resource(
        "s3",
        endpoint_url=endpoint_url,
        region_name=options["region_name"],
        aws_access_key_id=key.access_key,
        aws_secret_access_key=key.secret_key,
    )


def open_bucket() -> Any:
    """The bucket of the attachments, opened by ``open_resource``."""
    options = settings.STORAGES["attachments"]["OPTIONS"]
    return open_resource(options["endpoint_url"]).Bucket(options["bucket_name"])


def get_root_key() -> Key:
    return Key(
        access_key=os.environ.get("TEST_S3_ACCESS_KEY", settings.S3_ACCESS_KEY),
        secret_key=os.environ.get("TEST_S3_SECRET_KEY", settings.S3_SECRET_KEY),
    )


def list_keys(bucket: Any) -> set[str]:
    return {item.key for item in bucket.objects.all()}


def get_checksum(content: bytes) -> str:
    """The SHA-256, as S3 spells it."""
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def spell_error(code: str, message: str = "said the store") -> bytes:
    """The body of a refusal, as S3 spells it."""
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def use_endpoint(settings: Any, url: str, *, alias: str = "attachments") -> None:
    """Until the test ends, look for this storage at ``url``."""
    storages = copy.deepcopy(settings.STORAGES)
    storages[alias]["OPTIONS"]["endpoint_url"] = url
    settings.STORAGES = storages


def take_store_away(settings: Any, *, alias: str = "attachments") -> None:
    """Until the test ends, look for this storage where nothing listens."""
    (port,) = find_free_ports(1)
    use_endpoint(settings, f"http://127.0.0.1:{port}", alias=alias)
