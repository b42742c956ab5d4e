"""Do what the README tells its readers to paste, to make a project of their own."""

import json
import re
import shlex
import subprocess
from pathlib import Path

from tests.documents import read_blocks

SECTION = "Add it to your own project"

# One process for all commands of a block, as each takes longest to start.
EXECUTE = """
import importlib, json, sys
from django.core.management import execute_from_command_line
for sys.argv in json.loads(sys.argv[1]):
    importlib.invalidate_caches()
    if sys.argv[0] == "manage.py":
        importlib.import_module("manage").main()
    else:
        execute_from_command_line(sys.argv)
"""


def read_exports() -> dict[str, str]:
    """The variables that readers are told to export."""
    words = [word for line in _read_lines("export ") for word in shlex.split(line)[1:]]
    return dict(word.split("=", 1) for word in words)


def read_packages() -> list[str]:
    """What readers are told to install beside this repository."""
    (line,) = _read_lines("pip install ")
    return [word for word in shlex.split(line)[2:] if not word.startswith("$")]


def paste_blocks(
    *, directory: Path, python: Path, environment: dict[str, str], port: int
) -> list[str]:
    """Paste all that is pasted into files, and all commands but those of the last block.

    Gives the command that does the last block's, and then serves on ``port``. Nothing is installed
    here, and no store started.
    """
    *blocks, last = [
        block.replace("localhost:8000", f"localhost:{port}")
        for block in read_blocks("README.md", heading=SECTION)
    ]
    for block in blocks:
        if path := re.match(r"\{?# .*?([\w/]+\.\w+)", block):
            _write(directory / path[1], block)
        elif commands := _find_commands(block):
            command = _build(python, commands)
            subprocess.run(command, cwd=directory, env=environment, check=True, timeout=60)
    *commands, serve = _find_commands(last)
    return _build(python, [*commands, [*serve, "--noreload", f"127.0.0.1:{port}"]])


def _write(path: Path, block: str) -> None:
    """Put the block in the place that its first line names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_added = "at its end" in block.partition("\n")[0]
    with path.open("a" if is_added else "w") as file:
        file.write(block)


def _find_commands(block: str) -> list[list[str]]:
    lines = re.findall(r"^(?:django-admin|python manage\.py) .*$", block, re.M)
    return [shlex.split(line.removeprefix("python ")) for line in lines]


def _build(python: Path, commands: list[list[str]]) -> list[str]:
    return [str(python), "-c", EXECUTE, json.dumps(commands)]


def _read_lines(beginning: str) -> list[str]:
    lines = "".join(read_blocks("README.md", "sh", SECTION)).splitlines()
    return [line for line in lines if line.startswith(beginning)]
