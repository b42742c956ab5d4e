"""The options that benchmarks share."""

from argparse import ArgumentParser


def make_parser(description: str | None) -> ArgumentParser:
    """A parser of ``--json`` and ``--smoke``; a benchmark adds its own."""
    parser = ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--smoke", action="store_true", help="little work, and no judgement")
    return parser
