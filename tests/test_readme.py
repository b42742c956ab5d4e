"""The README is the reference: tests compare what it says with the code, or do it."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.core.management import get_commands

from attachments.conf import DEFAULTS
from attachments.errors import AttachmentError
from attachments.rules.file_types import TYPES
from tests.documents import ROOT, VARIABLES, read_example, read_table

RUFF = Path(sys.executable).parent / "ruff"
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def read_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def test_the_table_of_settings_is_the_code():
    rows = {
        key: (type_name, ast.literal_eval(default))
        for key, type_name, default, _ in read_table("Settings")
    }

    assert rows == {key: (name_type(key, value), value) for key, value in DEFAULTS.items()}


def name_type(key, default):
    if key.endswith("_RATE"):
        return "str or None"
    return "int or None" if default is None else type(default).__name__


def test_each_threat_names_tests_that_exist():
    text = (ROOT / "docs" / "security.md").read_text()
    tests = {
        name
        for path in (ROOT / "tests").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }

    _, _, threats = text.partition("## Threats")
    lines = [line for line in threats.splitlines() if re.match(r"\| (?!danger|chapter)", line)]
    assert len(lines) > 40
    for line in lines:
        named = re.findall(r"`(test_\w+)`", line)
        assert named, line
        assert set(named) <= tests, line


def test_each_setting_is_explained():
    assert all(meaning for *_, meaning in read_table("Settings"))


def test_the_table_of_content_types_is_the_code():
    rows = {
        name: (tuple(extensions.split()), tuple(aliases.split()), shown == "yes")
        for name, extensions, aliases, _, shown in read_table("Types", "docs/content-types.md")
    }

    assert rows == {
        name: (file_type.extensions, file_type.aliases, file_type.is_inline)
        for name, file_type in TYPES.items()
    }


def test_the_table_of_variables_is_the_template():
    rows = {name: default for name, default, _ in read_table("Environment variables")}

    assert rows.keys() == VARIABLES
    assert rows == {name: value for name, value in read_example().items() if name in VARIABLES}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_each_command_and_link_exists(path):
    text = path.read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))

    assert set(re.findall(r"`make ([a-z]+)", text)) <= targets
    assert set(re.findall(r"manage\.py ([a-z_]+)", text)) <= get_commands().keys()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("http") or (path.parent / link).exists(), link


@pytest.mark.parametrize("block", read_blocks("python"))
def test_the_python_examples_are_whole(block):
    """Each name that they use is imported, and is there; `chat` is the reader's own."""
    check = [RUFF, "check", "--isolated", "--quiet", "--select=F", "--ignore=F401", "-"]
    found = subprocess.run(check, input=block, check=False, capture_output=True, text=True)
    assert found.stdout == ""
    tree = ast.parse(block)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.module.startswith("chat"):
            module = import_module(node.module)
            assert all(hasattr(module, name.name) for name in node.names)

    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ATTACHMENTS":
            assert ast.literal_eval(node.value).keys() <= DEFAULTS.keys()


@pytest.mark.postgres
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_first_upload_works_as_pasted(live_server, user, tmp_path):
    (script,) = read_blocks("bash")
    port = urlsplit(live_server.url).port

    result = subprocess.run(
        ["bash"],
        input=f"PORT={port}\n{script}",
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
    )

    assert result.stderr == ""
    assert result.stdout.startswith("204\n{")
    assert '"status": "ready"' in result.stdout
    assert result.stdout.endswith("The same bytes came back.\n")


def test_clients_are_told_what_to_do_on_each_error():
    told = {
        code.strip("` ")
        for codes, *_ in read_table("Errors", "docs/clients.md")
        for code in codes.split(",")
    }

    assert told >= set(find_codes(AttachmentError))


def find_codes(kind: type[AttachmentError]) -> Iterator[str]:
    if "code" in vars(kind):
        yield kind.code
    for child in kind.__subclasses__():
        yield from find_codes(child)
