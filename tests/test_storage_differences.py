"""Stores that refuse, lack or drop what others do, as a proxy before the real one plays them."""

import base64
import copy
import hashlib
import json
import os
import re
import ssl
from datetime import UTC, datetime, timedelta
from io import BytesIO
from ipaddress import ip_address

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from attachments import services, storage
from attachments.errors import StorageRefused, StorageUnavailable
from attachments.storage import bucket as bucket_module
from attachments.storage import copies
from attachments.storage.cors import ask_preflight
from attachments.storage.state import (
    read_cors,
    read_lifecycle,
    read_object_lock,
    read_policy,
    read_versioning,
)
from tests.proxy import Answer, Headers, StoreProxy
from tests.stores import get_checksum, name_bucket, spell_error

HEADERS = storage.ServedHeaders(
    content_type="image/png", disposition="inline; filename=a.png", is_public=True
)
PUTS = ("PutBucketPolicy", "PutBucketCors", "PutBucketLifecycleConfiguration")


@pytest.fixture
def proxy(settings):
    """Before the real store, where the settings name a bucket that is not there yet."""
    with StoreProxy(os.environ["S3_ENDPOINT_URL"]) as proxy:
        storages = copy.deepcopy(settings.STORAGES)
        options = storages["attachments"]["OPTIONS"]
        options.update(endpoint_url=proxy.url, bucket_name=name_bucket())
        settings.STORAGES = storages
        yield proxy


@pytest.fixture
def bucket(proxy, settings, s3):
    """The boto3 bucket, to look into it without our code and without the proxy."""
    return s3.Bucket(settings.STORAGES["attachments"]["OPTIONS"]["bucket_name"])


@pytest.fixture
def private(settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_READ": False}


@pytest.fixture
def once(monkeypatch):
    """What is not in force at the first look is not waited for."""
    monkeypatch.setattr("attachments.storage.parts.READ_BACK_AFTER", (0,))


def set_up():
    return {step.part: step for step in storage.setup_bucket()}


def find_states(steps):
    return {part: (step.state, step.level) for part, step in steps.items()}


# What one part answers stops no other


def test_rules_that_the_store_gives_a_moment_later_are_in_force(proxy, bucket):
    proxy.answer("GetBucketLifecycleConfiguration", 404, times=2)

    assert find_states(set_up())["lifecycle"] == ("created", "ok")


def test_an_admin_key_that_may_not_look_does_the_rest(proxy, bucket):
    storage.setup_bucket()
    proxy.answer("HeadBucket", 403)
    proxy.answer("ListObjectsV2", 403, spell_error("AccessDenied"))

    steps = set_up()

    assert (steps["bucket"].state, steps["bucket"].level) == ("unchanged", "warning")
    assert "the right s3:ListBucket" in steps["bucket"].detail
    assert steps["policy"].level == "ok"


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (400, ("AuthorizationHeaderMalformed",), "AuthorizationHeaderMalformed: .* set S3_REGION"),
        (301, ("PermanentRedirect",), "PermanentRedirect: .* set S3_REGION"),
        (301, None, "301.* S3_ENDPOINT_URL sends callers to another address"),
    ],
    ids=["region", "other region", "proxy"],
)
def test_what_head_cannot_say_is_asked_for(proxy, bucket, status, error, words):
    proxy.answer("HeadBucket", status)
    proxy.answer("ListObjectsV2", status, spell_error(*error) if error else b"")

    with pytest.raises(StorageRefused) as refusal:
        storage.ping_bucket()

    assert re.search(words, refusal.value.reason)
    assert "later" not in refusal.value.reason


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"bucket_name": "my bucket"},
            'Invalid bucket name "my bucket".* Choose another S3_BUCKET',
        ),
        ({"access_key": None, "secret_key": None}, "set S3_ACCESS_KEY and S3_SECRET_KEY"),
    ],
    ids=["bucket", "key"],
)
def test_what_cannot_be_asked_is_a_mistake_and_no_outage(
    proxy, settings, monkeypatch, options, words
):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    settings.STORAGES["attachments"]["OPTIONS"].update(options)
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "ADMIN_ACCESS_KEY": "", "ADMIN_SECRET_KEY": ""}

    with pytest.raises(StorageRefused) as refusal:
        storage.setup_bucket()

    assert re.fullmatch(f".*{words}.*", refusal.value.reason)  # in one line
    assert proxy.calls == []


@pytest.mark.parametrize(
    ("operation", "part", "right"),
    [
        ("PutBucketPolicy", "policy", "s3:PutBucketPolicy"),
        ("GetBucketPolicy", "policy", "s3:GetBucketPolicy"),
        ("GetBucketLifecycleConfiguration", "lifecycle", "s3:GetLifecycleConfiguration"),
        ("PutBucketLifecycleConfiguration", "lifecycle", "s3:PutLifecycleConfiguration"),
    ],
)
def test_a_refusal_names_the_right_and_the_other_parts_are_done(
    proxy, bucket, operation, part, right
):
    proxy.answer(operation, 403, spell_error("AccessDenied"), times=None)

    steps = set_up()

    states = find_states(steps)
    assert states.pop(part) == ("refused", "error")
    assert set(states.values()) == {("created", "ok")}
    assert f"refuses {operation} (AccessDenied: said the store)" in steps[part].detail
    assert f"the right {right}" in steps[part].detail
    assert "later" not in steps[part].detail


def test_a_part_without_an_answer_stops_no_other_and_is_done_at_the_next_use(proxy, bucket):
    bucket_module.forget_bucket()
    proxy.drop("PutBucketLifecycleConfiguration", times=2)  # boto3 asks twice

    storage.ensure_bucket()
    first = read_lifecycle().state
    storage.ensure_bucket()
    second = read_lifecycle().state
    proxy.calls.clear()
    storage.ensure_bucket()

    assert (first, second, proxy.calls) == ("absent", "found", [])
    assert bucket.Policy().policy


def test_the_first_use_does_the_whole_set_up_of_a_bucket_that_is_there(proxy, bucket):
    bucket.create()
    bucket_module.forget_bucket()

    storage.ensure_bucket()

    assert [read().state for read in (read_policy, read_cors, read_lifecycle)] == ["found"] * 3


# Policies


def test_a_store_without_policies_is_an_error_that_names_the_setting(proxy, bucket, caplog):
    proxy.answer("GetBucketPolicy", 501, spell_error("NotImplemented"), times=None)
    bucket_module.forget_bucket()

    policy = set_up()["policy"]

    assert (policy.state, policy.level) == ("impossible", "error")
    assert "S3_PUBLIC_READ (PUBLIC_READ) is on" in policy.detail
    assert "NotImplemented: said the store." in policy.detail
    for _ in range(2):  # the second use is no better
        with pytest.raises(StorageRefused) as refusal:
            storage.ensure_bucket()
        assert "S3_PUBLIC_READ" in refusal.value.reason
    assert list(bucket.objects.all()) == []  # the probe is gone


def test_a_store_without_policies_is_fine_where_nothing_is_public(proxy, bucket, private):
    proxy.answer("GetBucketPolicy", 501, spell_error("NotImplemented"), times=None)

    states = find_states(set_up())

    assert states["policy"] == ("unchanged", "ok")


def test_what_is_public_by_other_means_will_do(proxy, bucket):
    storage.setup_bucket()
    proxy.answer("GetBucketPolicy", 501, spell_error("NotImplemented"), times=None)

    assert find_states(set_up())["policy"] == ("impossible", "warning")


def test_what_is_public_against_the_settings_is_an_error(proxy, bucket, private, settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_READ": True}
    storage.setup_bucket()
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_READ": False}
    proxy.answer("GetBucketPolicy", 403, spell_error("AccessDenied"), times=None)
    bucket_module.forget_bucket()

    policy = set_up()["policy"]

    assert (policy.state, policy.level) == ("refused", "error")
    assert "is off, and anybody may read" in policy.detail
    with pytest.raises(StorageRefused):
        storage.ensure_bucket()


def test_a_policy_that_is_kept_and_not_obeyed_is_an_error(proxy, bucket, once):
    proxy.answer("GetObject", 403, spell_error("AccessDenied"), times=None)
    bucket_module.forget_bucket()

    policy = set_up()["policy"]

    assert (policy.state, policy.level) == ("created", "error")
    assert "S3_PUBLIC_READ (PUBLIC_READ) is on, and nobody could read" in policy.detail
    with pytest.raises(StorageRefused):
        storage.ensure_bucket()


def test_what_a_policy_of_others_makes_public_is_an_error(proxy, bucket, private, once):
    storage.setup_bucket()
    others = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket.name}/attachments/*",
    }
    bucket.Policy().put(Policy=json.dumps({"Version": "2012-10-17", "Statement": [others]}))

    assert find_states(set_up())["policy"] == ("unchanged", "error")


def test_a_store_that_takes_no_condition_still_serves(proxy, bucket):
    proxy.answer("PutBucketPolicy", 400, spell_error("MalformedPolicy"))

    first, second = set_up()["policy"], set_up()["policy"]

    assert (first.state, first.level) == ("created", "ok")
    assert (second.state, second.level) == ("changed", "ok")  # it takes the condition now


def test_a_denial_that_closes_everything_is_taken_back(proxy, bucket, once):
    def deny(exchange, forward):
        is_denied = "Deny" in json.loads(bucket.Policy().policy)["Statement"][-1].values()
        return refuse("AccessDenied", 403) if is_denied else forward()

    proxy.add("GetObject", deny, times=None)

    policy = set_up()["policy"]

    assert (policy.state, policy.level) == ("created", "ok")
    assert requests.get(put_public(bucket), timeout=10).ok


def put_public(bucket):
    """The address of an object that anybody may read."""
    bucket.put_object(Key="attachments/a", Body=b"hello")
    return f"{bucket.meta.client.meta.endpoint_url}/{bucket.name}/attachments/a"


def test_the_denial_is_of_requests_that_name_a_version(proxy, bucket):
    """MinIO takes s3:GetObjectVersion for s3:GetObject too."""
    storage.setup_bucket()

    _, denial = json.loads(bucket.Policy().policy)["Statement"]

    assert denial["Action"] == "s3:GetObjectVersion"
    assert denial["Condition"]["StringLike"] == {"s3:versionid": "?*"}


@pytest.mark.parametrize("is_deceived", [False, True])
def test_a_store_that_serves_old_versions_gets_a_warning(proxy, bucket, is_deceived):
    """versitygw serves them to anybody, and MinIO to whoever sends such headers."""
    bucket.create()
    bucket.Versioning().enable()

    def serve(exchange, forward):
        is_old = "versionId=" in exchange.target
        if is_old and (not is_deceived or exchange.headers["Versionid"] == ""):
            return Answer(status=200, headers=Headers([("Content-Length", "0")]), body=[])
        return forward()

    proxy.add("GetObject", serve, times=None)

    policy = set_up()["policy"]

    assert (policy.state, policy.level) == ("created", "warning")
    assert "old and deleted versions" in policy.detail
    assert list(bucket.objects.all()) == []


# Certificates


@pytest.fixture
def certificate(tmp_path):
    """The file of a key and a certificate that no public authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store")])
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    now = datetime.now(UTC)
    builder = builder.not_valid_before(now - timedelta(hours=1))
    builder = builder.not_valid_after(now + timedelta(hours=1)).add_extension(addresses, False)
    pem = serialization.Encoding.PEM
    spelled_key = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "store.pem"
    path.write_bytes(spelled_key + builder.sign(key, hashes.SHA256()).public_bytes(pem))
    return str(path)


@pytest.mark.parametrize("way", ["verify", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_certificate_that_boto3_takes_is_taken_by_all_calls(
    proxy, bucket, settings, certificate, monkeypatch, way
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    proxy.socket = context.wrap_socket(proxy.socket, server_side=True)
    options = settings.STORAGES["attachments"]["OPTIONS"]
    options["endpoint_url"] = proxy.url.replace("http:", "https:")
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    if way == "verify":
        options["verify"] = certificate
    else:
        monkeypatch.setenv(way, certificate)

    assert set(find_states(set_up()).values()) == {("created", "ok")}


# CORS


def test_browsers_are_asked_before_cors_counts_as_impossible(proxy, bucket):
    proxy.answer("PutBucketCors", 501, spell_error("NotImplemented"), times=None)

    cors = set_up()["CORS"]

    assert (cors.state, cors.level) == ("unchanged", "ok")
    assert "http://localhost:5173" in cors.detail
    assert ask_preflight("http://localhost:5173").is_success


def test_browsers_that_the_store_blocks_are_an_error(proxy, bucket, settings):
    settings.ATTACHMENTS = {
        **settings.ATTACHMENTS,
        "CORS_ALLOWED_ORIGINS": [" https://chat.example ", "https://b.example/"],
    }
    proxy.answer("PutBucketCors", 501, spell_error("NotImplemented"), times=None)
    proxy.answer("OPTIONS", 200, headers={"Access-Control-Allow-Origin": "https://chat.example"})
    proxy.answer("OPTIONS", 403)

    cors = set_up()["CORS"]

    assert (cors.state, cors.level) == ("impossible", "error")
    assert "lets no browser of https://b.example in: NotImplemented" in cors.detail
    assert "MINIO_API_CORS_ALLOW_ORIGIN=https://chat.example,https://b.example" in cors.detail


def test_rules_that_the_store_keeps_and_does_not_obey_are_an_error(proxy, bucket, once):
    proxy.answer("OPTIONS", 403, times=None)

    cors = set_up()["CORS"]

    assert (cors.state, cors.level) == ("created", "error")
    assert "lets no browser of http://localhost:5173" in cors.detail
    assert "other rules decide. On MinIO" in cors.detail


def test_a_refusal_of_cors_is_no_error_while_browsers_are_let_in(proxy, bucket):
    proxy.answer("GetBucketCors", 403, spell_error("AccessDenied"), times=None)

    cors = set_up()["CORS"]

    assert (cors.state, cors.level) == ("refused", "warning")
    assert "the right s3:GetBucketCORS" in cors.detail


def test_a_proxy_at_the_public_address_may_let_browsers_in(proxy, bucket, settings):
    with StoreProxy(proxy.url) as public:
        settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_ENDPOINT_URL": public.url}
        proxy.answer("GetBucketCors", 501, spell_error("NotImplemented"), times=None)
        proxy.answer("OPTIONS", 403, times=None)
        public.answer("OPTIONS", 200, headers={"Access-Control-Allow-Origin": "*"}, times=None)

        assert find_states(set_up())["CORS"] == ("unchanged", "ok")

    assert find_states(set_up())["CORS"] == ("impossible", "error")  # nobody is there now


def test_cors_as_garage_says_that_there_is_none(proxy, bucket):
    proxy.answer("GetBucketCors", 204)

    assert find_states(set_up())["CORS"] == ("created", "ok")


# Lifecycle, versions and object lock


def test_lifecycle_as_garage_says_that_there_is_none(proxy, bucket):
    proxy.answer("GetBucketLifecycleConfiguration", 404)

    assert find_states(set_up())["lifecycle"] == ("created", "ok")


def test_a_store_without_lifecycle_gets_a_warning(proxy, bucket):
    proxy.answer("GetBucketLifecycleConfiguration", 501, spell_error("NotImplemented"), times=None)

    step = set_up()["lifecycle"]

    assert (step.state, step.level) == ("impossible", "warning")
    assert "purge_orphans" in step.detail


def test_old_versions_expire_and_nobody_reads_them(proxy, bucket):
    bucket.create()
    bucket.Versioning().enable()

    steps = set_up()

    assert read_versioning().value == "Enabled"
    assert "old versions" in steps["lifecycle"].detail
    rules = {rule["Filter"]["Prefix"]: rule for rule in bucket.LifecycleConfiguration().rules}
    assert rules.keys() == {"pending/", "quarantine/", "attachments/", "thumbnails/"}
    assert {rule["NoncurrentVersionExpiration"]["NoncurrentDays"] for rule in rules.values()} == {1}
    assert rules["pending/"]["Expiration"] == {"Days": 2}
    assert rules["attachments/"]["Expiration"] == {"ExpiredObjectDeleteMarker": True}
    assert read_statuses(bucket) == [200, 403, 404, 403]


def read_statuses(bucket):
    """What anybody gets: an object and its version, before and after it was deleted."""
    item = bucket.Object("attachments/a")
    url = f"{bucket.meta.client.meta.endpoint_url}/{bucket.name}/attachments/a"
    version = f"{url}?versionId={item.put(Body=b'hello')['VersionId']}"
    before = [requests.get(address, timeout=10).status_code for address in (url, version)]
    item.delete()
    return before + [requests.get(address, timeout=10).status_code for address in (url, version)]


def test_a_store_that_keeps_old_versions_for_ever_gets_a_warning(proxy, bucket):
    bucket.create()
    bucket.Versioning().enable()
    proxy.answer("PutBucketLifecycleConfiguration", 400, spell_error("MalformedXML"))

    step = set_up()["lifecycle"]

    assert (step.state, step.level) == ("created", "warning")
    assert "every version" in step.detail
    assert len(bucket.LifecycleConfiguration().rules) == 2


def test_object_lock_gets_a_warning(proxy, bucket):
    bucket.create(ObjectLockEnabledForBucket=True)

    step = set_up()["versions"]

    assert read_object_lock().state == "found"
    assert step.level == "warning"
    assert "object lock is on" in step.detail


def test_what_the_store_does_not_tell_of_versions_gets_a_warning(proxy, bucket):
    proxy.answer("GetBucketVersioning", 403, spell_error("AccessDenied"), times=None)

    step = set_up()["versions"]

    assert (step.state, step.level) == ("refused", "warning")
    assert "the right s3:GetBucketVersioning" in step.detail


# A bucket that is missing


def test_a_missing_bucket_is_an_outage_where_there_are_files(proxy, bucket):
    bucket_module.forget_bucket()

    for look in (lambda: storage.ensure_bucket(has_files=lambda: True), storage.ping_bucket):
        with pytest.raises(StorageRefused) as refusal:
            look()
        assert f"The bucket {bucket.name} is missing" in refusal.value.reason
    assert bucket.creation_date is None


@pytest.mark.django_db
def test_a_request_makes_no_bucket_in_the_place_of_a_lost_one(
    user, api, attachment_of, settings, s3
):
    attachment_of(user)
    storages = copy.deepcopy(settings.STORAGES)
    name = storages["attachments"]["OPTIONS"]["bucket_name"] = name_bucket()
    settings.STORAGES = storages

    request = {"filename": "a.png", "content_type": "image/png"}
    answer = api(user).post("/api/v1/attachments/presigned", request, format="json")

    assert answer.status_code == 503
    assert answer.json()["errors"][0]["code"] == "storage_unavailable"
    assert s3.Bucket(name).creation_date is None


@pytest.mark.django_db
def test_health_looks_and_makes_nothing(proxy, bucket, api):
    answer = api().get("/health")

    assert (answer.status_code, answer.json()["minio"]) == (503, "unavailable")
    assert {call.operation for call in proxy.calls} == {"HeadBucket"}
    assert bucket.creation_date is None


@pytest.mark.django_db
def test_the_purge_makes_no_bucket(proxy, bucket):
    with pytest.raises(StorageRefused):
        services.purge_attachments()

    assert bucket.creation_date is None


# Digests


def refuse(code, status, message="said the store"):
    """Answer so, in the way that the store spells errors."""
    error = spell_error(code, message)
    headers = Headers([("Content-Length", str(len(error)))])
    return Answer(status=status, headers=headers, body=[error])


def test_an_older_store_gets_the_md5_of_what_it_wants_one_for(proxy, bucket):
    def check(exchange, forward):
        exchange.record()
        body = b"".join(exchange._read_body())
        digest = base64.b64encode(hashlib.md5(body).digest()).decode()
        if exchange.headers["Content-MD5"] == digest:
            return forward()
        return refuse("MissingContentMD5", 400)

    for operation in (*PUTS, "DeleteObjects"):
        proxy.add(operation, check, times=None)

    states = find_states(set_up())
    bucket.put_object(Key="pending/1", Body=b"hello")

    assert set(states.values()) == {("created", "ok")}
    assert storage.delete_objects(["pending/1"]) == {}
    assert list(bucket.objects.all()) == []


def refuse_checksums(code, status):
    """A fault: the store knows no header that concerns a checksum."""

    def check(exchange, forward):
        exchange.record()
        if any(name.lower().startswith("x-amz-checksum") for name, _ in exchange.headers.items()):
            return refuse(code, status)
        return forward()

    return check


@pytest.fixture
def ready(bucket, proxy):
    storage.setup_bucket()
    return bucket


@pytest.mark.parametrize(
    ("code", "status"), [("NotImplemented", 501), ("InvalidArgument", 400)], ids=["R2", "B2"]
)
def test_a_store_that_refuses_checksums_is_asked_without(proxy, ready, code, status):
    for operation in ("CopyObject", "HeadObject", "PutObject"):
        proxy.add(operation, refuse_checksums(code, status), times=None)
    ready.put_object(Key="pending/1", Body=b"hello")

    told = storage.copy_object(source="pending/1", target="attachments/1", headers=HEADERS)
    storage.put_object(
        key="attachments/2",
        content=BytesIO(b"hello"),
        checksum_sha256=get_checksum(b"hello"),
        headers=HEADERS,
    )

    assert told == storage.tell_checksum("attachments/1") == ""
    for key in ("attachments/1", "attachments/2"):
        assert ready.Object(key).get()["Body"].read() == b"hello"
        assert storage.find_checksum(key=key) == get_checksum(b"hello")


def test_another_refusal_of_a_copy_is_one(proxy, ready):
    proxy.answer("CopyObject", 400, spell_error("InvalidArgument"), times=None)

    with pytest.raises(StorageRefused) as refusal:
        storage.copy_object(source="pending/1", target="attachments/1", headers=HEADERS)

    assert "refuses CopyObject (InvalidArgument: said the store)" in refusal.value.reason
    assert [call.operation for call in proxy.calls].count("CopyObject") == 2


# Single objects


def test_deleting_what_is_not_there_is_done_also_where_the_store_calls_it_an_error(proxy, ready):
    errors = "".join(
        f"<Error><Key>pending/{key}</Key><Code>{code}</Code><Message>m</Message></Error>"
        for key, code in [(1, "NoSuchKey"), (2, "AccessDenied"), (3, "NoSuchVersion")]
    )
    proxy.answer("DeleteObjects", 200, f"<DeleteResult>{errors}</DeleteResult>".encode())

    refused = storage.delete_objects([f"pending/{number}" for number in range(1, 4)])

    assert refused == {"pending/2": "AccessDenied: m"}


def test_the_weak_etag_of_a_proxy_is_no_other_object(proxy, ready, monkeypatch):
    """A proxy that compresses marks ETags as weak, and no condition holds for a weak one."""
    monkeypatch.setattr(copies, "PART_BYTES", 5 * 2**20)
    ready.put_object(Key="pending/1", Body=b"x" * (6 * 2**20))

    def weaken(headers):
        headers["ETag"] = f"W/{headers['ETag']}"

    proxy.rewrite("GetObject", response=weaken, times=None)
    facts = storage.inspect_object("pending/1")
    upload_id = storage.begin_copy(target="attachments/1", headers=HEADERS)
    storage.copy_in_parts(
        source="pending/1",
        target="attachments/1",
        upload_id=upload_id,
        size_bytes=facts.size_bytes,
        etag=facts.etag,
    )

    assert not facts.etag.startswith("W/")
    assert storage.find_checksum(key="pending/1", etag=facts.etag)
    assert ready.Object("attachments/1").content_length == facts.size_bytes


@pytest.mark.django_db
def test_a_long_name_fits_where_the_store_keeps_2_kib_of_headers(proxy, ready, user, upload):
    def measure(exchange, forward):
        headers = exchange.headers.items()
        kept = [name + value for name, value in headers if name.lower() in KEPT]
        return refuse("MetadataTooLarge", 400) if len("".join(kept)) > 2048 else forward()

    proxy.add("CopyObject", measure, times=None)
    name = "中" * 251 + ".png"
    ticket = upload(user, filename=name)

    attachment = services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    assert (attachment.status, attachment.filename) == ("ready", name)
    disposition = ready.Object(attachment.storage_key.name).content_disposition
    assert disposition.startswith("inline; filename*=utf-8''%E4%B8%AD%E4%B8%AD")
    assert disposition.endswith("%AD.png")


KEPT = ("content-type", "content-disposition", "cache-control")


# What the store tells


def test_a_policy_that_is_empty_is_none(proxy, bucket):
    proxy.answer("GetBucketPolicy", 200, b"")

    assert find_states(set_up())["policy"] == ("created", "ok")
    assert len(json.loads(bucket.Policy().policy)["Statement"]) == 2


def test_each_state_is_read_without_a_change(proxy, bucket):
    storage.setup_bucket()
    proxy.calls.clear()

    for read in (read_policy, read_cors, read_lifecycle, read_versioning, read_object_lock):
        read()

    assert [call.operation[:3] for call in proxy.calls] == ["Get"] * 5


# A proxy that answers in the store's place


@pytest.mark.parametrize(
    ("operation", "ask"),
    [
        ("ListObjectsV2", lambda: list(storage.list_objects("attachments/"))),
        ("ListMultipartUploads", lambda: list(storage.list_copies("attachments/"))),
        ("DeleteObjects", lambda: storage.delete_objects(["attachments/1"])),
        ("PutObject", lambda: put(b"hello")),
        ("GetObject", lambda: storage.inspect_object("attachments/1")),
        ("GetObject", lambda: b"".join(storage.read_object("attachments/1"))),
        ("HeadObject", lambda: storage.tell_checksum("attachments/1")),
        ("AbortMultipartUpload", lambda: storage.abort_copy(target="attachments/1", upload_id="1")),
    ],
)
def test_a_page_is_no_answer(proxy, bucket, operation, ask):
    """botocore reads in it an empty listing, or that all was done: rows would count as lost."""
    proxy.answer(operation, 200, b"<html>Please log in</html>", {"Content-Type": "text/html"})

    with pytest.raises(StorageUnavailable):
        ask()


def put(content):
    storage.put_object(
        key="attachments/1",
        content=BytesIO(content),
        checksum_sha256=get_checksum(content),
        headers=HEADERS,
    )
