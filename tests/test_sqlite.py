"""Run the tests that use the database again on SQLite, for hosts that have no PostgreSQL."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stores import name_bucket

TESTS = Path(__file__).parent
MODULES = ("admin", "api_views", "messaging", "models", "promise", "services_*")
# How the decoder and the store fail, and what clients do to the store, has nothing to do with the
# database: what the rows go through then is in test_services_attempts and test_services_confirm.
WITHOUT = (
    "services_strip",
    "promise.py::test_a_client_posts_other_files_all_through_the_confirm",
    "promise.py::test_a_client_posts_other_files_all_through_a_copy_in_parts",
    "promise.py::test_each_call_of_a_confirm_fails_in_each_way",
    "promise.py::test_each_call_of_a_copy_in_parts_fails_in_each_way",
)
TIMEOUT_SECONDS = 400


@pytest.mark.postgres
@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_all_but_concurrent_writers_works_on_sqlite(tmp_path):
    modules = sorted(path for name in MODULES for path in TESTS.glob(f"test_{name}.py"))
    without = [f"--deselect=tests/test_{name}" for name in WITHOUT]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *modules, *without]
    environment = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
        "S3_BUCKET": name_bucket(),
    }

    result = subprocess.run(
        command,
        check=False,
        cwd=TESTS.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )

    assert result.returncode == 0, result.stdout
