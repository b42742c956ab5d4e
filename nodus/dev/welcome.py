"""What `make run` prints when all is up."""

import json

from nodus.dev.addresses import Addresses
from nodus.dev.demo_users import DEFAULT_PORT, DEMO_USERS


def print_welcome(addresses: Addresses, token: str) -> None:
    base = addresses.base_url
    demo = "make demo"
    if not addresses.is_local:
        demo += f" BASE_URL={base}"
    elif addresses.port != DEFAULT_PORT:
        demo += f" PORT={addresses.port}"
    body = json.dumps({"filename": "test.jpg", "content_type": "image/jpeg"})
    users = ", ".join(f"{name} / {password}" for name, password in DEMO_USERS.items())
    print(
        f"""
  Messenger  {base}/
  API        {base}/api/docs
  Admin      {base}/admin/
  Health     {base}/health
  Users      {users}

  Token of alice, for an hour:
  {token}

  Ask for an upload form:
  curl {base}/api/v1/attachments/presigned \\
    -H "Authorization: Bearer {token}" \\
    -H "Content-Type: application/json" \\
    -d '{body}'

  The whole round in another terminal: {demo}
  Ctrl-C stops everything; the data stays in .data/
""",
        flush=True,
    )
    if not addresses.is_local:
        print("  The network reaches all this, and everybody knows the passwords.\n", flush=True)
