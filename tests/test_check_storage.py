"""The doctor, on the real store: what is well, and each thing that can be wrong."""

import base64
import copy
import json
import re
import subprocess
import sys
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial

import pytest
from django.core.management import CommandError
from django.utils import translation

from attachments import doctor, storage
from attachments.doctor import checkup, decoding, scanner
from attachments.doctor.examination import CONTENT, Examination
from attachments.doctor.surroundings import compare_clocks, compare_regions, judge_address
from tests import commands
from tests.clamd import RealClamd, is_clamd_installed
from tests.proxy import Answer, Headers, StoreProxy
from tests.stores import (
    get_root_key,
    list_keys,
    name_bucket,
    spell_error,
    take_store_away,
    use_endpoint,
)

run = partial(commands.run, "check_storage", no_color=True)
LEFTOVER = Examination(id="of-another-run")


@pytest.fixture
def ready_bucket(empty_bucket):
    storage.setup_bucket()
    return empty_bucket


@pytest.fixture
def set_up(settings):
    """Change what the app is configured with, until the test ends."""

    def change(*, options=None, **keys):
        settings.STORAGES = copy.deepcopy(settings.STORAGES)
        settings.STORAGES["attachments"]["OPTIONS"].update(options or {})
        settings.ATTACHMENTS = {**settings.ATTACHMENTS, **keys}

    return change


@pytest.fixture
def proxy(settings, ready_bucket):
    """Between the app and the store, and between its clients and the store."""
    options = settings.STORAGES["attachments"]["OPTIONS"]
    with StoreProxy(options["endpoint_url"]) as proxy:
        use_endpoint(settings, proxy.url)
        settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_ENDPOINT_URL": ""}
        yield proxy


def check(level):
    """The names of the findings of this level, and all findings by their names."""
    findings = {finding.name: finding for finding in doctor.check_storage()}
    return {name for name, finding in findings.items() if finding.level == level}, findings


def test_all_is_well_and_nothing_is_left(ready_bucket):
    with translation.override("ru"):  # programs get English
        findings = json.loads(run("--json"))

    assert [finding for finding in findings if finding["level"] != "ok"] == []
    assert findings[0] == {
        "level": "ok",
        "name": "bucket",
        "what": "the bucket, by the main key",
        "seen": ready_bucket.name,
        "meaning": "",
        "mend": "",
    }
    assert [finding["name"] for finding in findings] == [
        *(probe.name for probe in doctor.list_probes()),
        "clean-up",
    ]
    assert list_keys(ready_bucket) == set()


def test_private_links_alone(ready_bucket, set_up):
    set_up(PUBLIC_READ=False)
    storage.setup_bucket()

    wrong, findings = check("error")

    assert wrong == set()
    assert findings["anonymous-read"].seen == "refused: 403 AccessDenied"
    assert findings["signer-read-attachments"].level == "ok"
    assert "public-link" not in findings


def test_keys_that_are_not_of_their_own_are_warnings_and_no_failure(ready_bucket, set_up, settings):
    options = settings.STORAGES["attachments"]["OPTIONS"]
    main = {"SIGNER_ACCESS_KEY": options["access_key"], "SIGNER_SECRET_KEY": options["secret_key"]}
    set_up(**main, READER_ACCESS_KEY="", READER_SECRET_KEY="")

    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in run(status=0).splitlines()
        if line.startswith("│")
    ]

    levels = {what: level for level, what, *_ in rows if level}
    assert levels["S3_SIGNER_ACCESS_KEY"] == levels["S3_READER_ACCESS_KEY"] == "warning"
    assert levels["not tried"] == "warning"
    text = " ".join(cell for row in rows for cell in row)
    assert "it is the key of: main, signer" in text
    assert "docs/security.md" in text


# What is wrong with the bucket


def test_a_bucket_that_anybody_reads(ready_bucket):
    statement = {
        "Sid": "theirs",
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{ready_bucket.name}", f"arn:aws:s3:::{ready_bucket.name}/*"],
    }
    policy = ready_bucket.Policy()
    policy.put(Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))

    try:
        found = json.loads(run("--json", status=1))
    finally:
        policy.delete()

    wrong = {finding["name"] for finding in found if finding["level"] == "error"}
    assert wrong >= {"anonymous-read-pending", "anonymous-read-quarantine", "anonymous-list"}
    assert all(finding["mend"] for finding in found if finding["level"] == "error")


def test_a_bucket_that_nobody_set_up(s3, set_up):
    set_up(options={"bucket_name": name_bucket()})
    s3.create_bucket(Bucket=storage.get_bucket())

    wrong, findings = check("error")

    assert wrong == {"policy", "lifecycle", "public-link"}
    assert all("Run “manage.py setup_storage”" in findings[name].mend for name in wrong)


def test_a_missing_bucket_is_made_by_nobody(s3, set_up):
    set_up(options={"bucket_name": name_bucket()})

    wrong, findings = check("error")

    assert wrong == {"bucket"}
    assert findings["bucket"].seen == "404 NoSuchBucket"
    assert "setup_storage" in findings["bucket"].mend
    assert "an upload by a signed form" in findings["not-tried"].seen
    assert s3.Bucket(storage.get_bucket()).creation_date is None


# What is wrong with the keys


def test_without_the_admin_key_it_says_what_it_cannot_see(ready_bucket, set_up):
    set_up(ADMIN_ACCESS_KEY="", ADMIN_SECRET_KEY="")

    warnings, findings = check("warning")

    unseen = {"policy", "lifecycle", "versions"}
    assert warnings == {"admin-key", "not-tried"} | unseen
    mends = {findings[name].mend for name in unseen}
    assert mends == {"Run this where S3_ADMIN_ACCESS_KEY is set."}
    assert all(finding.level != "error" for finding in findings.values())


def test_signer_and_reader_are_one_key(ready_bucket, set_up, settings):
    signer = settings.ATTACHMENTS["SIGNER_ACCESS_KEY"], settings.ATTACHMENTS["SIGNER_SECRET_KEY"]
    set_up(READER_ACCESS_KEY=signer[0], READER_SECRET_KEY=signer[1], PUBLIC_READ=False)
    storage.setup_bucket()

    wrong, findings = check("error")

    assert wrong == {"private-link"}
    assert findings["private-link"].seen == "403 AccessDenied"
    assert "the key of S3_READER_ACCESS_KEY the right s3:GetObject" in findings["private-link"].mend
    assert findings["reader-key"].level == "warning"


def test_a_signer_that_may_do_all(ready_bucket, set_up):
    root = get_root_key()
    set_up(SIGNER_ACCESS_KEY=root.access_key, SIGNER_SECRET_KEY=root.secret_key)

    wrong, _ = check("error")

    assert wrong == {
        "signer-write-attachments",
        "signer-write-quarantine",
        "signer-write-thumbnails",
        "signer-read-pending",
        "signer-list",
        "signer-delete",
    }
    assert list_keys(ready_bucket) == set()


def test_the_main_key_has_a_wrong_secret(ready_bucket, set_up):
    set_up(options={"secret_key": "wrong"})

    wrong, findings = check("error")

    assert wrong == {"bucket"}
    assert findings["bucket"].seen == "403 SignatureDoesNotMatch"
    assert "The secret is not that of the key in S3_ACCESS_KEY" in findings["bucket"].mend


def test_the_admin_key_has_a_wrong_secret(ready_bucket, set_up):
    set_up(ADMIN_SECRET_KEY="wrong")

    wrong, findings = check("error")

    assert wrong == {"admin-known"}
    assert findings["admin-known"].seen == "403 SignatureDoesNotMatch"
    assert "that of the key in S3_ADMIN_ACCESS_KEY" in findings["admin-known"].mend


def test_a_key_that_the_store_does_not_know(ready_bucket, set_up):
    set_up(SIGNER_ACCESS_KEY="nobody", SIGNER_SECRET_KEY="nobody")

    wrong, findings = check("error")

    assert wrong == {"post"}
    assert findings["post"].seen == "403 InvalidAccessKeyId"


# What is wrong with the way to the store


def test_the_store_is_down(settings):
    take_store_away(settings)

    with pytest.raises(CommandError, match="Could not connect") as stopped:
        run()
    assert stopped.value.returncode == 2
    assert "X-Amz-" not in str(stopped.value)


def test_clients_get_an_address_where_nothing_listens(ready_bucket, set_up):
    set_up(PUBLIC_ENDPOINT_URL="http://127.0.0.1:9")

    wrong, findings = check("error")

    assert wrong == {"endpoint"}
    assert "Could not connect" in findings["endpoint"].seen
    assert "S3_PUBLIC_ENDPOINT_URL" in findings["endpoint"].mend


def test_clients_get_the_address_of_another_site(proxy, set_up):
    proxy.answer("ListObjects", 200, b"<html>Welcome</html>")
    set_up(PUBLIC_ENDPOINT_URL=proxy.url)

    wrong, findings = check("error")

    assert wrong == {"endpoint"}
    assert findings["endpoint"].meaning == "What answers there is not a store."


@pytest.mark.parametrize(
    ("url", "meaning"),
    [
        ("http://minio:9000", "Only machines beside the store know such a name."),
        ("http://files.example.com", "A page on https may not post to a store on http."),
        ("https://files.example.com", ""),
        ("http://localhost:9000", ""),
    ],
)
def test_addresses_that_clients_will_not_reach(set_up, url, meaning):
    origin = "https://app.example.com" if "example.com" in url else "http://localhost:5173"
    set_up(PUBLIC_ENDPOINT_URL=url, CORS_ALLOWED_ORIGINS=[origin])

    seen = judge_address(LEFTOVER)

    assert str(seen.meaning) == meaning
    assert seen.level == ("warning" if meaning else "ok")


def test_the_clock_of_the_store(proxy):
    def tell(date):
        proxy.rewrite("HeadBucket", response=lambda headers: replace(headers, "Date", date))
        return compare_clocks(LEFTOVER)

    for seconds, level in [(0, "ok"), (-90, "warning"), (90, "warning"), (700, "error")]:
        told = datetime.now(UTC) + timedelta(seconds=seconds)
        assert tell(format_datetime(told, usegmt=True)).level == level
    for date in ("nonsense", ""):
        assert tell(date) == ("ok", "the store does not tell its time", "", "")


def replace(headers, name, value):
    headers[name] = value


def test_the_bucket_is_in_another_region(proxy):
    proxy.rewrite(
        "HeadBucket",
        response=lambda headers: replace(headers, "x-amz-bucket-region", "eu-north-1"),
    )

    assert compare_regions(LEFTOVER)[:2] == ("error", "the bucket is in eu-north-1")


def test_what_stands_before_the_store_says_that_it_is_away(proxy):
    proxy.answer("ListObjectsV2", 502)

    with pytest.raises(CommandError, match=r"not available.*502") as stopped:
        run()
    assert stopped.value.returncode == 2


# Stores that do what they must not: each probe is seen to find it

REFUSALS = (400, 403)
OF_CLIENTS = [
    "PostObject",
    "GetObject",
    "PutObject",
    "CopyObject",
    "DeleteObject",
    "ListObjects",
    "ListObjectsV2",
    "ListObjectVersions",
    "ListMultipartUploads",
]


def test_a_store_that_refuses_nothing(proxy, s3, set_up):
    set_up(options={"bucket_name": name_bucket()}, PUBLIC_READ=False)
    versioned = s3.create_bucket(Bucket=storage.get_bucket())
    versioned.Versioning().enable()
    storage.setup_bucket()
    for operation in OF_CLIENTS:
        proxy.add(operation, partial(take_copy_source, versioned), times=None)
        proxy.add(operation, allow, times=None)

    wrong, findings = check("error")

    assert wrong == {probe.name for probe in doctor.list_probes() if probe.must_fail}
    assert all(findings[name].meaning and findings[name].mend for name in wrong)
    assert list_keys(versioned) == set()


def allow(exchange, forward):
    """Say that it was done."""
    answer = forward()
    if answer.status in REFUSALS:
        answer.status = 200
    return answer


def take_copy_source(bucket, exchange, forward):
    """Copy what an unsigned header names, for whoever asks."""
    answer = forward()
    source = exchange.headers.get("x-amz-copy-source", "")
    if source.endswith("/copy") and "Authorization" not in exchange.headers:
        operation = "put" if exchange.method == "PUT" else "post"
        folder = source.removesuffix("/copy").replace("attachments/check", "pending/check")
        key = f"{folder.removeprefix(f'/{bucket.name}/')}/copy-source-{operation}"
        bucket.put_object(Key=key, Body=CONTENT)
    return answer


def test_a_store_that_writes_what_it_refuses(proxy, ready_bucket):
    """An answer is not believed: the probes look whether the object is there."""

    def write(exchange, forward):
        if "/signer" in exchange.call.key:
            ready_bucket.put_object(Key=exchange.call.key, Body=b"written")
        return forward()

    proxy.add("PutObject", write, times=None)

    wrong, findings = check("error")

    assert wrong == {
        "signer-write-attachments",
        "signer-write-quarantine",
        "signer-write-thumbnails",
        "signer-unsigned",
    }
    assert findings["signer-write-attachments"].seen == "403 AccessDenied: the object is there"


def test_a_store_that_takes_an_unsigned_write_is_found(proxy, ready_bucket):
    """MinIO takes one if the checksum at its end is right, as GHSA-9c4q-hq6p-c237 tells."""

    def take(exchange, forward):
        body = b"".join(exchange.incoming)
        chunk, checksum = re.fullmatch(
            rb"1\r\n(.)\r\n0\r\nx-amz-checksum-crc32:(\S+)\r\n\r\n", body
        ).groups()
        if base64.b64decode(checksum) != zlib.crc32(chunk).to_bytes(4, "big"):
            return Answer(status=400, headers=Headers(), body=[spell_error("BadDigest")])
        ready_bucket.put_object(Key=exchange.call.key, Body=chunk)
        return Answer(status=200, headers=Headers([("Content-Length", "0")]), body=[])

    proxy.add("PutObject", take, keys=lambda key: key.endswith("-unsigned"), times=None)

    wrong, findings = check("error")

    assert wrong == {"signer-unsigned", "reader-unsigned"}
    assert findings["signer-unsigned"].seen == "200: the object is there"


def test_a_store_that_breaks_down_at_a_probe_has_not_refused(proxy):
    is_probe = re.compile("/(anonymous|reader)$").search
    proxy.answer("PutObject", 500, keys=lambda key: bool(is_probe(key)), times=None)
    proxy.drop("DeleteObject", times=None)

    wrong, findings = check("error")

    writes = {f"{who}-write-{where}" for who in ("anonymous", "reader") for where in WRITABLE}
    assert wrong == writes | {f"{who}-delete" for who in ("anonymous", "reader", "signer")}
    assert all("is not known." in findings[name].meaning for name in wrong)


WRITABLE = ("pending", "attachments")


def test_a_store_that_is_too_busy_has_not_refused(proxy):
    def be_busy(exchange, forward):
        answer = forward()
        answer.status = answer.status if "Authorization" in exchange.headers else 429
        return answer

    proxy.add("GetObject", be_busy, keys="pending/", times=None)

    _, findings = check("error")

    assert findings["anonymous-read-pending"].seen == "429 AccessDenied"
    assert "is not known." in findings["anonymous-read-pending"].meaning


def test_a_store_that_loses_what_it_took(proxy):
    proxy.answer("CopyObject", 404, spell_error("NoSuchKey"), times=None)

    wrong, findings = check("error")

    assert wrong == {"freeze"}
    assert findings["freeze"].seen == "an object that this check made is gone"


def test_a_store_that_does_not_do_what_it_should(proxy, set_up, ready_bucket):
    """Browsers are not let in, a header is lost, deletion is refused, the CDN is not there."""
    set_up(CDN_URL="http://127.0.0.1:9")
    proxy.answer("OPTIONS", 403, times=None)
    proxy.add("GetObject", lose_disposition, times=None)
    refusal = "<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    proxy.answer("DeleteObjects", 200, refusal.encode(), times=None)

    wrong, findings = check("error")

    assert wrong == {"cors", "private-link", "public-link", "cdn-link", "delete", "clean-up"}
    assert findings["cors"].seen.startswith("not let in: http://localhost:5173 POST")
    assert findings["public-link"].seen == "200, image/png, "
    assert findings["delete"].seen == "AccessDenied: "
    assert "k: AccessDenied" in findings["clean-up"].seen


def lose_disposition(exchange, forward):
    answer = forward()
    if "Authorization" not in exchange.headers:
        del answer.headers["Content-Disposition"]
    return answer


def test_a_store_that_stalls_is_not_waited_for_for_ever(ready_bucket, monkeypatch):
    monkeypatch.setattr(checkup, "PATIENCE_SECONDS", 0)

    findings = doctor.check_storage()

    assert [finding.name for finding in findings] == ["not-tried"]


# What is left behind


@pytest.mark.parametrize(
    ("config", "level", "seen"),
    [
        ("AlertExceedsMax yes\nMaxRecursion 100", "ok", "Heuristics.Limits.Exceeded.MaxRecursion"),
        ("AlertExceedsMax no", "error", "clean"),
    ],
)
def test_clamd_says_what_it_did_not_look_into(tmp_path, use_scanner, config, level, seen):
    if not is_clamd_installed():
        pytest.skip("clamd is not installed (Debian: clamav-daemon)")
    clamd = RealClamd(directory=tmp_path, config=config)
    clamd.start()
    use_scanner(clamd.url)
    try:
        (probe,) = scanner.get_probes()
        found = probe.look(Examination())
    finally:
        clamd.stop()

    assert (found.level, found.text) == (level, seen)


def test_the_scanner_is_down(ready_bucket, use_scanner):
    use_scanner("unix:///nowhere/clamd.sock")

    bad, findings = check("error")

    assert bad == {"scanner"}
    assert "The virus scanner is not available" in findings["scanner"].seen


def test_a_machine_that_cannot_decode(monkeypatch):
    assert decoding.PICTURE.look(Examination()).level == "ok"
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    found = decoding.PICTURE.look(Examination())

    assert found.level == "error"
    assert "/nowhere/python" in found.text


def test_a_killed_check_is_cleaned_up_by_the_next(proxy, monkeypatch, ready_bucket):
    monkeypatch.setenv("S3_ENDPOINT_URL", proxy.url)
    held = proxy.hold("DeleteObjects")
    process = commands.start("check_storage", "--json", stdout=subprocess.DEVNULL)
    assert held.reached.wait(60)
    process.kill()
    process.wait()
    held.release()
    assert len(list_keys(ready_bucket)) > 1

    _, findings = check("error")

    assert re.fullmatch("[1-9] objects removed", findings["leftovers"].seen)
    assert list_keys(ready_bucket) == set()


def test_an_interrupted_check_cleans_up(ready_bucket):
    def interrupt(finding):
        if finding.name == "form-key":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        doctor.check_storage(on_finding=interrupt)

    assert list_keys(ready_bucket) == set()
