"""Measure the most memory that this process took."""

import re
import resource
import sys
from pathlib import Path


def measure_peak_mb() -> float:
    """The peak of resident memory, in MiB, since this program began.

    Linux hands ``ru_maxrss`` down from the parent through fork and exec: a worker that is smaller
    than its parent would find the parent's size. ``VmHWM`` begins anew.
    """
    status = Path("/proc/self/status")
    if status.exists() and (peak := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(peak[1]) / 1024
    peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_rss / (2**20 if sys.platform == "darwin" else 1024)
