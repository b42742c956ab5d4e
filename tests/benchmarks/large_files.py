"""`python -m tests.benchmarks.large_files`: how long a confirm of 1, 2 and 4 GiB takes.

The same object is copied in one piece and in parts in the same run; the rest is the reading of its
SHA-256. Memory is measured over all sizes.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

from botocore.config import Config
from rich.console import Console
from rich.table import Table

from tests.benchmarks.memory import measure_peak_mb
from tests.benchmarks.scale import take_time
from tests.benchmarks.server import open_services

GIB = 2**30
PART_BYTES = 64 * 2**20
MOST_GROWTH_MB = 50


@dataclass(frozen=True, kw_only=True)
class Figures:
    size_bytes: int
    answer_seconds: float
    """Until the client has its 202."""
    one_piece_seconds: float
    """One CopyObject, as long as it takes."""
    parts_seconds: float
    """The worker, from the nudge until the file is served."""
    checksum_seconds: float
    peak_mb: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--gib", type=float, nargs="+", default=[1, 2, 4], help="sizes in GiB")
    options = parser.parse_args()
    with open_services(ATTACHMENTS_MAX_SIZE_MB="5120"):
        runs = [measure_file(int(size * GIB)) for size in options.gib]
    growth = runs[-1].peak_mb - runs[0].peak_mb
    if options.json:
        print(json.dumps({"runs": [asdict(run) for run in runs], "growth_mb": growth}))
    else:
        print_table(runs)
        print(f"Memory {growth:+.0f} MB (less than {MOST_GROWTH_MB}).")
    return int(growth >= MOST_GROWTH_MB)


def measure_file(size_bytes: int) -> Figures:
    from django.contrib.auth import get_user_model

    from attachments import services, storage
    from attachments.models import Attachment
    from attachments.services.checksums import add_checksum
    from attachments.services.confirm import verify_in_background

    user, _ = get_user_model().objects.get_or_create(username="large")
    ticket = services.presign_upload(user=user, filename="a.png", content_type="image/png")
    pending_key = f"pending/{ticket.attachment_id}"
    put_original(pending_key, size_bytes)

    def confirm() -> None:
        services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    answer_seconds = take_time(confirm)
    one_piece_seconds = take_time(lambda: copy_in_one_piece(pending_key))
    row = Attachment.objects.get(pk=ticket.attachment_id)
    parts_seconds = take_time(lambda: verify_in_background(row))
    row.refresh_from_db()
    assert (row.status, row.size_bytes) == ("ready", size_bytes)
    checksum_seconds = take_time(lambda: add_checksum(row))
    services.remove_now()
    storage.delete_objects([row.key])
    return Figures(
        size_bytes=size_bytes,
        answer_seconds=answer_seconds,
        one_piece_seconds=one_piece_seconds,
        parts_seconds=parts_seconds,
        checksum_seconds=checksum_seconds,
        peak_mb=measure_peak_mb(),
    )


def put_original(key: str, size_bytes: int) -> None:
    """A picture with a long tail, in parts: a single post of it would be held in memory."""
    from attachments.storage.client import get_bucket, get_client

    client, where = get_client(), {"Bucket": get_bucket(), "Key": key}
    upload_id = client.create_multipart_upload(**where)["UploadId"]
    head = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
    parts = []
    for number, start in enumerate(range(0, size_bytes, PART_BYTES), start=1):
        body = bytearray(min(PART_BYTES, size_bytes - start))
        if number == 1:
            body[: len(head)] = head
        answer = client.upload_part(**where, UploadId=upload_id, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    client.complete_multipart_upload(**where, UploadId=upload_id, MultipartUpload={"Parts": parts})


def copy_in_one_piece(key: str) -> None:
    from attachments.storage.client import _get_backend, _open_client, _reopen_backend, get_bucket

    config = _get_backend().client_config.merge(Config(read_timeout=600))
    client: Any = _open_client.__wrapped__(_reopen_backend(client_config=config))
    source = {"Bucket": get_bucket(), "Key": key}
    client.copy_object(Bucket=get_bucket(), Key="attachments/one-piece", CopySource=source)
    client.delete_object(Bucket=get_bucket(), Key="attachments/one-piece")


def print_table(runs: list[Figures]) -> None:
    table = Table(
        "GiB", "202 after s", "one piece s", "in parts s", "ratio", "SHA-256 s", "peak MB"
    )
    for run in runs:
        table.add_row(
            f"{run.size_bytes / GIB:g}",
            f"{run.answer_seconds:.2f}",
            f"{run.one_piece_seconds:.1f}",
            f"{run.parts_seconds:.1f}",
            f"{run.parts_seconds / run.one_piece_seconds:.2f}",
            f"{run.checksum_seconds:.1f}",
            f"{run.peak_mb:.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
