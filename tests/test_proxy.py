"""The proxy makes each fault that it promises, and nothing else."""

import hashlib
import os
import socket
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit
from uuid import uuid4

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from django.conf import settings

from tests.proxy import StoreProxy, name_operation
from tests.stores import name_bucket, open_resource

WAIT = 20


@pytest.fixture(scope="module")
def store_bucket():
    """The bucket, seen past the proxy."""
    bucket = open_resource(os.environ["S3_ENDPOINT_URL"]).Bucket(name_bucket())
    bucket.create()
    yield bucket
    bucket.meta.client.close()


@pytest.fixture
def proxy():
    with StoreProxy(os.environ["S3_ENDPOINT_URL"]) as proxy:
        yield proxy


@pytest.fixture
def open_client():
    """Make boto3 clients that try once and wait briefly."""
    clients = []

    def make(proxy, read_timeout=WAIT):
        options = settings.STORAGES["attachments"]["OPTIONS"]
        client = boto3.client(
            "s3",
            endpoint_url=proxy.url,
            region_name=options["region_name"],
            aws_access_key_id=options["access_key"],
            aws_secret_access_key=options["secret_key"],
            config=Config(
                retries={"total_max_attempts": 1},
                connect_timeout=2,
                read_timeout=read_timeout,
                s3={"addressing_style": "path"},
            ),
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(proxy, open_client):
    return open_client(proxy)


@pytest.fixture
def key():
    """A key with all that an address must escape."""
    return f"folder/{uuid4()} ключ+%~.txt"


def read(store_bucket, key):
    """The bytes of an object, or None."""
    if key not in {item.key for item in store_bucket.objects.all()}:
        return None
    return store_bucket.Object(key).get()["Body"].read()


@pytest.fixture
def put(client, store_bucket, key):
    def put(body=b"hello", key=key, client=client):
        return client.put_object(Bucket=store_bucket.name, Key=key, Body=body)

    return put


def status_of(error):
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"]


COPY = ("X-Amz-Copy-Source", "Host")


@pytest.mark.parametrize(
    ("method", "target", "headers", "operation"),
    [
        ("GET", "/", (), "ListBuckets"),
        ("HEAD", "/b", (), "HeadBucket"),
        ("PUT", "/b", (), "CreateBucket"),
        ("PUT", "/b/", (), "CreateBucket"),
        ("DELETE", "/b", (), "DeleteBucket"),
        ("GET", "/b", (), "ListObjects"),
        ("GET", "/b?list-type=2&prefix=a%2F", (), "ListObjectsV2"),
        ("GET", "/b?versions", (), "ListObjectVersions"),
        ("GET", "/b?uploads", (), "ListMultipartUploads"),
        ("POST", "/b", ("Content-Type",), "PostObject"),
        ("POST", "/b?delete", (), "DeleteObjects"),
        ("GET", "/b?policy", (), "GetBucketPolicy"),
        ("PUT", "/b?policy", (), "PutBucketPolicy"),
        ("DELETE", "/b?policy=", (), "DeleteBucketPolicy"),
        ("GET", "/b?cors", (), "GetBucketCors"),
        ("PUT", "/b?cors", (), "PutBucketCors"),
        ("DELETE", "/b?cors", (), "DeleteBucketCors"),
        ("GET", "/b?lifecycle", (), "GetBucketLifecycleConfiguration"),
        ("PUT", "/b?lifecycle", (), "PutBucketLifecycleConfiguration"),
        ("DELETE", "/b?lifecycle", (), "DeleteBucketLifecycle"),
        ("GET", "/b/k", (), "GetObject"),
        ("GET", "/b/a/policy?X-Amz-Signature=1&response-content-type=a", (), "GetObject"),
        ("HEAD", "/b/k", (), "HeadObject"),
        ("PUT", "/b/k", (), "PutObject"),
        ("PUT", "/b/k", COPY, "CopyObject"),
        ("PUT", "/b/k?tagging", (), "PutObjectTagging"),
        ("DELETE", "/b/k", (), "DeleteObject"),
        ("POST", "/b/k?uploads", (), "CreateMultipartUpload"),
        ("PUT", "/b/k?partNumber=1&uploadId=1", (), "UploadPart"),
        ("PUT", "/b/k?partNumber=1&uploadId=1", COPY, "UploadPartCopy"),
        ("GET", "/b/k?uploadId=1", (), "ListParts"),
        ("POST", "/b/k?uploadId=1", (), "CompleteMultipartUpload"),
        ("DELETE", "/b/k?uploadId=1", (), "AbortMultipartUpload"),
        ("OPTIONS", "/b/k", (), "OPTIONS"),
    ],
)
def test_operations_have_the_names_of_boto3(method, target, headers, operation):
    url = urlsplit(target)

    assert name_operation(method, url.path, url.query, headers) == operation


def test_all_goes_through_unchanged(proxy, client, put, store_bucket, key):
    where = {"Bucket": store_bucket.name, "Key": key}
    direct = store_bucket.meta.client

    etag = put(b"hello")["ETag"]
    got = client.get_object(**where)
    head = client.head_object(**where)
    with pytest.raises(ClientError) as missing:
        client.head_object(Bucket=store_bucket.name, Key="missing")
    listed = client.list_objects_v2(Bucket=store_bucket.name, Prefix=key)
    client.delete_objects(Bucket=store_bucket.name, Delete={"Objects": [{"Key": key}]})
    put(b"")

    assert got["Body"].read() == b"hello"
    assert got["ETag"] == head["ETag"] == etag
    assert head["ContentLength"] == 5
    assert status_of(missing) == 404
    assert [item["Key"] for item in listed["Contents"]] == [key]
    through, past = (
        each.head_object(**where)["ResponseMetadata"]["HTTPHeaders"] for each in (client, direct)
    )
    assert {*through} == {*past}
    assert read(store_bucket, key) == b""
    assert proxy.calls == [
        ("PutObject", key),
        ("GetObject", key),
        ("HeadObject", key),
        ("HeadObject", "missing"),
        ("ListObjectsV2", ""),
        ("DeleteObjects", ""),
        ("PutObject", key),
        ("HeadObject", key),
    ]


def test_a_multipart_upload_goes_through(proxy, client, put, store_bucket, key):
    where = {"Bucket": store_bucket.name, "Key": key}
    put(b"hello", key="source")

    upload = {**where, "UploadId": client.create_multipart_upload(**where)["UploadId"]}
    part = client.upload_part(**upload, PartNumber=1, Body=bytes(5 << 20))
    source = {"Bucket": store_bucket.name, "Key": "source"}
    copied = client.upload_part_copy(**upload, PartNumber=2, CopySource=source)
    parts = [
        {"PartNumber": 1, "ETag": part["ETag"]},
        {"PartNumber": 2, "ETag": copied["CopyPartResult"]["ETag"]},
    ]
    client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})

    assert read(store_bucket, key) == bytes(5 << 20) + b"hello"
    assert [call.operation for call in proxy.calls[1:]] == [
        "CreateMultipartUpload",
        "UploadPart",
        "UploadPartCopy",
        "CompleteMultipartUpload",
    ]


def test_forms_of_browsers_go_through(proxy, client, store_bucket, key, post_file):
    form = client.generate_presigned_post(Bucket=store_bucket.name, Key=key)

    assert post_file(form, b"hello").status_code == 204

    assert read(store_bucket, key) == b"hello"
    assert proxy.calls == [("PostObject", "")]


def test_chunked_bodies_go_through(client, store_bucket, key):
    url = client.generate_presigned_url("put_object", {"Bucket": store_bucket.name, "Key": key})

    response = requests.put(url, data=iter([b"hel", b"lo"]), timeout=WAIT)

    assert response.status_code == 200
    assert read(store_bucket, key) == b"hello"


def test_large_bodies_are_streamed(client, store_bucket, key, tmp_path):
    where = {"Bucket": store_bucket.name, "Key": key}
    path = tmp_path / "large"
    path.write_bytes(os.urandom(1 << 20) * 50)
    digest, size_bytes = hashlib.sha256(), 0

    tracemalloc.start()
    with path.open("rb") as file:
        client.put_object(**where, Body=file)
    for piece in client.get_object(**where)["Body"].iter_chunks(1 << 16):
        digest.update(piece)
        size_bytes += len(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size_bytes == 50 << 20
    assert digest.hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert peak < 5 << 20


def test_a_client_that_leaves_halfway_puts_nothing(proxy, client, store_bucket, key):
    url = client.generate_presigned_url("put_object", {"Bucket": store_bucket.name, "Key": key})
    parts = urlsplit(url)
    request = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"

    for framing in (
        "Content-Length: 10\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ):
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.sendall((request + framing).encode())
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""

    assert read(store_bucket, key) is None


def test_a_held_call_lands_after_its_client_gave_up(proxy, open_client, put, store_bucket, key):
    held = proxy.hold("PutObject")

    with pytest.raises(ReadTimeoutError):
        put(bytes(1 << 20), client=open_client(proxy, read_timeout=0.3))
    assert held.reached.is_set()
    assert not held.done.is_set()
    assert read(store_bucket, key) is None

    held.release()

    assert held.done.wait(WAIT)
    assert read(store_bucket, key) == bytes(1 << 20)


def test_a_held_call_is_answered_when_its_client_waits(proxy, put, store_bucket, key):
    held = proxy.hold("PutObject")

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(put)
        assert held.reached.wait(WAIT)
        assert read(store_bucket, key) is None
        held.release()
        assert answer.result()["ETag"]

    assert read(store_bucket, key) == b"hello"


def test_a_held_call_and_its_retry_land_together(proxy, open_client, put, store_bucket, key):
    held = proxy.hold("PutObject", times=2)
    impatient = open_client(proxy, read_timeout=0.3)

    for number in range(2):
        with pytest.raises(ReadTimeoutError):
            put(key=f"{key} {number}", client=impatient)
    assert not held.done.is_set()

    held.release()

    assert held.done.wait(WAIT)
    assert [read(store_bucket, f"{key} {number}") for number in range(2)] == [b"hello"] * 2


def test_a_held_answer(proxy, put, store_bucket, key):
    held = proxy.hold_answer("PutObject")

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(put)
        assert held.reached.wait(WAIT)
        assert held.done.wait(WAIT)
        assert read(store_bucket, key) == b"hello"
        assert not answer.done()
        held.release()
        assert answer.result()["ETag"]


@pytest.mark.parametrize("body", [b"hello", bytes(10 << 20)], ids=["small", "large"])
def test_a_dropped_call(proxy, put, store_bucket, key, body):
    proxy.drop("PutObject")

    with pytest.raises(ConnectionClosedError):
        put(body)
    assert read(store_bucket, key) is None

    put(body)
    assert read(store_bucket, key) == body


def test_a_dropped_answer(proxy, put, store_bucket, key):
    proxy.drop_answer("PutObject")

    with pytest.raises(ConnectionClosedError):
        put()

    assert read(store_bucket, key) == b"hello"


def test_a_repeated_call(proxy, client, store_bucket, key):
    proxy.repeat("CreateMultipartUpload", times=3)

    upload_id = client.create_multipart_upload(Bucket=store_bucket.name, Key=key)["UploadId"]

    assert proxy.calls == [("CreateMultipartUpload", key)]
    uploads = [upload.id for upload in store_bucket.multipart_uploads.filter(Prefix=key)]
    assert len(uploads) == 3
    assert upload_id in uploads


def test_a_call_that_is_repeated_later(proxy, put, client, store_bucket, key):
    replay = proxy.repeat_later("PutObject")
    put(b"first")
    put(b"second")

    assert replay.send_again() == 200
    assert read(store_bucket, key) == b"first"
    client.delete_object(Bucket=store_bucket.name, Key=key)
    assert replay.send_again() == 200
    assert read(store_bucket, key) == b"first"


def test_an_answer_of_its_own(proxy, put, client, store_bucket, key):
    where = {"Bucket": store_bucket.name, "Key": key}
    body = b"<Error><Code>SlowDown</Code><Message>no</Message></Error>"
    proxy.answer("PutObject", 503, body, {"Retry-After": "1"}, times=2)
    proxy.answer("HeadObject", 403, body)

    for _ in range(2):
        with pytest.raises(ClientError) as refused:
            put(bytes(10 << 20))
        assert status_of(refused) == 503
        assert refused.value.response["Error"]["Code"] == "SlowDown"
        assert refused.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    assert read(store_bucket, key) is None
    with pytest.raises(ClientError) as refused:
        client.head_object(**where)
    assert status_of(refused) == 403

    put()
    assert client.head_object(**where)["ContentLength"] == 5


def test_a_rewritten_request_is_signed_again(proxy, put, client, store_bucket, key):
    """A store that ignores the condition."""
    put()
    copy = {
        "Bucket": store_bucket.name,
        "Key": f"{key} copy",
        "CopySource": {"Bucket": store_bucket.name, "Key": key},
        "CopySourceIfMatch": '"other"',
        "ContentType": "text/plain",
        "MetadataDirective": "REPLACE",
    }
    with pytest.raises(ClientError) as refused:
        client.copy_object(**copy)
    assert status_of(refused) == 412

    def forget(headers):
        del headers["x-amz-copy-source-if-match"]

    proxy.rewrite("CopyObject", request=forget, times=None)

    for _ in range(3):
        client.copy_object(**copy)
    assert read(store_bucket, f"{key} copy") == b"hello"


def test_a_rewritten_response(proxy, put, client, store_bucket, key):
    def forge(headers):
        headers["etag"] = '"equal"'

    proxy.rewrite("HeadObject", response=forge, times=None)

    etags = set()
    for body in (b"first", b"second"):
        put(body)
        etags.add(client.head_object(Bucket=store_bucket.name, Key=key)["ETag"])

    assert etags == {'"equal"'}


def test_a_function_is_called_before_the_store(proxy, put, client, store_bucket, key):
    put(b"first")
    seen = []

    def put_another(exchange):
        seen.append(exchange.call)
        put(b"second")

    proxy.on("GetObject", put_another)

    got = client.get_object(Bucket=store_bucket.name, Key=key)["Body"].read()

    assert got == b"second"
    assert seen == [("GetObject", key)]


@pytest.mark.parametrize(
    "keys", ["b/", lambda key: key.endswith("/2")], ids=["prefix", "predicate"]
)
def test_a_fault_takes_only_such_keys(proxy, put, keys):
    proxy.drop("PutObject", keys=keys)

    put(key="a/1")
    with pytest.raises(ConnectionClosedError):
        put(key="b/2")
    put(key="b/2")


def test_faults_combine_in_their_order(proxy, put, client, store_bucket, key):
    order = []
    proxy.on("PutObject", lambda _: order.append("outer"), times=None)
    proxy.answer("PutObject", 500)
    proxy.answer("PutObject", 503)
    proxy.repeat("PutObject", times=2)
    proxy.on("PutObject", lambda _: order.append("inner"), times=None)

    statuses = []
    for _ in range(2):
        with pytest.raises(ClientError) as refused:
            put()
        statuses.append(status_of(refused))
    put()

    assert statuses == [500, 503]
    assert order == ["outer", "outer", "outer", "inner", "inner"]


def test_the_end_releases_what_is_held(open_client, put, store_bucket, key):
    before = {*threading.enumerate()}
    with ThreadPoolExecutor() as pool:
        with StoreProxy(os.environ["S3_ENDPOINT_URL"]) as proxy:
            held = proxy.hold("PutObject")
            answer = pool.submit(put, client=open_client(proxy))
            assert held.reached.wait(WAIT)
        assert answer.result()["ETag"]

    assert {*threading.enumerate()} <= before
    assert read(store_bucket, key) == b"hello"


def test_a_store_that_is_down_closes_connections(open_client, put):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    with StoreProxy(f"http://127.0.0.1:{port}") as proxy, pytest.raises(ConnectionClosedError):
        put(client=open_client(proxy))


def test_an_error_of_the_test_itself_is_raised_at_the_end(open_client, put):
    def fail(exchange):
        raise AssertionError("mine")

    with (
        pytest.raises(AssertionError, match="mine"),
        StoreProxy(os.environ["S3_ENDPOINT_URL"]) as proxy,
    ):
        proxy.on("PutObject", fail)
        with pytest.raises(ConnectionClosedError):
            put(client=open_client(proxy))
