import pytest

from attachments.rules.keys import hide_nonce


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("attachments/id/nonce/a.png", "attachments/id/…"),
        ("quarantine/id/nonce", "quarantine/id/…"),
        ("thumbnails/id/nonce.webp", "thumbnails/id/…"),
        ("attachments/id/nonce?versionId=1", "attachments/id/…?versionId=1"),
        (
            "'attachments/id/nonce' \"attachments/id/nonce\"",
            "'attachments/id/…' \"attachments/id/…\"",
        ),
        ("attachments/id/nonce is gone", "attachments/id/… is gone"),
        ("attachments/ id/nonce", "attachments/ id/nonce"),
        ("attachments/id/nonce/a.png?X-Amz-Signature=s", "attachments/id/…?…"),
        ("'http://s3/?X-Amz-Signature=s' fails", "'http://s3/?…' fails"),
        ("http://s3/?X-Amz-Signature=s fails", "http://s3/?… fails"),
        ("http://s3/b?list-type=2&X-Amz-Signature=s fails", "http://s3/b?… fails"),
        ("pending/id", "pending/id"),
        ("attachments/id", "attachments/id"),
        ("other/a/b/c", "other/a/b/c"),
        (
            '"http://s3/b/pending/id?X-Amz-Credential=k&X-Amz-Signature=s".',
            '"http://s3/b/pending/id?…".',
        ),
    ],
)
def test_a_shown_key_names_the_attachment_and_opens_nothing(key, shown):
    assert hide_nonce(key) == shown
