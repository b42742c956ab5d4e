"""POST presigned/batch, to the letter of the contract."""

import json

import pytest

from attachments.models import Attachment
from tests.test_api_views import BASE, PNG, confirm, get_error

pytestmark = pytest.mark.django_db

BATCH = f"{BASE}/presigned/batch"


@pytest.fixture
def client(api, user):
    return api(user)


def presign_batch(client, files, key=None):
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(BATCH, {"files": files}, format="json", headers=headers)


def make_files(count):
    return [{**PNG, "filename": f"{number}.png"} for number in range(count)]


def get_ids(response):
    assert response.status_code == 201
    return [ticket["attachment_id"] for ticket in response.json()["tickets"]]


@pytest.mark.parametrize("count", [1, 20])
def test_tickets_are_in_the_order_of_the_files(client, count, post_file, samples):
    response = presign_batch(client, make_files(count))

    ids = get_ids(response)
    filenames = {str(row.pk): row.filename for row in Attachment.objects.all()}
    assert [filenames[pk] for pk in ids] == [file["filename"] for file in make_files(count)]
    assert response.json().keys() == {"tickets"}
    assert "Idempotent-Replayed" not in response.headers
    for ticket in response.json()["tickets"]:
        assert ticket["fields"]["key"] == f"pending/{ticket['attachment_id']}"
        assert (ticket["expires_in"], ticket["max_size_bytes"]) == (600, 104857600)
    ticket = response.json()["tickets"][-1]
    assert post_file(ticket, samples["image/png"]).status_code == 204
    assert confirm(client, ticket["attachment_id"]).json()["filename"] == f"{count - 1}.png"


def test_a_ticket_of_a_batch_is_as_one_by_itself(client):
    alone = client.post(f"{BASE}/presigned", PNG, format="json").json()

    (ticket,) = presign_batch(client, [PNG]).json()["tickets"]

    assert ticket.keys() == alone.keys()
    assert ticket["fields"].keys() == alone["fields"].keys()


@pytest.mark.parametrize(
    ("file", "status", "code", "attr"),
    [
        ({"content_type": "text/html"}, 400, "content_type_not_allowed", "files.3.content_type"),
        ({"size_bytes": 104857601}, 400, "file_too_large", "files.3.size_bytes"),
        ({"filename": "a/b"}, 400, "invalid_filename", "files.3.filename"),
        ({"filename": 5}, 400, "invalid", "files.3.filename"),
        ({"metadata": []}, 400, "invalid_metadata", "files.3.metadata"),
        ({"message_id": 999}, 404, "not_found", "files.3.message_id"),
    ],
)
def test_one_bad_file_refuses_all(client, file, status, code, attr):
    files = make_files(5)
    files[3] = {**files[3], **file}

    response = presign_batch(client, files)

    assert get_error(response) == (status, code, attr)
    assert not Attachment.objects.exists()


@pytest.mark.parametrize(
    ("body", "code", "attr"),
    [
        ({}, "required", "files"),
        ({"files": None}, "null", "files"),
        ({"files": "a.png"}, "not_a_list", "files"),
        ({"files": []}, "min_length", "files"),
        ({"files": make_files(21)}, "max_length", "files"),
        ({"files": ["a.png"]}, "invalid", "files.0"),
        ({"files": [{"filename": "a.png"}]}, "required", "files.0.content_type"),
    ],
)
def test_a_batch_is_1_to_20_files(client, body, code, attr):
    response = client.post(BATCH, body, format="json")

    status, found_code, found_attr = get_error(response)
    assert (status, found_code) == (400, code)
    assert found_attr.startswith(attr)
    assert not Attachment.objects.exists()


def test_a_body_of_up_to_256_kib_is_read(client):
    files = [{**file, "metadata": {"text": "x" * 8_000}} for file in make_files(20)]

    assert len(get_ids(presign_batch(client, files))) == 20


def test_a_larger_body_is_refused(client):
    body = json.dumps({"files": make_files(1)}).ljust(256 * 1024 + 1).encode()

    response = client.post(BATCH, body, content_type="application/json")
    just_fits = client.post(BATCH, body[:-1], content_type="application/json")

    assert get_error(response) == (413, "request_too_large", None)
    assert just_fits.status_code == 201


def test_nobody_gets_tickets_without_a_token(api):
    assert get_error(presign_batch(api(), [PNG])) == (401, "not_authenticated", None)
    assert not Attachment.objects.exists()


def test_one_key_covers_the_call(client):
    first = presign_batch(client, make_files(3), key="k")
    second = presign_batch(client, make_files(3), key="k")

    assert get_ids(second) == get_ids(first)
    assert "Idempotent-Replayed" not in first.headers
    assert second["Idempotent-Replayed"] == "true"
    assert Attachment.objects.count() == 3


@pytest.mark.parametrize("files", [make_files(2), make_files(4), make_files(3)[::-1]])
def test_a_key_is_for_one_body(client, files):
    presign_batch(client, make_files(3), key="k")

    assert get_error(presign_batch(client, files, key="k")) == (422, "idempotency_key_reused", None)
    assert Attachment.objects.count() == 3


def test_a_replay_replaces_what_is_gone(client):
    first = get_ids(presign_batch(client, make_files(3), key="k"))
    client.delete(f"{BASE}/{first[1]}")

    replay = presign_batch(client, make_files(3), key="k")

    second = get_ids(replay)
    assert (second[0], second[2]) == (first[0], first[2])
    assert second[1] not in first
    assert Attachment.objects.get(pk=second[1]).filename == "1.png"
    assert replay["Idempotent-Replayed"] == "true"
    assert get_ids(presign_batch(client, make_files(3), key="k")) == second


def test_a_key_of_a_refused_batch_is_free(client):
    bad = [*make_files(2), {**PNG, "filename": ""}]

    assert presign_batch(client, bad, key="k").status_code == 400

    response = presign_batch(client, make_files(3), key="k")
    assert len(get_ids(response)) == 3
    assert "Idempotent-Replayed" not in response.headers
