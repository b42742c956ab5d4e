import copy
import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from attachments import storage
from nodus.dev.embedded import find_free_ports


def run(*args):
    out = StringIO()
    call_command("setup_storage", *args, stdout=out, no_color=True)
    return out.getvalue()


def test_it_says_what_it_found(bucket):
    storage.setup_bucket()

    lines = run().splitlines()

    assert lines[0] == f"bucket     unchanged  {bucket.name}"
    assert lines[1] == "policy     unchanged  anybody may read attachments/*"
    assert lines[2] == "CORS       unchanged  http://localhost:5173"
    assert lines[3].startswith("lifecycle  unchanged  pending/ expires after 2 days")


def test_it_speaks_json(bucket):
    steps = json.loads(run("--json"))

    assert [step["part"] for step in steps] == ["bucket", "policy", "CORS", "lifecycle"]


def test_the_store_is_down(settings):
    storages = copy.deepcopy(settings.STORAGES)
    (port,) = find_free_ports(1)
    storages["attachments"]["OPTIONS"]["endpoint_url"] = f"http://127.0.0.1:{port}"
    settings.STORAGES = storages

    with pytest.raises(CommandError, match=r"not available.*Could not connect"):
        run()
