"""Each request has an id, which is in its answer, its log lines and its tasks."""

import json
import logging

import pytest

from attachments import events, services
from attachments.services import nudges
from nodus.logs import JSONFormatter, TextFormatter
from nodus.requests import logger
from tests.stores import take_store_away

pytestmark = pytest.mark.django_db(transaction=True)
BASE = "/api/v1/attachments"


@pytest.fixture
def lines():
    """A function that gives what was logged as JSON until now."""
    found = []

    class Handler(logging.Handler):
        def emit(self, record):
            found.append(self.format(record))

    handler = Handler()
    handler.setFormatter(JSONFormatter())
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel("INFO")
    root.addHandler(handler)
    yield lambda: [json.loads(line) for line in found]
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize(
    ("given", "is_taken"),
    [
        ("5f2c-A.b_c", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("a b", False),
        ('"}', False),
        ("идентификатор", False),
    ],
)
def test_an_id_is_taken_if_it_is_harmless(client, given, is_taken):
    response = client.get("/health/live", headers={"X-Request-ID": given})

    assert (response["X-Request-ID"] == given) is is_taken
    assert response["X-Request-ID"]


def test_a_whole_flow_can_be_read_in_the_log(api, user, post_file, samples, lines):
    content = samples["image/png"]
    headers = {"X-Request-ID": "flow-1"}
    request = {"filename": "salary.png", "content_type": "image/png", "size_bytes": len(content)}

    ticket = api(user).post(f"{BASE}/presigned", request, format="json", headers=headers).json()
    post_file(ticket, content)
    body = {"attachment_id": ticket["attachment_id"]}
    ready = api(user).post(f"{BASE}/confirm", body, format="json", headers=headers).json()
    api(user).delete(f"{BASE}/{ready['id']}", headers=headers)

    flow = [line for line in lines() if line.get("request_id") == "flow-1"]
    assert [line["event"] for line in flow if line["event"] != "objects_deleted"] == [
        *("presigned", "request", "published", "confirmed", "request", "deleted", "request")
    ]
    of_file = [line for line in flow if line["event"] in ("presigned", "published", "confirmed")]
    for line in of_file:
        assert line["attachment_id"] == ready["id"]
        assert (line["user_id"], line["size_bytes"]) == (user.pk, len(content))
    assert all("seconds" in line for line in flow if line["event"] in ("request", "confirmed"))
    requests = [line for line in flow if line["event"] == "request"]
    assert [(line["status"], line["user_id"]) for line in requests] == [
        *((201, user.pk), (200, user.pk), (204, user.pk))
    ]
    nonce = ready["download_url"].split("/")[-2]
    text = json.dumps(lines())
    for secret in ("salary", nonce, ticket["fields"]["policy"], "eyJ", "X-Amz-Signature"):
        assert secret not in text


def test_an_outage_is_logged_once_with_its_reason(api, user, upload, settings, lines):
    ticket = upload(user)
    take_store_away(settings)

    body = {"attachment_id": str(ticket.attachment_id)}
    api(user).post(f"{BASE}/confirm", body, format="json", headers={"X-Request-ID": "out-1"})

    of_request = [line for line in lines() if line.get("request_id") == "out-1"]
    causes = [line for line in of_request if "Could not connect" in json.dumps(line)]
    assert [line["event"] for line in causes] == ["store_failed"]
    assert [line["event"] for line in of_request if line["level"] == "warning"] == [
        *("store_failed", "request")
    ]
    assert of_request[-1]["code"] == "storage_unavailable"


def test_the_query_is_in_no_log(api, user, lines):
    api(user).get(f"{BASE}?message_id=1&token=secret-of-somebody")

    assert "secret-of-somebody" not in json.dumps(lines())


def test_what_a_request_leaves_to_workers_names_it(api, user, upload):
    ticket = upload(user)
    nudges.served.take()
    body = {"attachment_id": str(ticket.attachment_id)}

    api(user).post(f"{BASE}/confirm", body, format="json", headers={"X-Request-ID": "work-1"})

    assert nudges.served.take() == [(str(ticket.attachment_id), "work-1")]


def test_a_task_logs_the_request_that_left_it(user, upload, lines):
    from attachments import tasks

    ticket = upload(user)
    services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    tasks.process_attachments.call([str(ticket.attachment_id)], ["work-2"])

    (processed,) = [line for line in lines() if line["event"] == "processed"]
    assert (processed["request_id"], processed["step"]) == ("work-2", "inspect")
    assert events.request_id.get() == ""


def test_probes_are_not_in_the_log(client, lines):
    client.get("/health/live")

    assert [line for line in lines() if line["event"] == "request"] == []


def test_the_log_of_requests_can_be_turned_off(client, settings, lines):
    settings.LOG_REQUESTS = False

    client.get("/api/v1/nothing")

    assert [line for line in lines() if line["logger"] == logger.name] == []


@pytest.mark.parametrize("formatter", [JSONFormatter(), TextFormatter()])
def test_a_crash_keeps_its_traceback(formatter):
    try:
        raise ZeroDivisionError("of ours")
    except ZeroDivisionError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("nodus", logging.ERROR, "a.py", 1, "It %s", ("broke",), info)

    with events.acting_for("crash-1"):
        text = formatter.format(record)

    assert "It broke" in text
    assert "of ours" in text
    assert "crash-1" in text
    assert ("\n" in text) is isinstance(formatter, TextFormatter)
