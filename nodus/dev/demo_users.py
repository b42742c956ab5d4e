"""The users that `make run` makes and `make demo` plays, and the port where they meet."""

# Everybody knows these passwords: they are for this machine, and only while DJANGO_DEBUG is on.
DEMO_USERS = {"alice": "alice-demo", "bob": "bob-demo", "admin": "admin-demo"}
DEFAULT_PORT = 8000
