"""The README is the reference: tests compare what it says with the code, or do it."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.management import get_commands, load_command_class

from attachments.conf import DEFAULTS
from attachments.errors import AttachmentError
from attachments.rules.file_types import TYPES
from nodus.dev.embedded import find_free_ports
from tests.documents import ROOT, VARIABLES, read_blocks, read_example, read_table

BIN = Path(sys.executable).parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


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
    for link in find_links(path):
        file, _, heading = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not heading or heading in find_headings(target), link


def find_links(path: Path) -> list[str]:
    """What the document links to in this repository."""
    links = re.findall(r'(?:\]\(|src=")([^)"]+)', path.read_text())
    return [link for link in links if not link.startswith("http")]


def find_headings(path: Path) -> set[str]:
    """The headings, as links name them."""
    headings = re.findall(r"^#+ (.*)", path.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_index_leads_to_each_document():
    """Those of a folder may be in its own README.md, to which the index leads."""
    index = ROOT / "docs" / "README.md"
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in (ROOT / "docs").rglob("README.md")
        for link in find_links(page)
    }

    assert set(index.parent.rglob("*.md")) - {index} <= linked


def test_russian_pages_show_the_commands_of_the_english_ones():
    russian = {path.name: find_code(path) for path in (ROOT / "docs" / "ru").glob("*.md")}

    assert russian["deployment.md"] == find_code(ROOT / "docs" / "deployment.md")
    assert set(russian["installation.md"]) <= set(find_code(ROOT / "README.md"))
    assert russian["installation.md"]


def find_code(path: Path) -> list[str]:
    """What is shown to be typed: fenced blocks, and lines that are indented."""
    return re.findall(r"^```\w+\n.*?^```$|^ {4}\S[^\n]*$", path.read_text(), re.M | re.S)


def find_shown(language: str) -> list[Any]:
    """The blocks of this language in all documents, each under the name of its own."""
    return [
        pytest.param(block, id=path.name)
        for path in DOCUMENTS
        for block in read_blocks(str(path.relative_to(ROOT)), language)
    ]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_each_command_takes_the_options_shown(path):
    for name, rest in re.findall(r"manage\.py ([a-z_]+)([^`\n|&>]*)", path.read_text()):
        parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
        options = re.findall(r"(?<!\S)--[a-z-]+", rest.partition("#")[0])
        assert set(options) <= parser._option_string_actions.keys(), name


@pytest.mark.parametrize("block", find_shown("console"))
def test_each_line_of_a_console_can_be_typed(block):
    """What is not this project's own is not here to be run; the files that it names are."""
    for line in block.splitlines():
        program, *words = shlex.split(line.removeprefix("$ "))
        assert line.startswith("$ ")
        assert program in ("python", "docker", "kubectl")
        assert all((ROOT / word).exists() for word in words if word.startswith("docs/"))


@pytest.mark.parametrize("block", find_shown("env"))
def test_each_line_of_an_env_file_sets_what_is_read(block):
    names = {line.partition("=")[0] for line in block.splitlines() if not line.startswith("#")}
    limits = {name for name in names if name.startswith("ATTACHMENTS_")}
    of_compose = {"COMPOSE_PROFILES", "MINIO_SCALE"}

    assert names - limits <= VARIABLES | of_compose
    assert {name.removeprefix("ATTACHMENTS_") for name in limits} <= DEFAULTS.keys()


@pytest.mark.parametrize("block", find_shown("caddy"))
def test_caddy_takes_its_examples(block, tmp_path):
    (tmp_path / "Caddyfile").write_text(block)
    command = [BIN / "caddy", "validate", "--adapter", "caddyfile", "--config", "Caddyfile"]

    check = run_quietly(command, tmp_path, HOME=str(tmp_path))

    assert check.returncode == 0, check.stderr


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
@pytest.mark.parametrize("block", find_shown("nginx"))
def test_nginx_takes_its_examples(block, tmp_path):
    """Its names are not to be found here, its ports may be taken, and its certificates are ours."""
    block = re.sub(r"http://\w+:9000", "http://127.0.0.1:9000", block)
    block = block.replace("listen 443", f"listen 127.0.0.1:{find_free_ports(1)[0]}")
    block = re.sub(r"/etc/ssl/\S+\.(pem|key);", rf"{tmp_path}/site.\1;", block)
    make = "req -x509 -newkey rsa:2048 -nodes -subj /CN=site -keyout site.key -out site.pem"
    run_quietly(["openssl", *make.split()], tmp_path).check_returncode()
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n{block}}}\n"
    )

    check = run_quietly(["nginx", "-t", "-q", "-p", tmp_path, "-c", "nginx.conf"], tmp_path)

    assert (check.returncode, check.stderr) == (0, "")


def run_quietly(command: list[Any], directory: Path, **variables: str) -> Any:
    return subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("block", read_blocks("README.md", "python"))
def test_the_python_examples_are_whole(block):
    """Each name that they use is imported, and is there; `chat` is the reader's own."""
    check = [BIN / "ruff", "check", "--isolated", "--quiet", "--select=F", "--ignore=F401"]
    check += ["--config=builtins = ['INSTALLED_APPS']", "-"]  # a block adds to them
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
    (script,) = read_blocks("README.md", "bash")
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
