"""What each key of the store may do, and where it is seen."""

import base64
import copy
import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

from attachments import storage
from attachments.errors import StorageRefused
from attachments.storage import bucket as bucket_module
from attachments.storage.policies import VARIABLES, Key, build_seaweedfs_identities
from nodus.dev.embedded import EmbeddedS3, find_free_ports, make_up_key
from tests.stores import name_bucket, run_moto

BUCKET = "files"
BASE = "/api/v1/attachments"
PREFIXES = ("pending", "quarantine", "attachments", "thumbnails", "other")
ROLES = list(VARIABLES)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with the keys of one bucket, as `make run` starts it, and a key that may do all."""
    store = EmbeddedS3(
        data_dir=tmp_path_factory.mktemp("keys"),
        port=find_free_ports(1)[0],
        keys={role: make_up_key(role) for role in ROLES},
        buckets=[BUCKET],
        root=make_up_key("root"),
    )
    store.start()
    open_client(store, store.root).create_bucket(Bucket=BUCKET)
    yield store
    store.kill()


def open_client(store, key):
    return boto3.client(
        "s3",
        endpoint_url=store.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=key.access_key,
        aws_secret_access_key=key.secret_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


@pytest.fixture
def root(store):
    """Sees and does everything; finds an object under each prefix."""
    client = open_client(store, store.root)
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    for prefix in PREFIXES:
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/1", Body=prefix.encode())
    return client


@pytest.fixture
def client_of(store):
    return lambda role: open_client(store, store.keys[role])


def read_all(root):
    """Every object with its bytes."""
    items = root.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    keys = [item["Key"] for item in items]
    return {key: root.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def is_refused(call, *args, **kwargs):
    try:
        answer = call(*args, **kwargs)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    return [error["Code"] for error in answer.get("Errors", [])] == ["AccessDenied"]


def get(client, prefix):
    return client.get_object(Bucket=BUCKET, Key=f"{prefix}/1")


def put(client, prefix):
    return client.put_object(Bucket=BUCKET, Key=f"{prefix}/new", Body=b"new")


def post(client, prefix):
    form = client.generate_presigned_post(BUCKET, f"{prefix}/new")
    return requests.post(form["url"], data=form["fields"], files={"file": b"new"}, timeout=10)


def delete(client, prefix):
    return client.delete_object(Bucket=BUCKET, Key=f"{prefix}/1")


def delete_many(client, prefix):
    return client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": f"{prefix}/1"}]})


def copy_object(client, source, target):
    return client.copy_object(
        Bucket=BUCKET, Key=f"{target}/new", CopySource={"Bucket": BUCKET, "Key": f"{source}/1"}
    )


def copy_part(client, source, target):
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=f"{target}/new")["UploadId"]
    return client.upload_part_copy(
        Bucket=BUCKET,
        Key=f"{target}/new",
        UploadId=upload,
        PartNumber=1,
        CopySource={"Bucket": BUCKET, "Key": f"{source}/1"},
    )


OPEN_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": ["s3:*"],
            "Resource": [f"arn:aws:s3:::{BUCKET}/*"],
        }
    ],
}
OF_OBJECTS = {
    "tag": lambda client, prefix: client.put_object_tagging(
        Bucket=BUCKET, Key=f"{prefix}/1", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}
    ),
    "make public": lambda client, prefix: client.put_object_acl(
        Bucket=BUCKET, Key=f"{prefix}/1", ACL="public-read"
    ),
}
LISTS = {
    "head": lambda client: client.head_bucket(Bucket=BUCKET),
    "list": lambda client: client.list_objects_v2(Bucket=BUCKET),
    "list pending": lambda client: client.list_objects_v2(Bucket=BUCKET, Prefix="pending/"),
    "list the old way": lambda client: client.list_objects(Bucket=BUCKET),
    "list versions": lambda client: client.list_object_versions(Bucket=BUCKET),
    "list uploads": lambda client: client.list_multipart_uploads(Bucket=BUCKET),
}
OF_BUCKETS = {
    "get policy": lambda client: client.get_bucket_policy(Bucket=BUCKET),
    "put policy": lambda client: client.put_bucket_policy(
        Bucket=BUCKET, Policy=json.dumps(OPEN_POLICY)
    ),
    "get CORS": lambda client: client.get_bucket_cors(Bucket=BUCKET),
    "get lifecycle": lambda client: client.get_bucket_lifecycle_configuration(Bucket=BUCKET),
    "create another": lambda client: client.create_bucket(Bucket="another"),
}
DELETE_BUCKET = {"delete": lambda client: client.delete_bucket(Bucket=BUCKET)}


def find_allowed(client, *groups):
    """Of these calls to a bucket, those that the store did not refuse."""
    calls = {name: call for group in groups for name, call in group.items()}
    return [name for name, call in calls.items() if not is_refused(call, client)]


# What a key may do


def test_the_signer_puts_to_pending(root, client_of):
    assert post(client_of("signer"), "pending").status_code == 204
    assert read_all(root)["pending/new"] == b"new"


def test_the_signer_writes_nothing_but_pending(root, client_of):
    signer, before = client_of("signer"), read_all(root)

    for prefix in PREFIXES[1:]:
        assert is_refused(put, signer, prefix), prefix
        assert post(signer, prefix).status_code == 403, prefix
    assert is_refused(signer.put_object, Bucket=BUCKET, Key="pending", Body=b"new")

    assert read_all(root) == before


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_signer_reads_copies_and_deletes_nothing(root, client_of, prefix):
    signer, before = client_of("signer"), read_all(root)

    assert is_refused(get, signer, prefix)
    assert is_refused(signer.head_object, Bucket=BUCKET, Key=f"{prefix}/1")
    assert is_refused(copy_object, signer, source=prefix, target="pending")
    assert is_refused(copy_object, signer, source="pending", target=prefix)
    assert is_refused(copy_part, signer, source=prefix, target="pending")
    assert is_refused(delete, signer, prefix)
    assert is_refused(delete_many, signer, prefix)
    for name, call in OF_OBJECTS.items():
        assert is_refused(call, signer, prefix), name

    assert read_all(root) == before


@pytest.mark.parametrize("role", ["signer", "reader"])
def test_what_clients_see_lists_nothing_and_changes_no_bucket(root, client_of, role):
    client = client_of(role)

    assert find_allowed(client, LISTS, OF_BUCKETS, DELETE_BUCKET) == []
    assert client.list_buckets()["Buckets"] == []


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_reader_gets_what_is_served_and_nothing_else(root, client_of, prefix):
    reader = client_of("reader")

    if prefix in ("attachments", "thumbnails"):
        assert get(reader, prefix)["Body"].read() == prefix.encode()
    else:
        assert is_refused(get, reader, prefix)
        assert is_refused(reader.head_object, Bucket=BUCKET, Key=f"{prefix}/1")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_reader_changes_nothing(root, client_of, prefix):
    reader, before = client_of("reader"), read_all(root)

    assert is_refused(put, reader, prefix)
    assert post(reader, prefix).status_code == 403
    assert is_refused(copy_object, reader, source="attachments", target=prefix)
    assert is_refused(copy_part, reader, source="attachments", target=prefix)
    assert is_refused(delete, reader, prefix)
    assert is_refused(delete_many, reader, prefix)
    for name, call in OF_OBJECTS.items():
        assert is_refused(call, reader, prefix), name

    assert read_all(root) == before


def test_the_main_key_is_for_objects(root, client_of):
    main = client_of("main")

    assert find_allowed(main, LISTS) == [name for name in LISTS if name != "list versions"]
    assert find_allowed(main, OF_BUCKETS, DELETE_BUCKET) == []
    for prefix in PREFIXES:
        assert get(main, prefix)["Body"].read() == prefix.encode()
        assert not is_refused(put, main, prefix)
        assert post(main, prefix).status_code == 204
        copy_object(main, source="pending", target=prefix)
    for prefix in PREFIXES:
        delete_many(main, prefix)
    assert read_all(root).keys() == {f"{prefix}/new" for prefix in PREFIXES}


def test_the_admin_key_is_for_the_bucket(root, client_of):
    admin, before = client_of("admin"), read_all(root)

    for prefix in PREFIXES:
        assert is_refused(get, admin, prefix)
        assert is_refused(put, admin, prefix)
        assert is_refused(delete, admin, prefix)
        assert post(admin, prefix).status_code == 403
    assert find_allowed(admin, {"create another": OF_BUCKETS["create another"]}) == []
    assert find_allowed(admin, DELETE_BUCKET) == []

    assert read_all(root) == before


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("prefix", PREFIXES[1:])
def test_who_knows_an_access_key_alone_writes_nothing_that_is_served(root, store, role, prefix):
    """GHSA-9c4q-hq6p-c237: an unsigned PUT that old MinIO takes for the key that it names."""
    before, now = read_all(root), datetime.now(UTC)
    credential = f"{store.keys[role].access_key}/{now:%Y%m%d}/us-east-1/s3/aws4_request"
    headers = {
        "X-Amz-Date": f"{now:%Y%m%dT%H%M%SZ}",
        "X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "X-Amz-Decoded-Content-Length": "1",
        "X-Amz-Trailer": "x-amz-checksum-crc32",
    }

    answer = requests.put(
        f"{store.endpoint_url}/{BUCKET}/{prefix}/1",
        params={"X-Amz-Credential": credential},
        headers=headers,
        data=b"1\r\nx\r\n0\r\nx-amz-checksum-crc32:jNwWgw==\r\n\r\n",
        timeout=10,
    )

    assert answer.status_code in (400, 403)
    assert read_all(root) == before


def test_a_signed_put_takes_no_copy_source_that_was_not_signed(root, client_of):
    """MinIO and Ceph take it, if the key may read the source."""
    url = client_of("signer").generate_presigned_url(
        "put_object", Params={"Bucket": BUCKET, "Key": "pending/new"}
    )

    requests.put(url, headers={"x-amz-copy-source": f"/{BUCKET}/attachments/1"}, timeout=10)

    assert read_all(root).get("pending/new") != b"attachments"


def test_set_up_needs_the_admin_key_and_using_the_bucket_does_not(store, settings):
    """On the store of one bucket, by our code; the bucket there has no rules yet."""
    use_store(settings, store, admin=False)
    bucket_module.forget_bucket()
    with pytest.raises(StorageRefused, match="storage_unavailable") as refusal:
        storage.ensure_bucket()
    assert "the right s3:GetBucketPolicy" in refusal.value.reason

    use_store(settings, store)
    steps = storage.setup_bucket()

    try:
        use_store(settings, store, admin=False)
        storage.ensure_bucket()  # the main key sees that anybody may read what is served
        assert {step.part: step.state for step in steps} == {
            "bucket": "unchanged",
            "policy": "created",
            "CORS": "created",
            "lifecycle": "created",
        }
    finally:
        open_client(store, store.root).delete_bucket_policy(Bucket=BUCKET)


def use_store(settings, store, *, admin=True):
    storages = copy.deepcopy(settings.STORAGES)
    storages["attachments"]["OPTIONS"].update(
        endpoint_url=store.endpoint_url,
        access_key=store.keys["main"].access_key,
        secret_key=store.keys["main"].secret_key,
        bucket_name=BUCKET,
    )
    settings.STORAGES = storages
    keys = {"ADMIN": store.keys["admin"]} if admin else {}
    settings.ATTACHMENTS = {
        **settings.ATTACHMENTS,
        **{f"{role}_ACCESS_KEY": "" for role in ("SIGNER", "READER", "ADMIN")},
        **{f"{role}_SECRET_KEY": "" for role in ("SIGNER", "READER", "ADMIN")},
        **{f"{role}_ACCESS_KEY": key.access_key for role, key in keys.items()},
        **{f"{role}_SECRET_KEY": key.secret_key for role, key in keys.items()},
    }


# Where a key is seen


@pytest.fixture
def keys(settings):
    """The suite's own, by role."""
    options = settings.STORAGES["attachments"]["OPTIONS"]
    found = {"main": (options["access_key"], options["secret_key"])}
    for role in ("signer", "reader", "admin"):
        names = (f"{role.upper()}_ACCESS_KEY", f"{role.upper()}_SECRET_KEY")
        found[role] = tuple(settings.ATTACHMENTS[name] for name in names)
    if len(set(found.values())) < len(found):
        pytest.skip("the store that S3_ENDPOINT_URL names has one key for several roles")
    return found


def find_keys(text, keys):
    """Whose access key, and whose secret, stands in the text."""
    names = {value: role for role, key in keys.items() for value in key}
    return {names[value] for value in names if value in text}


def test_the_form_shows_the_signers_key_and_a_private_link_the_readers(
    settings, keys, bucket, user, upload, api
):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_READ": False}
    ticket = upload(user)
    attachment = api(user).post(
        f"{BASE}/confirm", {"attachment_id": ticket.attachment_id}, format="json"
    )

    form = {name.lower(): value for name, value in ticket.fields.items()}
    assert form["x-amz-credential"].startswith(f"{keys['signer'][0]}/")
    link = attachment.json()["download_url"]
    (credential,) = parse_qs(urlsplit(link).query)["X-Amz-Credential"]
    assert credential.startswith(f"{keys['reader'][0]}/")
    assert requests.get(link, timeout=10).status_code == 200
    shown = json.dumps(ticket.fields) + base64.b64decode(form["policy"]).decode()
    assert find_keys(shown, keys) == {"signer"}
    assert find_keys(attachment.content.decode(), keys) == {"reader"}


@pytest.mark.django_db
def test_no_key_stands_where_it_does_not_belong(
    settings, keys, bucket, user, message_of, attachment_of, api, client, django_user_model
):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_READ": False}
    message = message_of(user)
    attachment = attachment_of(user, message_id=message.pk)
    caller = api(user)
    asked = {"filename": "a.png", "content_type": "image/png"}
    client.force_login(django_user_model.objects.create_superuser("root"))
    admin = "/admin/attachments/attachment/"

    ticket = caller.post(f"{BASE}/presigned", asked, format="json")
    answers = {
        "confirm": caller.post(
            f"{BASE}/confirm", {"attachment_id": ticket.json()["attachment_id"]}, format="json"
        ),
        "confirm again": caller.post(
            f"{BASE}/confirm", {"attachment_id": attachment.pk}, format="json"
        ),
        "detail": caller.get(f"{BASE}/{attachment.pk}"),
        "list": caller.get(BASE),
        "download": caller.get(f"{BASE}/{attachment.pk}/download"),
        "messages": caller.get(f"/api/v1/conversations/{message.conversation_id}/messages"),
        "refusal": caller.post(f"{BASE}/presigned", {**asked, "filename": ""}, format="json"),
        "schema": caller.get("/api/schema"),
        "health": caller.get("/health"),
        "admin": client.get(admin),
        "admin of one": client.get(f"{admin}{attachment.pk}/change/"),
        "admin of messages": client.get(f"/admin/messaging/message/{message.pk}/change/"),
        "usage": client.get("/admin/attachments/usage/"),
    }
    settings.STORAGES = copy.deepcopy(settings.STORAGES)
    settings.STORAGES["attachments"]["OPTIONS"]["secret_key"] = "wrong"
    answers["store refuses"] = caller.post(
        f"{BASE}/confirm", {"attachment_id": ticket.json()["attachment_id"]}, format="json"
    )

    assert find_keys(ticket.content.decode(), keys) == {"signer"}
    seen = {
        name: find_keys(answer.content.decode() + str(answer.headers), keys)
        for name, answer in answers.items()
    }
    assert {name: roles for name, roles in seen.items() if roles - {"reader"}} == {}
    assert answers["store refuses"].status_code == 503


def test_a_page_of_djangos_debugger_hides_the_keys(settings, keys, rf):
    from django.views.debug import ExceptionReporter

    try:
        raise RuntimeError
    except RuntimeError as error:
        reporter = ExceptionReporter(rf.get("/"), type(error), error, error.__traceback__)
    shown = str(reporter.filter.get_safe_settings())

    assert "SIGNER_ACCESS_KEY" in shown
    assert find_keys(shown, keys) == set()


# Unset keys


@pytest.mark.parametrize("role", ["SIGNER", "READER"])
def test_an_unset_key_is_the_main_one(settings, keys, bucket, post_file, role):
    unset = {f"{role}_ACCESS_KEY": "", f"{role}_SECRET_KEY": ""}
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, **unset}
    minute = timedelta(minutes=1)
    key = f"pending/{name_bucket()}"

    form = storage.sign_upload(
        key=key,
        content_type="image/png",
        size_range=(1, 9),
        checksum_sha256="",
        expires_in=minute,
    )
    posted = post_file(form, b"hello")
    link = storage.sign_download(key="attachments/1", expires_in=minute)

    assert posted.status_code == 204
    used = {"SIGNER": json.dumps(form.fields), "READER": link}
    assert find_keys(used.pop(role), keys) == {"main"}
    (other,) = used.values()
    assert "main" not in find_keys(other, keys)


def test_half_a_key_is_not_replaced_by_the_main_one(settings):
    half = {"SIGNER_ACCESS_KEY": "signer", "SIGNER_SECRET_KEY": ""}
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, **half}

    with pytest.raises(ImproperlyConfigured, match="SIGNER_ACCESS_KEY"):
        storage.sign_upload(
            key="pending/1",
            content_type="image/png",
            size_range=(1, 9),
            checksum_sha256="",
            expires_in=timedelta(minutes=1),
        )


# Roles of AWS


@pytest.fixture
def role_of_machine(monkeypatch):
    """What tells a container on AWS its temporary key, as AWS does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(
                {
                    "AccessKeyId": "ASIATEMPORARY",
                    "SecretAccessKey": "temporary",
                    "Token": "token-of-the-role",
                    "Expiration": f"{datetime.now(UTC) + timedelta(hours=6):%Y-%m-%dT%H:%M:%SZ}",
                }
            ).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/role"
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        yield
        server.shutdown()
        thread.join()


def test_without_static_keys_the_role_signs_and_its_token_is_in_the_form(
    settings, monkeypatch, role_of_machine, user, api, post_file, samples
):
    settings.STORAGES = copy.deepcopy(settings.STORAGES)
    options = settings.STORAGES["attachments"]["OPTIONS"]
    for name in ("endpoint_url", "access_key", "secret_key", "security_token"):
        options.pop(name)
    options["bucket_name"] = "on-aws"
    unset = [
        f"{role}_{part}_KEY"
        for role in ("SIGNER", "READER", "ADMIN")
        for part in ("ACCESS", "SECRET")
    ]
    settings.ATTACHMENTS = {
        **settings.ATTACHMENTS,
        **dict.fromkeys(unset, ""),
        "PUBLIC_READ": False,
    }

    with run_moto() as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", aws)
        caller = api(user)
        ticket = caller.post(
            f"{BASE}/presigned", {"filename": "a.png", "content_type": "image/png"}, format="json"
        ).json()
        posted = post_file(ticket, samples["image/png"])
        attachment = caller.post(
            f"{BASE}/confirm", {"attachment_id": ticket["attachment_id"]}, format="json"
        ).json()
        file = requests.get(attachment["download_url"], timeout=10)

    fields = ticket["fields"]
    conditions = json.loads(base64.b64decode(fields["policy"]))["conditions"]
    assert posted.status_code == 204
    assert fields["x-amz-credential"].startswith("ASIATEMPORARY/")
    assert fields["x-amz-security-token"] == "token-of-the-role"
    assert {"x-amz-security-token": "token-of-the-role"} in conditions
    assert "X-Amz-Security-Token=token-of-the-role" in attachment["download_url"]
    assert file.content == samples["image/png"]


# The printed policies


def print_policies(*arguments):
    out = StringIO()
    call_command("setup_storage", "--print-policies", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def test_policies_are_printed_for_people(settings):
    text = print_policies()

    bucket = storage.get_bucket()
    for name in (
        "MinIO",
        "AWS",
        "SeaweedFS",
        "versitygw",
        *(f"{name}_ACCESS_KEY" for name in VARIABLES.values()),
    ):
        assert name in text
    documents = read_json_documents(text)
    stores = storage.build_policies(bucket)
    assert documents == [
        *stores["minio"].values(),
        *stores["aws"].values(),
        stores["seaweedfs"],
        stores["versitygw"],
    ]


def read_json_documents(text):
    documents, decoder = [], json.JSONDecoder()
    while (start := text.find("{\n")) >= 0:
        document, end = decoder.raw_decode(text, start)
        documents.append(document)
        text = text[end:]
    return documents


def test_policies_are_printed_for_programs(settings):
    settings.STORAGES = copy.deepcopy(settings.STORAGES)
    settings.STORAGES["attachments"]["OPTIONS"]["bucket_name"] = BUCKET

    stores = json.loads(print_policies("--json"))

    assert stores.keys() == {"minio", "aws", "seaweedfs", "versitygw"}
    assert stores["minio"].keys() == stores["aws"].keys() == set(ROLES)
    for store in ("minio", "aws"):
        assert stores[store]["signer"]["Statement"] == [
            {
                "Effect": "Allow",
                "Action": ["s3:PutObject"],
                "Resource": ["arn:aws:s3:::files/pending/*"],
            }
        ]
        assert stores[store]["reader"]["Statement"] == [
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject"],
                "Resource": ["arn:aws:s3:::files/attachments/*", "arn:aws:s3:::files/thumbnails/*"],
            }
        ]
    identities = {item["name"]: item for item in stores["seaweedfs"]["identities"]}
    assert identities["signer"] == {
        "name": "signer",
        "credentials": [{"accessKey": "S3_SIGNER_ACCESS_KEY", "secretKey": "S3_SIGNER_SECRET_KEY"}],
        "actions": ["Write:file?"],
        "policyNames": ["signer"],
    }
    assert identities["reader"]["actions"] == []
    statements = {item["Principal"]["AWS"][0]: item for item in stores["versitygw"]["Statement"]}
    assert statements["S3_SIGNER_ACCESS_KEY"] == {
        "Effect": "Allow",
        "Action": ["s3:PutObject"],
        "Resource": ["arn:aws:s3:::files/pending/*", "arn:aws:s3:::files"],
        "Principal": {"AWS": ["S3_SIGNER_ACCESS_KEY"]},
    }
    assert statements.keys() == {f"{name}_ACCESS_KEY" for name in VARIABLES.values()}


def test_the_identities_have_the_keys_that_are_set(settings):
    roles, parts = ("SIGNER", "READER", "ADMIN"), ("ACCESS", "SECRET")
    unset = {f"{role}_{part}_KEY": "" for role in roles for part in parts}
    own = {"SIGNER_ACCESS_KEY": "s", "SIGNER_SECRET_KEY": "secret"}
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, **unset, **own}
    out = StringIO()

    call_command("setup_storage", "--print-identities", stdout=out)

    options = settings.STORAGES["attachments"]["OPTIONS"]
    main = Key(access_key=options["access_key"], secret_key=options["secret_key"])
    signer = Key(access_key="s", secret_key="secret")
    keys = {"main": main, "signer": signer}
    assert json.loads(out.getvalue()) == build_seaweedfs_identities(storage.get_bucket(), keys=keys)


def test_printing_policies_asks_no_store_and_no_database(store_calls, keys):
    text = print_policies("--json")  # without django_db, a query is an error

    assert store_calls() == []
    assert find_keys(text, keys) == set()
