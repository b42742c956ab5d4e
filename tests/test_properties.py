"""What holds for all input, tried with much of it: hypothesis makes it up.

The same input in each run. ``FUZZ_EFFORT=50`` tries fifty times as much, other input each time.
"""

import json
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.http import parse_options_header

from attachments.conf import DEFAULTS
from attachments.rules.content_types import get_extensions
from tests.access import make_file
from tests.effort import EFFORT

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),
    pytest.mark.filterwarnings("ignore:.* received a naive datetime"),  # of typed addresses
]

BASE = "/api/v1/attachments"
TYPES = list(DEFAULTS["ALLOWED_CONTENT_TYPES"])


def trying(count: int) -> Any:
    return settings(
        max_examples=count * EFFORT,
        derandomize=EFFORT == 1,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@contextmanager
def undone():
    """What is done to the rows here is undone."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@dataclass(repr=False)  # a failure would print the samples
class World:
    client: Any
    user: Any
    samples: dict[str, bytes]
    post_file: Any
    staff: Any


@pytest.fixture
def world(api, bucket, user, samples, post_file, django_user_model):
    client = api(user)
    client.raise_request_exception = False
    staff = django_user_model.objects.create_superuser("root")
    return World(client, user, samples, post_file, staff)


def presign(world, **body):
    return world.client.generic("POST", f"{BASE}/presigned", json.dumps(body), "application/json")


# What people write

SPECIAL = "\u202e\u200f\u0000\n\r\t\\/:\"'%;.= ~\u00a0\ufeff\U0001f408\ud800\u0301"
text = st.one_of(st.text(max_size=40), st.text(SPECIAL + "ab", max_size=20), st.text(max_size=300))
names = st.one_of(
    text,
    st.tuples(text, st.sampled_from(["exe", "png", "PNG", "svg", "html", "pdf.html", "mp4 ", "tar.gz", ""]))
    .map(".".join),
)  # fmt: skip
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), text
)
documents = st.dictionaries(
    text,
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=12),
    max_size=5,
)  # fmt: skip


@given(name=names, metadata=documents, content_type=st.sampled_from(TYPES))
@trying(120)
def test_detail_gives_what_presign_was_given(world, name, metadata, content_type):
    with undone():
        answer = presign(world, filename=name, content_type=content_type, metadata=metadata)
        assert answer.status_code in (201, 400), answer.content
        if answer.status_code == 201:
            found = world.client.get(f"{BASE}/{answer.json()['attachment_id']}").json()
            given_name = unicodedata.normalize("NFC", name)
            assert unicodedata.normalize("NFC", found["filename"]) in (
                given_name,
                given_name.strip(),
            )
            assert found["content_type"] == content_type
            assert as_doubles(found["metadata"]) == as_doubles(metadata)


def as_doubles(document):
    """As JavaScript reads it: 1e17 comes back as an integer, the same number."""
    return json.loads(json.dumps(document), parse_int=float)


likely = st.characters(
    exclude_categories=["C"], exclude_characters="/\\", include_characters="\u200f"
)
likely_names = st.text(likely, min_size=1, max_size=60) | names


@given(name=likely_names, content_type=st.sampled_from(TYPES))
@trying(25)
def test_a_browser_saves_a_file_under_a_name_of_its_type(world, name, content_type):
    """The real way: whatever name presign takes, and what the store says of it in the end."""
    with undone():
        answer = presign(world, filename=name, content_type=content_type)
        if answer.status_code == 400:
            return
        ticket = answer.json()
        assert world.post_file(ticket, world.samples[content_type]).status_code == 204
        confirmed = confirm(world, ticket)
        assert confirmed.status_code == 200, confirmed.content
        for query in ("", "?disposition=attachment"):
            link = world.client.get(f"{BASE}/{ticket['attachment_id']}/download{query}")["Location"]
            assert_is_saved_safely(requests.get(link, timeout=10), content_type)


def assert_is_saved_safely(served, content_type):
    """Under each name in it: old browsers read ``filename``, others ``filename*``."""
    header = served.headers["Content-Disposition"]
    kind, both = parse_options_header(header)
    _, old = parse_options_header(header.partition("; filename*=")[0])
    assert served.headers["Content-Type"] == content_type
    assert kind in ("inline", "attachment")
    for saved in {both["filename"], old.get("filename", both["filename"])}:
        assert "." + saved.rpartition(".")[2].lower() in extensions_of(content_type)
        assert saved.rstrip(". ") == saved
        assert not set(saved) & set("/\\\0\r\n\t\u202e\u200f")


def extensions_of(content_type):
    return {f".{extension.lstrip('.')}" for extension in get_extensions(content_type)}


def confirm(world, ticket):
    body = {"attachment_id": ticket["attachment_id"]}
    return world.client.post(f"{BASE}/confirm", body, format="json")


# What their files are

openings = [b"<html><script>alert(1)</script>", b"<svg xmlns='http://www.w3.org/2000/svg'>", b"MZ", b"PK\3\4", b"%PDF-", b"#!/bin/sh\n", b"\xef\xbb\xbf<!doctype html>", b"ID3", b"OggS", b"\x1aE\xdf\xa3", b"RIFF\0\0\0\0WEBP", b"\0\0\0\x18ftypmp42", b""]  # fmt: skip


@st.composite
def files(draw):
    """A declared type, and bytes of it, of another, of both or of none; cut, and some changed."""
    content_type = draw(st.sampled_from(TYPES))
    start = draw(st.just(b"") | st.sampled_from(openings))
    sample = draw(st.just(content_type) | st.sampled_from(TYPES))
    cut = draw(st.none() | st.integers(0, 400))
    changes = draw(st.just([]) | st.lists(st.tuples(st.integers(0, 100), st.integers(0, 255))))
    return content_type, start, sample, cut, changes, draw(st.binary(max_size=30))


def build(world, start, sample, cut, changes, end):
    content = bytearray(start + world.samples[sample][:cut] + end)
    for place, value in changes:
        if place < len(content):
            content[place] = value
    return bytes(content) or b"\0"


@given(file=files())
@trying(60)
def test_bytes_are_refused_or_served_as_the_type_that_was_verified(world, file):
    content_type, *parts = file
    content = build(world, *parts)
    with undone():
        ticket = presign(world, filename="file", content_type=content_type).json()
        assert world.post_file(ticket, content).status_code == 204
        answer = confirm(world, ticket)
        if answer.status_code == 422:
            assert answer.json()["errors"][0]["code"] == "content_mismatch"
            found = world.client.get(f"{BASE}/{ticket['attachment_id']}").json()
            assert (found["status"], found["download_url"]) == ("rejected", None)
            return
        assert answer.status_code == 200, answer.content
        served = requests.get(answer.json()["download_url"], timeout=10)
        assert served.content == content
        assert served.headers["Content-Type"] == content_type
        assert_is_saved_safely(served, content_type)


# What clients and proxies send around it

# RFC 9110, 5.5: servers let neither of the three through.
in_headers = st.characters(max_codepoint=255, exclude_characters="\0\r\n")
headers = st.fixed_dictionaries(
    {},
    optional={
        name: st.one_of(st.text(in_headers, max_size=30), st.sampled_from(values))
        for name, values in {
            "Idempotency-Key": ["", "k" * 256, "é", "a"],
            "Content-Type": ["application/json", "application/json; charset=utf-16", "text/html", "multipart/form-data", "a/b;c=\xff", ";"],
            "Authorization": ["Bearer", "Bearer ", "Bearer a.b.c", "Basic YTpi", "Bearer \xff", "Bearer a b", "bearer x"],
            "Accept": ["", "*/*", "image/*", "text/html", "application/json;q=0", ";;", "application/json; indent=99999"],
            "Accept-Language": ["ru", "ru-RU,*;q=0.1", "zz", "en;q=abc", "x" * 600, "*"],
            "X-Forwarded-For": ["1.2.3.4", "::1, x", "unknown"],
            "X-Forwarded-Proto": ["https", "ftp", "https,http"],
            "X-Forwarded-Host": ["evil.example", ":", "a b"],
            "Cookie": ["sessionid=\"\\000aaaaaaaaa\"", "csrftoken=\"\\000\"", "django_language=\"\\000\"", "a" * 50, "messages=x"],
            "Transfer-Encoding": ["chunked", "gzip", "chunked, gzip"],
            "Content-Length": ["0", "99999999999", "-1", "x", ""],
            "Range": ["bytes=0-1"],
            "If-None-Match": ["*", "\""],
            "X-HTTP-Method-Override": ["DELETE"],
            "Origin": ["null", "https://evil.example", "http://["],
            "Host": ["localhost", "localhost:99999", "[::1"],
        }.items()
    },
)  # fmt: skip
CALLS = [
    ("POST", f"{BASE}/presigned", {"filename": "a", "content_type": "image/png"}),
    ("POST", f"{BASE}/presigned/batch", {"files": [{"filename": "a", "content_type": "image/png"}]}),
    ("POST", f"{BASE}/confirm", {"attachment_id": "{id}"}),
    ("GET", BASE, None),
    ("GET", f"{BASE}/{{id}}", None),
    ("GET", f"{BASE}/{{id}}/download", None),
    ("DELETE", f"{BASE}/{{id}}", None),
    ("POST", "/api/v1/auth/token", {"username": "alice", "password": "wrong"}),
    ("POST", "/api/v1/auth/token/refresh", {"refresh": "x"}),
    ("POST", "/api/v1/conversations", {"participants": []}),
    ("GET", "/health", None),
    ("GET", "/api/docs", None),
]  # fmt: skip


@given(call=st.sampled_from(CALLS), sent=headers)
@trying(200)
def test_no_header_makes_an_answer_that_is_not_described(world, call, sent):
    method, path, body = call
    with undone():
        file = make_file("ready", user=world.user)
        content = json.dumps(body).replace("{id}", str(file.pk)) if body else ""
        names = {name: spell(name) for name in sent}
        extra = {names[name]: value for name, value in sent.items()}
        answer = world.client.generic(
            method,
            path.format(id=file.pk),
            content,
            extra.pop("CONTENT_TYPE", "application/json"),
            **extra,
        )
        assert_is_described(answer, path)


def spell(name: str) -> str:
    """As WSGI has it."""
    meta = name.upper().replace("-", "_")
    return meta if meta in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{meta}"


def assert_is_described(answer, path):
    """The client has compared the codes with the schema; Django alone answers for a wrong host."""
    assert answer.status_code < 500, answer.content
    if (
        answer.status_code >= 400
        and path != "/api/docs"
        and b"<h1>Bad Request" not in answer.content
    ):
        body = answer.json()
        assert body.keys() == {"type", "errors"}
        assert all(error.keys() == {"code", "detail", "attr"} for error in body["errors"])
        assert all(isinstance(error["detail"], str) and error["detail"] for error in body["errors"])


# What staff may type into the address

parameters = st.dictionaries(
    st.sampled_from([
        "q", "p", "o", "e", "all", "kind", "size", "linked", "status__exact", "status__in", "content_type", "content_type__isnull",
        "user__exact", "user__id__exact", "message__exact", "message__isnull", "id__exact", "pk", "created_at__gte", "created_at__lt",
        "created_at__year", "created_at__month", "created_at__day", "created_at__isnull", "due_at__gte", "attempts", "attempts__gt",
        "key", "_popup", "_to_field", "_facets", "days", "text", "author__exact", "conversation__exact",
    ]) | st.text(max_size=8),
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
        st.sampled_from(["\0", "0", "-1", "1", "99999", str(2**63), "9" * 40, "ready", "2026-02-30", "9999-12-31", "0001-01-01", "older.x", "1e5", "None", "true"]),
    ),
    min_size=1,
    max_size=3,
)  # fmt: skip


@given(
    page=st.sampled_from(["attachment/", "attachment/usage/", "objectdeletion/"]), query=parameters
)
@trying(150)
def test_no_address_of_the_admin_makes_it_fail(world, page, query):
    with undone():
        make_file("ready", user=world.user)
        world.client.force_login(world.staff)
        address = f"/admin/attachments/{page}?{urlencode(query)}"
        assert world.client.get(address).status_code < 500, address
