"""Run the tests that use the database again on SQLite, for hosts that have no PostgreSQL."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stores import name_bucket

TESTS = Path(__file__).parent
MODULES = ("admin", "api_views", "messaging", "models", "promise", "services_*")
# How the decoder fails has nothing to do with the database.
WITHOUT = ("services_strip",)
TIMEOUT_SECONDS = 400


@pytest.mark.postgres
@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_all_but_concurrent_writers_works_on_sqlite(tmp_path):
    modules = {path for name in MODULES for path in TESTS.glob(f"test_{name}.py")}
    modules -= {TESTS / f"test_{name}.py" for name in WITHOUT}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *sorted(modules)]
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
