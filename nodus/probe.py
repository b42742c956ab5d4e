"""`python -m nodus.probe`: the container's HEALTHCHECK, which asks its server for /health.

curl is not in the image, and does not know a host name that DJANGO_ALLOWED_HOSTS accepts.
"""

import os
import sys
import urllib.error
import urllib.request


def main() -> None:
    port = os.environ.get("BIND", "127.0.0.1:8000").rpartition(":")[2]
    host = os.environ.get("DJANGO_ALLOWED_HOSTS", "").partition(",")[0].lstrip("*.")
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/health", headers={"Host": host or "localhost"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310 (the address is ours)
            pass
    except urllib.error.HTTPError as error:
        sys.exit(error.read().decode())
    except OSError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
