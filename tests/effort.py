"""How hard the tests try that make things up, or wait for an accident."""

import os

EFFORT = int(os.environ.get("FUZZ_EFFORT", "1"))
"""With 50 they try fifty times as much."""
