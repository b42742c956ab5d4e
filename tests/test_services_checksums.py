"""The SHA-256 of a ready file that the store did not tell."""

import pytest

from attachments import services, storage
from attachments.models import Attachment
from tests.stores import get_checksum

pytestmark = pytest.mark.django_db


@pytest.fixture
def unhashed(user, attachment_of):
    """Make a ready attachment without a SHA-256."""

    def make():
        attachment = attachment_of(user)
        attachment.change(where={}, checksum_sha256="")
        return attachment

    return make


def test_a_checksum_is_kept_for_its_own_file_alone(unhashed, samples):
    attachment, other = unhashed(), unhashed()

    services.process_attachment(attachment_id=attachment.pk)

    expected = get_checksum(samples["image/png"])
    assert Attachment.find(attachment.pk).checksum_sha256 == expected
    assert Attachment.find(other.pk).checksum_sha256 == ""


def test_a_checksum_of_what_was_replaced_meanwhile_is_not_kept(unhashed, monkeypatch):
    attachment = unhashed()

    def replace(key):
        Attachment.objects.update(storage_key=attachment.make_key())
        return "A" * 43 + "="

    monkeypatch.setattr(storage, "find_checksum", replace)

    services.process_attachment(attachment_id=attachment.pk)

    assert Attachment.objects.get().checksum_sha256 == ""
