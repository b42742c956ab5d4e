"""Scripts in processes that die: each is a fork of one Python that has set up Django already."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.commands import start_python

# It opens no connection itself, so that no two processes share one.
FORKER = """
import json, os, sys, traceback
import django
django.setup()
for line in sys.stdin:
    code, *sys.argv[1:] = json.loads(line)
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    try:
        exec(code, {"__name__": "__main__"})
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
"""


@contextmanager
def start_forker(log: Path) -> Iterator[Callable[..., int]]:
    """Give a function that runs a script, and gives its status: below 0, if a signal ended it.

    What the scripts write to standard error is in ``log``.
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 1}
    with log.open("w") as errors, start_python("-c", FORKER, stderr=errors, **pipes) as process:

        def run(code: str, *arguments: object) -> int:
            print(json.dumps([code, *map(str, arguments)]), file=process.stdin)
            return int(process.stdout.readline())

        yield run
        process.kill()
