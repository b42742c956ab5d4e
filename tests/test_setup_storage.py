import copy
import json
from functools import partial

import pytest
from django.core.management import CommandError

from attachments import storage
from tests import commands
from tests.stores import name_bucket, take_store_away

run = partial(commands.run, "setup_storage", no_color=True)


def test_it_says_what_it_found(bucket):
    storage.setup_bucket()

    lines = run().splitlines()

    assert lines[0] == f"bucket     unchanged  {bucket.name}"
    assert lines[1] == "policy     unchanged  anybody may read attachments/* and thumbnails/*"
    assert lines[2].startswith("CORS       unchanged  http://localhost:5173, http://localhost:8000")
    assert lines[3].startswith("lifecycle  unchanged  pending/ expires after 2 days")


def test_it_speaks_json(bucket):
    steps = json.loads(run("--json"))

    assert [step["part"] for step in steps] == ["bucket", "policy", "CORS", "lifecycle"]


def test_a_dry_run_writes_nothing(bucket, store_calls):
    storage.setup_bucket()
    store_calls()

    text = run("--dry-run")

    assert text.splitlines()[-1] == "Dry run: nothing was changed."
    assert not [name for name in store_calls() if not name.startswith(("Get", "Head"))]


def test_a_dry_run_tells_what_would_be_set(bucket, settings, store_calls):
    storage.setup_bucket()
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "RETENTION_DAYS": 100}
    store_calls()

    steps = {step["part"]: step for step in json.loads(run("--dry-run", "--json", status=1))}

    assert steps["policy"]["state"] == "unchanged"
    assert steps["lifecycle"]["state"] == "missing"
    assert "attachments/ expires after 130 days" in steps["lifecycle"]["detail"]
    assert not [name for name in store_calls() if not name.startswith(("Get", "Head"))]


def test_a_dry_run_makes_no_bucket(settings):
    storages = copy.deepcopy(settings.STORAGES)
    storages["attachments"]["OPTIONS"]["bucket_name"] = name_bucket()
    settings.STORAGES = storages

    assert "missing" in run("--dry-run", status=1)
    assert not storage.has_bucket()


def test_the_store_is_down(settings):
    take_store_away(settings)

    with pytest.raises(CommandError, match=r"not available.*Could not connect") as stop:
        run()

    assert stop.value.returncode == 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"ADMIN_ACCESS_KEY": "nobody"}, "InvalidAccessKeyId: .* S3_ADMIN_ACCESS_KEY"),
        ({"ADMIN_SECRET_KEY": "wrong"}, "SignatureDoesNotMatch: .* S3_ADMIN_ACCESS_KEY"),
    ],
    ids=["access key", "secret key"],
)
def test_a_wrong_key_is_told_in_the_stores_words(bucket, settings, wrong, words):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, **wrong}

    with pytest.raises(CommandError, match=words) as stop:
        run()

    assert stop.value.returncode == 2
    assert "later" not in str(stop.value)


def test_what_is_not_in_force_ends_with_1(bucket, settings, monkeypatch):
    step = storage.SetupStep(part="policy", state="refused", detail="why", level="error")
    monkeypatch.setattr(storage, "setup_bucket", lambda: [step])

    assert run(status=1) == "policy     refused    ERROR: why\n"
    assert json.loads(run("--json", status=1)) == [
        {"part": "policy", "state": "refused", "detail": "why", "level": "error"}
    ]
