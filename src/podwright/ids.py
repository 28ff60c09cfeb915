"""Object ids: 64 hexadecimal digits, as containerd's and CRI-O's, since tools cut and match them as such."""

import secrets


def new_id() -> str:
    """A random id."""
    return secrets.token_hex(32)


def short(object_id: str) -> str:
    """The first 13 digits: enough to tell objects of a node apart, as crictl shows them."""
    return object_id[:13]
