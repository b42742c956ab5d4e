"""Whom `make run` makes and `make demo` plays, and where they meet."""

# Known to everybody: for this machine only, and for DJANGO_DEBUG alone.
DEMO_USERS = {"alice": "alice-demo", "bob": "bob-demo", "admin": "admin-demo"}
DEFAULT_PORT = 8000
