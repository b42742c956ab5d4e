"""What the app asks of a store: one suite, over every store."""

import base64
import copy
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import requests
from django.utils import timezone

from attachments import storage
from attachments.errors import StorageUnavailable
from attachments.storage import bucket as bucket_module
from attachments.storage import checksums, copies
from attachments.storage.client import _parse_time, get_bucket, get_signer
from tests.stores import STORES, get_checksum, name_bucket, open_resource

MINUTE = timedelta(minutes=1)
TARGET = "attachments/1/nonce/a.png"
HEADERS = storage.ServedHeaders(
    content_type="image/png", disposition="inline; filename=a.png", is_public=True
)


SHA256 = get_checksum(b"hello")
OUR_STATEMENTS = ["NodusAttachmentsPublicRead", "NodusAttachmentsNoOldVersions"]


@pytest.fixture(scope="module")
def endpoints():
    with ExitStack() as stack:
        urls = {name: stack.enter_context(store.run()) for name, store in STORES.items()}
        yield {name: (url, open_resource(url)) for name, url in urls.items()}


@pytest.fixture(params=STORES)
def store(request, endpoints, settings):
    """A new, empty bucket in the store; the boto3 bucket to look into it."""
    storages = copy.deepcopy(settings.STORAGES)
    options = storages["attachments"]["OPTIONS"]
    options["endpoint_url"], resource = endpoints[request.param]
    options["bucket_name"] = name_bucket()
    settings.STORAGES = storages
    return resource.Bucket(options["bucket_name"])


real_store = pytest.mark.parametrize(
    "store", [name for name, store in STORES.items() if store.is_real], indirect=True
)


@pytest.fixture
def ready_store(store):
    storage.setup_bucket()
    return store


def sign(**overrides):
    request = {
        "key": "pending/1",
        "content_type": "image/png",
        "size_range": (1, 100),
        "checksum_sha256": "",
        "expires_in": MINUTE,
    }
    return storage.sign_upload(**{**request, **overrides})


def freeze():
    return storage.copy_object(source="pending/1", target=TARGET, headers=HEADERS)


def read_policy(store):
    return json.loads(store.meta.client.get_bucket_policy(Bucket=store.name)["Policy"])["Statement"]


# Objects


def test_a_signed_form_puts_the_object(ready_store, post_file):
    response = post_file(sign(), b"hello")

    assert response.status_code == 204
    found = ready_store.Object("pending/1").get()
    assert (found["Body"].read(), found["ContentType"]) == (b"hello", "image/png")


def test_a_signed_form_with_a_checksum_puts_the_object(ready_store, post_file):
    response = post_file(sign(checksum_sha256=SHA256, size_range=(5, 5)), b"hello")

    assert response.status_code == 204
    assert ready_store.Object("pending/1").get()["Body"].read() == b"hello"


@pytest.mark.parametrize(
    "options",
    [
        {"endpoint_url": "https://files.example.org/s3", "addressing_style": "path"},
        {"endpoint_url": None, "addressing_style": "virtual", "region_name": "eu-central-1"},
        {"endpoint_url": None, "addressing_style": "auto", "security_token": "a session's"},
    ],
)
def test_a_form_is_what_boto3_makes(settings, options, monkeypatch):
    now = datetime(2026, 11, 25, 10, tzinfo=UTC)
    for module in ("auth", "signers"):
        monkeypatch.setattr(f"botocore.{module}.get_current_datetime", lambda: now)
    storages = copy.deepcopy(settings.STORAGES)
    storages["attachments"]["OPTIONS"].update(options)
    settings.STORAGES = storages
    settings.ATTACHMENTS = {"SIGNER_ACCESS_KEY": "", "SIGNER_SECRET_KEY": ""}

    form = storage.sign_upload(
        key="pending/1",
        content_type="image/png",
        size_range=(1, 9),
        checksum_sha256="",
        expires_in=timedelta(minutes=1),
    )

    fields = {"bucket": get_bucket(), "Content-Type": "image/png"}
    theirs = get_signer().generate_presigned_post(
        get_bucket(),
        "pending/1",
        Fields=fields,
        Conditions=[*({name: value} for name, value in fields.items())],
        ExpiresIn=60,
    )
    names = {name for name in theirs["fields"] if name not in ("policy", "x-amz-signature")}
    assert form.url == theirs["url"]
    assert {name: form.fields[name] for name in names} == {
        name: theirs["fields"][name] for name in names
    }
    assert set(form.fields) == set(theirs["fields"])
    policy, of_boto3 = (
        json.loads(base64.b64decode(fields["policy"])) for fields in (form.fields, theirs["fields"])
    )
    assert policy["expiration"] == of_boto3["expiration"]
    conditions = [json.dumps(item) for item in policy["conditions"]]
    size_range = json.dumps(["content-length-range", 1, 9])
    assert set(conditions) == {json.dumps(item) for item in of_boto3["conditions"]} | {size_range}
    assert len(set(conditions)) == len(conditions)


@pytest.mark.parametrize(
    "text",
    [
        "Wed, 25 Nov 2026 10:00:00 GMT",
        "2026-11-25T10:00:00.000Z",
        "2026-11-25T10:00:00Z",
        "2026-11-25T12:00:00+02:00",
        "Wed, 25 Nov 2026 10:00:00 +0000",
        1795600800,
    ],
)
def test_times_are_read_however_a_store_spells_them(text):
    assert _parse_time(text) == datetime(2026, 11, 25, 10, tzinfo=UTC)


def test_inspect_tells_size_etag_and_head(ready_store):
    content = bytes(range(256)) * 1000
    ready_store.put_object(Key="pending/1", Body=content)

    facts = storage.inspect_object("pending/1")

    assert facts == storage.ObjectFacts(
        size_bytes=256_000, etag=f'"{hashlib.md5(content).hexdigest()}"', head=content[:16384]
    )


def test_inspect_of_an_empty_object(ready_store):
    ready_store.put_object(Key="pending/1", Body=b"")

    assert storage.inspect_object("pending/1").size_bytes == 0


def test_inspect_of_a_missing_object(ready_store):
    with pytest.raises(storage.ObjectNotFound):
        storage.inspect_object("pending/1")


def test_a_range_begins_where_it_is_asked_for(ready_store):
    content = bytes(range(256)) * 100
    ready_store.put_object(Key="pending/1", Body=content)

    assert storage.read_range("pending/1", start=1001) == content[1001 : 1001 + 16384]
    assert storage.read_range("pending/1", start=25_598) == content[-2:]
    assert storage.read_range("pending/1", start=25_600) == b""
    assert storage.read_range("pending/1", start=2**41) == b""
    with pytest.raises(storage.ObjectNotFound):
        storage.read_range("pending/2", start=1)


def test_a_missing_bucket_is_not_a_missing_object(store):
    with pytest.raises(StorageUnavailable):
        storage.inspect_object("pending/1")


def test_copy_carries_what_it_is_served_with(ready_store):
    ready_store.put_object(Key="pending/1", Body=b"hello", ContentType="text/html")

    freeze()

    found = ready_store.Object(TARGET).get()
    assert found["Body"].read() == b"hello"
    assert found["ContentType"] == "image/png"
    assert found["ContentDisposition"] == "inline; filename=a.png"
    assert found["CacheControl"] == "public, max-age=31536000, immutable"


def test_copy_of_a_missing_object(ready_store):
    with pytest.raises(storage.ObjectNotFound):
        freeze()


@pytest.fixture
def in_parts(ready_store, monkeypatch):
    """Copy in parts of 5 MiB, the smallest that S3 takes; gives the id of the upload."""
    monkeypatch.setattr(copies, "PART_BYTES", 5 * 2**20)

    def copy(original, **steps):
        upload_id = storage.begin_copy(target=TARGET, headers=HEADERS)
        storage.copy_in_parts(
            source="pending/1",
            target=TARGET,
            upload_id=upload_id,
            size_bytes=original.size_bytes,
            etag=original.etag,
            **steps,
        )
        return upload_id

    return copy


def test_copy_in_parts_carries_what_it_is_served_with(ready_store, in_parts):
    content = bytes(range(256)) * (12 * 2**12)  # 12 MiB: three parts
    ready_store.put_object(Key="pending/1", Body=content, ContentType="text/html")
    parts = []

    upload_id = in_parts(storage.inspect_object("pending/1"), on_part=lambda: parts.append(1))

    found = ready_store.Object(TARGET).get()
    assert found["Body"].read() == content
    assert found["ContentType"] == "image/png"
    assert found["ContentDisposition"] == "inline; filename=a.png"
    assert found["CacheControl"] == "public, max-age=31536000, immutable"
    assert len(parts) == 3
    assert list(storage.list_copies("attachments/")) == []
    storage.abort_copy(target=TARGET, upload_id=upload_id)  # too late, and no error


def test_a_copy_in_parts_keeps_no_digest_of_parts(ready_store, in_parts):
    content = b"x" * (6 * 2**20)
    ready_store.put_object(Key="pending/1", Body=content, ChecksumAlgorithm="SHA256")

    in_parts(storage.inspect_object("pending/1"))

    assert storage.tell_checksum(TARGET) in ("", get_checksum(content))
    assert storage.find_checksum(key=TARGET) == get_checksum(content)


@real_store
def test_copy_in_parts_refuses_an_object_that_changed(ready_store, in_parts):
    ready_store.put_object(Key="pending/1", Body=b"a" * (12 * 2**20))
    original = storage.inspect_object("pending/1")
    ready_store.put_object(Key="pending/1", Body=b"b" * (12 * 2**20))

    with pytest.raises(storage.ObjectChanged):
        in_parts(original)

    (begun,) = storage.list_copies("attachments/")
    assert begun.key == TARGET
    storage.abort_copy(target=begun.key, upload_id=begun.upload_id)
    storage.abort_copy(target=begun.key, upload_id=begun.upload_id)  # again is no error
    assert list(storage.list_copies("attachments/")) == []


def test_measure_of_a_missing_object(ready_store):
    with pytest.raises(storage.ObjectNotFound):
        storage.inspect_object("pending/1")


@pytest.mark.parametrize("kept", [True, False])
def test_find_checksum(ready_store, post_file, kept):
    post_file(sign(checksum_sha256=SHA256 if kept else ""), b"hello")
    etag = storage.inspect_object("pending/1").etag

    assert storage.find_checksum(key="pending/1", etag=etag) == SHA256


@pytest.mark.parametrize("find", [storage.find_checksum, storage.read_checksum])
def test_no_checksum_of_an_object_that_changed(ready_store, find):
    ready_store.put_object(Key="pending/1", Body=b"hello")
    etag = storage.inspect_object("pending/1").etag
    ready_store.put_object(Key="pending/1", Body=b"other")

    with pytest.raises(storage.ObjectChanged):
        find(key="pending/1", etag=etag)


def test_no_checksum_of_an_object_that_changes_between_two_questions(ready_store, monkeypatch):
    """The store is asked for its digest, then for the bytes: of the same object, or of none."""
    ready_store.put_object(Key="pending/1", Body=b"hello")
    etag = storage.inspect_object("pending/1").etag

    def tell_nothing(key, **kwargs):
        ready_store.put_object(Key="pending/1", Body=b"other", ChecksumAlgorithm="SHA256")
        return ""

    with monkeypatch.context() as patch, pytest.raises(storage.ObjectChanged):
        patch.setattr(checksums, "tell_checksum", tell_nothing)
        storage.find_checksum(key="pending/1", etag=etag)
    with pytest.raises(storage.ObjectChanged):  # also where the store tells the new digest
        storage.find_checksum(key="pending/1", etag=etag)


@pytest.mark.parametrize("find", [storage.find_checksum, storage.read_checksum])
def test_no_checksum_of_a_missing_object(ready_store, find):
    with pytest.raises(storage.ObjectNotFound):
        find(key="pending/1", etag='"d41d8cd98f00b204e9800998ecf8427e"')


def test_delete_takes_missing_objects_too(ready_store):
    ready_store.put_object(Key="pending/1", Body=b"hello")
    ready_store.put_object(Key="pending/2", Body=b"hello")

    storage.delete_objects(["pending/1", "pending/never-there"])

    assert [item.key for item in ready_store.objects.all()] == ["pending/2"]


def test_delete_takes_more_keys_than_one_call_does(ready_store):
    ready_store.put_object(Key="pending/0000", Body=b"hello")
    ready_store.put_object(Key="pending/1500", Body=b"hello")

    storage.delete_objects([f"pending/{number:04}" for number in range(1501)])

    assert not list(ready_store.objects.all())


@pytest.mark.parametrize("store", ["moto"], indirect=True)  # SeaweedFS lets an admin do anything
def test_delete_tells_what_the_store_refuses(ready_store):
    ready_store.put_object(Key="attachments/1/locked.png", Body=b"hello")
    ready_store.put_object(Key="attachments/1/a.png", Body=b"hello")
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:DeleteObject",
        "Resource": f"arn:aws:s3:::{ready_store.name}/*/locked.png",
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    ready_store.Policy().put(Policy=json.dumps(policy))

    refused = storage.delete_objects(["attachments/1/locked.png", "attachments/1/a.png"])

    assert refused == {"attachments/1/locked.png": "AccessDenied: Access Denied"}
    assert [item.key for item in ready_store.objects.all()] == ["attachments/1/locked.png"]


def test_list_tells_key_size_etag_and_time(ready_store):
    started_at = timezone.now().replace(microsecond=0)
    ready_store.put_object(Key="attachments/1/a.png", Body=b"hello")

    (item,) = storage.list_objects("attachments/")

    assert item == storage.ListedObject(
        key="attachments/1/a.png",
        size_bytes=5,
        etag=storage.inspect_object("attachments/1/a.png").etag,
        modified_at=item.modified_at,
    )
    assert started_at <= item.modified_at <= timezone.now()


def test_list_gives_what_is_under_the_prefix_in_the_order_of_keys(ready_store):
    keys = [f"attachments/{letter}{letter}/é {letter}+&.png" for letter in "0af"]
    for key in ["attachments-more/1", *reversed(keys), "pending/1"]:
        ready_store.put_object(Key=key, Body=b"hello")

    assert [item.key for item in storage.list_objects("attachments/")] == keys


def test_list_gives_more_than_one_page(ready_store, store_calls):
    keys = [f"pending/{number:04}" for number in range(1001)]
    with ThreadPoolExecutor(8) as threads:
        put = partial(ready_store.meta.client.put_object, Bucket=ready_store.name, Body=b"hello")
        list(threads.map(lambda key: put(Key=key), keys))
    store_calls()

    assert [item.key for item in storage.list_objects("pending/")] == keys
    assert store_calls() == ["ListObjectsV2"] * 2


def test_list_of_an_empty_prefix(ready_store):
    ready_store.put_object(Key="pending/1", Body=b"hello")

    assert list(storage.list_objects("attachments/")) == []


def test_list_of_a_missing_bucket(store):
    with pytest.raises(StorageUnavailable):
        list(storage.list_objects("attachments/"))


def test_a_signed_download_reads_the_object(ready_store):
    ready_store.put_object(Key="attachments/1/a.png", Body=b"hello")

    url = storage.sign_download(key="attachments/1/a.png", expires_in=MINUTE)

    assert requests.get(url, timeout=10).content == b"hello"


def test_a_signed_link_stays_the_same_for_half_its_life(ready_store, monkeypatch):
    start = 1_800_000_000  # a whole number of minutes

    def sign_at(seconds):
        monkeypatch.setattr("time.time", lambda: start + seconds)
        return storage.sign_download(key="attachments/1", expires_in=MINUTE)

    first = sign_at(0)
    assert sign_at(29.9) == first
    assert sign_at(30) == sign_at(59) != first
    assert storage.find_link_expiry(first) == datetime.fromtimestamp(start + 60, UTC)
    assert storage.find_link_expiry(sign_at(59)) == datetime.fromtimestamp(start + 90, UTC)
    assert storage.find_link_expiry(storage.get_public_url("attachments/1")) is None


def test_a_public_url_reads_the_object(ready_store):
    ready_store.put_object(Key="attachments/1/a.png", Body=b"hello")

    url = storage.get_public_url("attachments/1/a.png")

    assert "?" not in url
    assert requests.get(url, timeout=10).content == b"hello"


def test_links_and_forms_are_signed_for_the_public_endpoint(ready_store, settings):
    settings.ATTACHMENTS = {
        **settings.ATTACHMENTS,
        "PUBLIC_ENDPOINT_URL": "https://files.example.com",
    }

    assert sign().url == f"https://files.example.com/{ready_store.name}"
    base = f"https://files.example.com/{ready_store.name}/attachments/1"
    assert storage.sign_download(key="attachments/1", expires_in=MINUTE).startswith(f"{base}?")
    assert storage.get_public_url("attachments/1") == base


# What the store must enforce


@real_store
@pytest.mark.parametrize(
    ("overrides", "content"),
    [
        ({"Content-Type": "text/html"}, b"hello"),
        ({"key": "attachments/1/a.png"}, b"hello"),
        ({"key": "pending/2"}, b"hello"),
        ({"x-amz-meta-internal": "1"}, b"hello"),
        ({}, b"x" * 101),
        ({}, b""),
    ],
    ids=["other type", "served key", "other key", "extra field", "too large", "empty"],
)
def test_a_form_takes_nothing_but_what_was_signed(ready_store, post_file, overrides, content):
    response = post_file(sign(), content, **overrides)

    assert response.status_code in (400, 403)
    assert not list(ready_store.objects.all())


@real_store
@pytest.mark.parametrize("content", [b"hell", b"hello!"])
def test_a_form_with_a_size_takes_exactly_that_many_bytes(ready_store, post_file, content):
    assert post_file(sign(size_range=(5, 5)), content).status_code == 400


@real_store
def test_a_form_with_a_checksum_takes_only_those_bytes(ready_store, post_file):
    assert post_file(sign(checksum_sha256=SHA256), b"other").status_code == 400


@real_store
def test_a_form_expires_and_the_store_says_so(ready_store, post_file):
    expired = post_file(sign(expires_in=timedelta(seconds=-1)), b"hello")
    refused = post_file(sign(), b"hello", **{"Content-Type": "text/html"})

    assert (expired.status_code, refused.status_code) == (403, 403)
    assert "<Code>AccessDenied</Code>" in expired.text
    assert "expired" in expired.text
    assert "expired" not in refused.text


def test_the_form_names_the_bucket(ready_store):
    """Garage refuses one that does not; what else stands in a form must be in its policy too."""
    fields = sign().fields
    conditions = json.loads(base64.b64decode(fields["policy"]))["conditions"]

    assert fields["bucket"] == ready_store.name
    assert {"bucket": ready_store.name} in conditions


@real_store
def test_only_what_is_published_is_public(ready_store):
    for key in ("attachments/1/a.png", "pending/1", "quarantine/1", "other"):
        ready_store.put_object(Key=key, Body=b"hello")
    base = f"{ready_store.meta.client.meta.endpoint_url}/{ready_store.name}"

    status = {
        path: requests.get(f"{base}{path}", timeout=10).status_code
        for path in ("/attachments/1/a.png", "/pending/1", "/quarantine/1", "/other", "", "/")
    }

    assert status.pop("/attachments/1/a.png") == 200
    assert set(status.values()) == {403}


@real_store
def test_nothing_is_public_when_public_read_is_off(ready_store, settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_READ": False}
    ready_store.put_object(Key="attachments/1/a.png", Body=b"hello")

    storage.setup_bucket()

    assert (
        requests.get(storage.get_public_url("attachments/1/a.png"), timeout=10).status_code == 403
    )


# The bucket


def test_setup_makes_a_bucket_and_its_rules(store):
    first = storage.setup_bucket()
    second = storage.setup_bucket()

    assert [(step.part, step.state) for step in first] == [
        ("bucket", "created"),
        ("policy", "created"),
        ("CORS", "created"),
        ("lifecycle", "created"),
    ]
    assert {step.state for step in second} == {"unchanged"}
    rules = store.meta.client.get_bucket_lifecycle_configuration(Bucket=store.name)["Rules"]
    assert {(rule["Filter"]["Prefix"], rule["Expiration"]["Days"]) for rule in rules} == {
        ("pending/", 2),
        ("quarantine/", 30),
    }
    assert "http://localhost:5173" in store.Cors().cors_rules[0]["AllowedOrigins"]


def test_setup_follows_the_settings(ready_store, settings):
    settings.ATTACHMENTS = {
        **settings.ATTACHMENTS,
        "PUBLIC_READ": False,
        "CORS_ALLOWED_ORIGINS": ["https://chat.example.com"],
        "UPLOAD_EXPIRES_SECONDS": 3 * 86400,
    }

    steps = storage.setup_bucket()

    assert {step.part: step.state for step in steps} == {
        "bucket": "unchanged",
        "policy": "changed",
        "CORS": "changed",
        "lifecycle": "changed",
    }
    with pytest.raises(ready_store.meta.client.exceptions.ClientError, match="NoSuchBucketPolicy"):
        read_policy(ready_store)
    assert ready_store.Cors().cors_rules[0]["AllowedOrigins"] == ["https://chat.example.com"]


def test_retention_expires_objects_with_a_margin_after_their_rows(ready_store, settings):
    def read_days():
        return {
            rule["ID"]: rule["Expiration"]["Days"]
            for rule in ready_store.LifecycleConfiguration().rules
        }

    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "RETENTION_DAYS": 365}
    storage.setup_bucket()
    with_retention = read_days()
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "RETENTION_DAYS": None}
    storage.setup_bucket()

    others = {"nodus-attachments-pending": 2, "nodus-attachments-quarantine": 30}
    served = {"nodus-attachments-attachments": 395, "nodus-attachments-thumbnails": 395}
    assert with_retention == {**others, **served}
    assert read_days() == others


def test_setup_keeps_what_is_not_ours(store, settings):
    client = store.meta.client
    storage.setup_bucket()
    statement = {
        "Sid": "Theirs",
        "Effect": "Allow",
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{store.name}/press/*"],
    }
    policy = {"Version": "2012-10-17", "Statement": [*read_policy(store), statement]}
    client.put_bucket_policy(Bucket=store.name, Policy=json.dumps(policy))
    rule = {
        "ID": "theirs",
        "Status": "Enabled",
        "Filter": {"Prefix": "press/"},
        "Expiration": {"Days": 9},
    }
    rules = client.get_bucket_lifecycle_configuration(Bucket=store.name)["Rules"]
    client.put_bucket_lifecycle_configuration(
        Bucket=store.name, LifecycleConfiguration={"Rules": [*rules, rule]}
    )
    cors = {"ID": "theirs", "AllowedMethods": ["GET"], "AllowedOrigins": ["https://theirs.example"]}
    client.put_bucket_cors(
        Bucket=store.name, CORSConfiguration={"CORSRules": [*store.Cors().cors_rules, cors]}
    )
    settings.ATTACHMENTS = {
        **settings.ATTACHMENTS,
        "PUBLIC_READ": False,
        "CORS_ALLOWED_ORIGINS": [],
        "UPLOAD_EXPIRES_SECONDS": 3 * 86400,
    }

    storage.setup_bucket()

    assert [item["Sid"] for item in read_policy(store)] == ["Theirs"]
    rules = client.get_bucket_lifecycle_configuration(Bucket=store.name)["Rules"]
    assert {item["ID"]: item["Expiration"]["Days"] for item in rules} == {
        "theirs": 9,
        "nodus-attachments-pending": 4,
        "nodus-attachments-quarantine": 30,
    }
    assert [item["ID"] for item in store.Cors().cors_rules] == ["theirs"]


def test_setup_warns_of_a_policy_that_opens_pending(store):
    """The policy of the guide, in a bucket of another name than its resource suggests."""
    store.create()
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{store.name}/*"],
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    store.meta.client.put_bucket_policy(Bucket=store.name, Policy=json.dumps(policy))

    steps = {step.part: step for step in storage.setup_bucket()}

    assert steps["policy"].level == "warning"
    assert "lets anybody read pending/" in steps["policy"].detail
    assert [item.get("Sid", "") for item in read_policy(store)] == ["", *OUR_STATEMENTS]


def test_the_bucket_appears_on_first_use_and_is_asked_for_once(store, store_calls):
    bucket_module.forget_bucket()
    storage.ensure_bucket()
    made = store_calls()
    storage.ensure_bucket()

    assert "CreateBucket" in made
    assert store_calls() == []
    assert [item["Sid"] for item in read_policy(store)] == OUR_STATEMENTS


def test_two_processes_that_make_the_bucket_at_once(store, monkeypatch):
    """Both saw none; the slower one's CreateBucket is answered BucketAlreadyOwnedByYou."""
    storage.setup_bucket()
    answers = iter([False, True])
    monkeypatch.setattr(bucket_module, "_has_bucket", lambda client: next(answers))

    assert storage.setup_bucket()[0].state == "created"
