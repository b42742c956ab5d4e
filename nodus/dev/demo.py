"""`make demo`: a REST client in a terminal shows the whole round, and checks each step."""

import argparse
import base64
import hashlib
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from nodus.dev.client import TIMEOUT_SECONDS, Client, UnexpectedAnswer, post_file
from nodus.dev.demo_users import DEFAULT_PORT, DEMO_USERS
from nodus.dev.samples import make_film, make_samples

RUSSIAN_NAME = "Договор аренды.pdf"
WIDE = 100  # columns of the terminal; all is readable with 80, too


class Different(Exception):
    """What came back is not what was sent."""


def check(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise Different(f"{what}: {got!r} instead of {expected!r}")


@dataclass(kw_only=True)
class Upload:
    """One line of the table."""

    content_type: str
    path: Path
    name: str
    status: str = ""
    sent_bytes: int = 0
    seconds: float | None = None
    attachment_id: str = ""

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    def note_sent(self, sent_bytes: int) -> None:
        self.sent_bytes = sent_bytes


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    port = os.environ.get("PORT") or str(DEFAULT_PORT)
    default = os.environ.get("BASE_URL") or f"http://localhost:{port}"
    parser.add_argument("--base-url", default=default, help="where nodus is (default: %(default)s)")
    base_url = parser.parse_args().base_url
    console, errors = Console(highlight=False), Console(highlight=False, stderr=True)
    try:
        with tempfile.TemporaryDirectory(prefix="nodus-demo-") as directory:
            Demo(base_url=base_url, console=console, directory=Path(directory)).play()
    except requests.RequestException as error:
        url = error.request.url if error.request and error.request.url else base_url
        if url.startswith(base_url):
            command = "make run" if port == str(DEFAULT_PORT) else f"make run PORT={port}"
            text = f"Nodus does not answer at {base_url}. Start it in another terminal: {command}"
        else:
            text = f"The store does not answer at {url}: {error}"
        errors.print(f"✗ {text}", style="red", markup=False, soft_wrap=True)
        return 2
    except (UnexpectedAnswer, Different) as error:
        errors.print(f"✗ {error}", style="red", markup=False, soft_wrap=True)
        return 1
    return 0


class Demo:
    """Alice sends files to Bob; each step raises if anything differs from what it should be."""

    def __init__(self, *, base_url: str, console: Console, directory: Path) -> None:
        self._console = console
        self._directory = directory
        self._alice = Client(base_url, on_wait=self._say_waiting)
        self._bob = Client(base_url, on_wait=self._say_waiting)

    def play(self) -> None:
        started = time.monotonic()
        self._open_chapter(f"Nodus attachments · {self._alice.base_url}")
        self._log_in()
        uploads = self._make_files()
        self._open_chapter("Upload: ask for a form, post to the store, confirm")
        self._upload(uploads)
        self._open_chapter("Share")
        self._share(uploads)
        self._open_chapter("Refuse")
        self._refuse(uploads)
        self._console.print()
        seconds = time.monotonic() - started
        size = decimal(sum(upload.size_bytes for upload in uploads))
        self._console.print(
            f"[bold green]All is well:[/] {len(uploads)} files, {size}, {seconds:.1f} s"
        )

    def _log_in(self) -> None:
        for name, client in {"alice": self._alice, "bob": self._bob}.items():
            client.log_in(name, DEMO_USERS[name])
        self._say("Alice and Bob are logged in")

    def _make_files(self) -> list[Upload]:
        with self._console.status("Making the files …"):
            paths = make_samples(self._directory)
            paths["video/mp4"] = make_film(self._directory / "film.mp4")
        names = {"application/pdf": RUSSIAN_NAME}
        self._say(f"{len(paths)} real files are made, one of each type")
        return [
            Upload(content_type=content_type, path=path, name=names.get(content_type, path.name))
            for content_type, path in paths.items()
        ]

    def _upload(self, uploads: list[Upload]) -> None:
        """Show all uploads in one table, which is redrawn if this is a terminal."""
        with Live(
            get_renderable=lambda: self._draw(uploads),
            console=self._console,
            refresh_per_second=20,
            vertical_overflow="visible",
        ):
            for upload in uploads:
                self._upload_one(upload)

    def _upload_one(self, upload: Upload) -> None:
        started = time.monotonic()
        upload.status = "asking"
        digest = hash_file(upload.path)
        ticket = self._alice.presign(
            filename=upload.name,
            content_type=upload.content_type,
            size_bytes=upload.size_bytes,
            checksum_sha256=base64.b64encode(digest).decode(),
        )
        upload.status = "sending"
        post_file(ticket, upload.path, on_progress=upload.note_sent)
        upload.status = "confirming"
        attachment = self._alice.confirm(ticket)
        check("filename", attachment["filename"], upload.name)
        check("size_bytes", attachment["size_bytes"], upload.size_bytes)
        check("status", attachment["status"], "ready")
        upload.status = "ready"
        upload.seconds = time.monotonic() - started
        upload.attachment_id = attachment["id"]

    def _share(self, uploads: list[Upload]) -> None:
        ids = [upload.attachment_id for upload in uploads]
        self._bob.call("GET", f"/attachments/{ids[0]}", expected=HTTPStatus.NOT_FOUND)
        self._say("Bob does not see them yet", "404 not_found")

        conversation = self._alice.call(
            "POST",
            "/conversations",
            expected=HTTPStatus.CREATED,
            json={"participants": [self._bob.user_id]},
        ).json()
        messages = f"/conversations/{conversation['id']}/messages"
        message = {"text": "Look at these!", "attachment_ids": ids}
        self._alice.call("POST", messages, expected=HTTPStatus.CREATED, json=message)
        self._say("Alice hangs them on a message to Bob", "201")

        (received,) = self._bob.call("GET", messages).json()["results"]
        check("attachments of the message", [item["id"] for item in received["attachments"]], ids)
        self._say("Bob reads the message", f"200, {len(ids)} attachments")

        with self._console.status("Bob is downloading …"):
            for upload, item in zip(uploads, received["attachments"], strict=True):
                check_download(item["download_url"], upload)
        self._say("Bob downloads each by its download_url", "same bytes, type and name")
        with self._console.status("Bob is downloading …"):
            for upload in uploads:
                check_download(self._bob.find_file(upload.attachment_id), upload)
        self._say("… and by its stable address, /download", "302, the same")

    def _refuse(self, uploads: list[Upload]) -> None:
        """Bob does this, because Alice has used up her presigns of this minute."""
        picture, other = (
            next(upload for upload in uploads if upload.content_type == content_type)
            for content_type in ("image/jpeg", "image/png")
        )
        request = {"filename": picture.name, "content_type": picture.content_type}
        ticket = self._bob.presign(**request)
        small = self._bob.presign(**request, size_bytes=100)

        page = {"filename": "page.html", "content_type": "text/html"}
        self._refuse_form("A web page", page, "content_type_not_allowed")
        too_large = {**request, "size_bytes": ticket["max_size_bytes"] + 1}
        label = f"A file of {too_large['size_bytes']:,} bytes"
        self._refuse_form(label, too_large, "file_too_large")
        post_file(small, picture.path, expected=HTTPStatus.BAD_REQUEST)
        self._say("More bytes than were declared", "400 from the store itself")
        self._swap(ticket, picture, other)
        path = f"/attachments/{ticket['attachment_id']}"
        self._alice.call("GET", path, expected=HTTPStatus.NOT_FOUND)
        self._say("Alice asks for what Bob did not share", "404 not_found")

        for unwanted in (ticket, small):
            path = f"/attachments/{unwanted['attachment_id']}"
            self._bob.call("DELETE", path, expected=HTTPStatus.NO_CONTENT)

    def _refuse_form(self, label: str, request: dict[str, Any], code: str) -> None:
        path = "/attachments/presigned"
        answer = self._bob.call("POST", path, expected=HTTPStatus.BAD_REQUEST, json=request)
        check(label, answer.json()["errors"][0]["code"], code)
        self._say(label, f"400 {code}")

    def _swap(self, ticket: dict[str, Any], picture: Upload, other: Upload) -> None:
        """The form still works after the confirm; what is served stays what was confirmed."""
        post_file(ticket, picture.path)
        confirmed = self._bob.confirm(ticket)
        post_file(ticket, other.path)
        check("the second confirm", self._bob.confirm(ticket), confirmed)
        check_download(confirmed["download_url"], picture)
        check_download(self._bob.find_file(confirmed["id"]), picture)
        self._say("Another file posted after the confirm", "what is served did not change")

    def _open_chapter(self, title: str) -> None:
        self._console.print()
        self._console.print(f"[bold]{title}[/]")

    def _say(self, what: str, answer: str = "") -> None:
        line = f"{what:<42} [dim]{answer}[/]" if answer else what
        self._console.print(f"  [green]✓[/] {line}")

    def _say_waiting(self, seconds: int) -> None:
        self._console.print(f"  [yellow]… too many forms in a minute: waiting {seconds} s[/]")

    def _draw(self, uploads: list[Upload]) -> Table:
        bar_width = 20 if self._console.width >= WIDE else 6
        table = Table(box=SIMPLE_HEAD, pad_edge=True, collapse_padding=True)
        for title in ("Type", "Name"):
            table.add_column(title, no_wrap=True)
        table.add_column("Size", justify="right", no_wrap=True)
        if self._console.is_terminal:
            table.add_column("Sent", width=bar_width)
        table.add_column("Status", no_wrap=True, width=10)
        table.add_column("Time", justify="right", no_wrap=True)
        for upload in uploads:
            bar = ProgressBar(total=upload.size_bytes, completed=upload.sent_bytes, width=bar_width)
            table.add_row(
                upload.content_type,
                upload.name,
                decimal(upload.size_bytes),
                *([bar] if self._console.is_terminal else []),
                "[green]✓ ready[/]" if upload.seconds else f"[yellow]{upload.status}[/]",
                f"{upload.seconds * 1000:.0f} ms" if upload.seconds else "",
            )
        return table


def check_download(url: str, upload: Upload) -> None:
    """Check that the store serves the file as it was sent: its bytes, its type, its name."""
    with requests.get(url, stream=True, timeout=TIMEOUT_SECONDS) as response:
        if response.status_code != HTTPStatus.OK:
            raise UnexpectedAnswer(response, expected=HTTPStatus.OK)
        digest = hashlib.sha256()
        for chunk in response.iter_content(64 * 1024):
            digest.update(chunk)
    check(f"SHA-256 of {url}", digest.hexdigest(), hash_file(upload.path).hex())
    check(f"type of {url}", response.headers["Content-Type"], upload.content_type)
    disposition = Message()
    disposition["Content-Disposition"] = response.headers.get("Content-Disposition", "")
    check(f"name of {url}", disposition.get_filename(), upload.name)
    check(f"{url} never changes", "immutable" in response.headers["Cache-Control"], True)


def hash_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
