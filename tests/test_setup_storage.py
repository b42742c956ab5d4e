import json
from functools import partial

import pytest
from django.core.management import CommandError

from attachments import storage
from tests import commands
from tests.stores import take_store_away

run = partial(commands.run, "setup_storage", no_color=True)


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
    take_store_away(settings)

    with pytest.raises(CommandError, match=r"not available.*Could not connect"):
        run()
