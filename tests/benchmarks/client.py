"""The requests that benchmarks send."""

from dataclasses import dataclass

from django.conf import settings

from tests.benchmarks.load import make_request

API = "/api/v1/attachments"
FILE = {"filename": "report.pdf", "content_type": "application/pdf"}
FILES_PER_BATCH = 20


@dataclass(frozen=True, kw_only=True)
class Client:
    """The requests of one user."""

    token: str

    def floor(self) -> bytes:
        return make_request("GET", settings.FLOOR_PATH, token=self.token)

    def presign(self) -> bytes:
        return make_request("POST", f"{API}/presigned", token=self.token, body=FILE)

    def presign_batch(self) -> bytes:
        body = {"files": [FILE] * FILES_PER_BATCH}
        return make_request("POST", f"{API}/presigned/batch", token=self.token, body=body)

    def confirm(self, attachment_id: str, **also: str) -> bytes:
        body = {"attachment_id": attachment_id, **also}
        return make_request("POST", f"{API}/confirm", token=self.token, body=body)

    def detail(self, attachment_id: str) -> bytes:
        return make_request("GET", f"{API}/{attachment_id}", token=self.token)
