"""schemathesis reads the schema and tries to break what it says, in every way that it knows.

Each run makes the same requests: those of the examples, of all bounds and wrong types, random ones,
and chains of calls, as of what was made, read, deleted and read again. ``FUZZ_EFFORT=50`` makes
fifty times as many random ones, others each time.
"""

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.db import connections
from rest_framework_simplejwt.tokens import AccessToken
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.transport.wsgi import WSGITransport

from tests.effort import EFFORT

EXAMPLES = 3 * EFFORT
"""Random ones of each operation, beside those of bounds and wrong types."""
MIN_CASES = 300
"""In each run; fewer would mean that most operations were left out."""


# What is refused by rules that no schema can tell: of settings, of bytes in UTF-8, of other rows.
RULES = {
    "content_type_not_allowed", "does_not_exist", "file_too_large", "idempotency_key_reused",
    "invalid_checksum", "invalid_filename", "invalid_metadata", "null_characters_not_allowed",
}  # fmt: skip


def is_right(check, failure, codes):
    """Whether the check is wrong here."""
    if check == "negative_data_rejection":
        return "`page_size`" in failure.message  # any other text gives pages of 50, as in DRF
    return check == "positive_data_acceptance" and bool(codes) and codes <= RULES


@pytest.fixture
def serve(monkeypatch):
    """nodus, as schemathesis calls it in threads of its own."""
    send = WSGITransport.send

    def send_here(transport, case, **kwargs):
        for name in ("max_redirects", "verify", "cert", "proxies"):  # of sockets: 4.32 forgets them
            kwargs.pop(name, None)
        return send(transport, case, **kwargs)

    monkeypatch.setattr(WSGITransport, "send", send_here)
    application = get_wsgi_application()

    def serve(environ, start_response):
        try:
            return application(environ, start_response)
        finally:
            connections.close_all()

    return serve


@pytest.fixture
def headers(request, bucket, user, staff_user):
    person = {"user": user, "staff": staff_user}.get(request.param)
    return {} if person is None else {"Authorization": f"Bearer {AccessToken.for_user(person)}"}


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("headers", ["anonymous", "user", "staff"], indirect=True)
def test_the_api_is_as_its_schema_says(serve, headers):
    generation = GenerationConfig(max_examples=EXAMPLES, deterministic=EFFORT == 1, no_shrink=True)
    project = ProjectConfig(headers=headers, generation=generation, continue_on_failure=True)
    config = SchemathesisConfig(seed=12, projects=ProjectsConfig(default=project))
    schema = schemathesis.openapi.from_wsgi("/api/schema", serve, config=config)

    cases, wrong = 0, []
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if isinstance(event, events.ScenarioFinished):
            cases += len(event.recorder.cases)
            wrong += find_failures(event.recorder)

    assert not wrong, "\n\n".join(wrong)
    assert cases > MIN_CASES


def find_failures(recorder):
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if info := check.failure_info:
                answer = recorder.interactions[case_id].response
                if not is_right(check.name, info.failure, read_codes(answer)):
                    yield f"{info.failure}\n{info.code_sample}\n{answer.content!r}"


def read_codes(answer):
    """Of the errors in it."""
    is_refused = 400 <= answer.status_code < 500
    return {error["code"] for error in answer.json()["errors"]} if is_refused else set()
