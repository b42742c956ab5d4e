"""Read what the documents say and what the code says, so that tests can compare both."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def find_variables(*paths: str) -> set[str]:
    """The environment variables that these Python files read."""
    sources = "".join((ROOT / path).read_text() for path in paths)
    return set(re.findall(r'\benv(?:iron)?\.\w+\("([A-Z0-9_]+)"', sources))


VARIABLES = find_variables("nodus/settings.py", "nodus/gunicorn_conf.py")


def read_example() -> dict[str, str]:
    """The variables of .env.example with the values that it shows."""
    lines = re.findall(r"^# ([A-Z][A-Z0-9_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.M)
    return dict(lines)


def read_blocks(path: str, language: str = r"\w+", heading: str = "") -> list[str]:
    """The fenced blocks of a document in this language, or those below one heading alone."""
    text = (ROOT / path).read_text()
    if heading:
        text = re.split(r"^## ", text.partition(f"\n## {heading}\n")[2], flags=re.M)[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def read_table(heading: str, path: str = "README.md") -> list[list[str]]:
    """The rows of the first table below this heading of a document, without backquotes."""
    section = (ROOT / path).read_text().partition(f"# {heading}\n")[2]
    rows = re.search(r"^\|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", section, re.M)
    assert rows, f"no table below {heading!r}"
    return [
        [cell.strip().strip("`") for cell in row[1:-1].split("|")] for row in rows[1].splitlines()
    ]
