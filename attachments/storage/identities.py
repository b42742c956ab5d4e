"""The keys of the settings, as SeaweedFS wants to be told of them."""

from typing import Any

from attachments.conf import conf
from attachments.storage.client import get_attachments_storage, get_bucket
from attachments.storage.policies import Key, Role, build_seaweedfs_identities


def build_identities() -> dict[str, Any]:
    """The file for ``weed s3 -config``. It holds the secrets of all keys that are set."""
    storage: Any = get_attachments_storage()
    keys: dict[Role, tuple[str, str] | None] = {
        "main": (storage.access_key, storage.secret_key),
        "signer": conf.signer_key,
        "reader": conf.reader_key,
        "admin": conf.admin_key,
    }
    named = {role: Key(access_key=key[0], secret_key=key[1]) for role, key in keys.items() if key}
    return build_seaweedfs_identities(get_bucket(), keys=named)
