"""The directory in which several processes keep what they count, if there is one."""

import os
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Of prometheus-client, which reads it when it is imported."""


def find_directory() -> Path | None:
    """It is made if it is not there: whichever process comes first needs it."""
    name = os.environ.get(VARIABLE)
    if not name:
        return None
    directory = Path(name)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def remove_dead(directory: Path) -> None:
    """Remove what processes counted that are gone since before the server started."""
    for file in directory.glob("*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdecimal() and not _is_living(int(pid)):
            file.unlink(missing_ok=True)


def _is_living(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True
