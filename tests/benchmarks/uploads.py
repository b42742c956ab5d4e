"""Post a file to its signed form, as slowly as the caller wants."""

import socket
from typing import Any
from urllib.parse import urlsplit

from nodus.dev.samples import make_pdf
from tests.benchmarks.load import WrongAnswer

BOUNDARY = "nodus-benchmark"
CHUNK_BYTES = 2**20
SMALL_FILE_BYTES = 10_000
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
END = f"\r\n--{BOUNDARY}--\r\n".encode()
"""What follows the file."""


class Upload:
    """A POST of ``size_bytes`` of PDF. It begins when the object is made."""

    def __init__(self, ticket: dict[str, Any], *, size_bytes: int) -> None:
        address = urlsplit(ticket["url"])
        form = build_form(ticket["fields"])
        length = len(form) + size_bytes + len(END)
        head = (
            f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n"
            f"Content-Type: {FORM_TYPE}\r\n"
            f"Content-Length: {length}\r\n\r\n"
        )
        self._remaining_bytes = size_bytes
        self._chunk = make_pdf("Nodus").ljust(min(size_bytes, CHUNK_BYTES), b"\n")
        self._socket = socket.create_connection((address.hostname, address.port or 80), 30)
        self._socket.sendall(head.encode() + form)

    def send_chunk(self) -> bool:
        """Send up to one MiB more; give whether anything remains."""
        self._socket.sendall(self._chunk[: self._remaining_bytes])
        self._remaining_bytes -= min(len(self._chunk), self._remaining_bytes)
        return self._remaining_bytes > 0

    def finish(self) -> None:
        """Send all that remains; raise ``WrongAnswer`` unless the store took the file."""
        while self.send_chunk():
            pass
        self._socket.sendall(END)
        answer = self._socket.recv(65536)
        self._socket.close()
        if not answer.startswith(b"HTTP/1.1 204"):
            raise WrongAnswer(answer.decode(errors="replace"))

    def abort(self) -> None:
        self._socket.close()


def build_form(fields: dict[str, str]) -> bytes:
    """The body of a presigned POST up to the file."""
    part = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name="
    form = "".join(f'{part}"{name}"\r\n\r\n{value}\r\n' for name, value in fields.items())
    return f'{form}{part}"file"; filename="file"\r\n\r\n'.encode()


def upload_small(ticket: dict[str, Any]) -> str:
    """Upload 10 KB; give the id of the attachment."""
    Upload(ticket, size_bytes=SMALL_FILE_BYTES).finish()
    attachment_id: str = ticket["attachment_id"]
    return attachment_id
