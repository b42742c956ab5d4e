"""`python -m nodus.probe`: the container's HEALTHCHECK, which asks its server for /health.

`python -m nodus.probe http://127.0.0.1:9108` asks another address: that of a worker's metrics.
curl is not in the image, and does not know a host name that DJANGO_ALLOWED_HOSTS accepts.
"""

import os
import sys
import urllib.error
import urllib.request


def main() -> None:
    host = os.environ.get("DJANGO_ALLOWED_HOSTS", "").partition(",")[0].lstrip("*.")
    url = sys.argv[1] if sys.argv[1:] else _find_health()
    request = urllib.request.Request(url, headers={"Host": host or "localhost"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310 (the address is ours)
            pass
    except urllib.error.HTTPError as error:
        sys.exit(error.read().decode())
    except OSError as error:
        sys.exit(str(error))


def _find_health() -> str:
    port = os.environ.get("BIND", "127.0.0.1:8000").rpartition(":")[2]
    return f"http://127.0.0.1:{port}/health"


if __name__ == "__main__":
    main()
