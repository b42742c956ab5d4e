import ast
import re
from pathlib import Path

from attachments import errors


def find_raised():
    """The errors of ours that the code raises: the class, what it is given, and where."""
    for path in sorted(Path(errors.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Raise(exc=ast.Name(id=name)):
                    given = set()
                case ast.Call(func=ast.Name(id=name), keywords=keywords):
                    given = {keyword.arg for keyword in keywords}
                case _:
                    continue
            if hasattr(error := getattr(errors, name, None), "message"):
                yield error, given, f"{path.name}:{node.lineno}"


def test_each_error_is_given_what_its_message_says():
    """Else clients read a question mark in its place."""
    raised = list(find_raised())

    wrong = [
        (error.__name__, place)
        for error, given, place in raised
        if set(re.findall(r"%\((\w+)\)s", str(error.message))) - given
    ]

    assert len(raised) > 50
    assert wrong == []
