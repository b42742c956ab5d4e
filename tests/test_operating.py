"""The documents for operators: each command that they show is run here, as it is shown."""

import re
import shlex
from io import StringIO

import pytest
from django.core.management import call_command, get_commands

from tests.documents import ROOT

PAGES = ["deployment.md", "operations.md", "troubleshooting.md", "upgrading.md"]
ELSEWHERE = {"db_worker", "run_schedule"}  # these run until they are stopped


def read(page):
    return (ROOT / "docs" / page).read_text()


def list_commands(text):
    """The command lines in blocks and in code spans; of a line, what stands before a comment."""
    shown = re.findall(r"(?:^ {4,}|`|^\$ python )manage\.py ([a-z_]+[^`\n#]*)", text, re.M)
    return list(dict.fromkeys(line.strip() for line in shown))


@pytest.mark.django_db(transaction=True)
@pytest.mark.postgres
@pytest.mark.usefixtures("empty_bucket")
def test_each_command_works_as_shown(tmp_path, user, attachment_of):
    attachment_of(user)
    lines = [line for page in PAGES for line in list_commands(read(page))]
    lines.sort(key=lambda line: not line.startswith("backup"))  # what others read
    assert len(set(lines)) > 20

    for line in dict.fromkeys(lines):
        name, *args = shlex.split(line.replace("/backup/nodus", str(tmp_path)))
        assert name in get_commands(), line
        if name not in ELSEWHERE:
            assert run(name, *args) == 0, line


def run(name, *args):
    try:
        call_command(name, *args, stdout=StringIO(), stderr=StringIO())
    except SystemExit as stopped:
        return stopped.code
    return 0


@pytest.mark.parametrize("page", ["deployment.md", "operations.md", "troubleshooting.md"])
def test_the_russian_page_shows_the_same_commands(page):
    assert list_lines(read(f"ru/{page}")) == list_lines(read(page))


def list_lines(text):
    """Every command line, as often as it is shown, in the order of the page."""
    return re.findall(r"(?:^ {4,}|`|^\$ python )(manage\.py [^`\n]+)", text, re.M)


def test_twenty_symptoms_have_a_command_and_a_mend():
    rows = [line for line in read("troubleshooting.md").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    symptoms = [row for row in cells if row[0] != "symptom"]

    assert len(symptoms) >= 20
    for symptom, command, mend in symptoms:
        assert command.startswith("`manage.py "), symptom
        assert mend.endswith("."), symptom
