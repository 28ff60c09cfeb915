"""Who a container runs as: ids from the CRI, or from the image's configuration and its /etc/passwd and /etc/group.

Lookups never leave the root file system, whatever symbolic links an image has there, and read a bounded part of it.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.kernel import libc

MAX_ID = 2**32 - 2
"""2**32 - 1 means "no change" to the kernel (chown(2), setresuid(2))."""
DATABASE_LIMIT = 16 << 20
"""Bytes of a passwd or group file that are read."""

_CONTEXT = "linux.security_context"


@dataclass(frozen=True, slots=True)
class User:
    """The ids that the first process begins with."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    """The primary group comes first, so that a program that drops it gains nothing (CVE-2023-25173)."""
    home: str = "/"

    def document(self) -> dict[str, object]:
        """process.user."""
        return {"uid": self.uid, "gid": self.gid, "additionalGids": list(self.groups)}


@dataclass(frozen=True, slots=True)
class Account:
    """A line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class Group:
    """A line of /etc/group."""

    name: str
    gid: int
    members: frozenset[str]


def check(security: v1.LinuxContainerSecurityContext | v1.LinuxSandboxSecurityContext) -> None:
    """Raises InvalidArgument for ids out of range, and for a group without a user."""
    if security.HasField("run_as_user"):
        _check_id(f"{_CONTEXT}.run_as_user", security.run_as_user.value)
    username = security.run_as_username if isinstance(security, v1.LinuxContainerSecurityContext) else ""
    if username and security.HasField("run_as_user"):
        raise InvalidArgument(f"{_CONTEXT}.run_as_username: run_as_user is set too")
    if security.HasField("run_as_group"):
        _check_id(f"{_CONTEXT}.run_as_group", security.run_as_group.value)
        if not username and not security.HasField("run_as_user"):
            raise InvalidArgument(f"{_CONTEXT}.run_as_group: needs run_as_user or run_as_username")
    for group in security.supplemental_groups:
        _check_id(f"{_CONTEXT}.supplemental_groups", group)
    if security.supplemental_groups_policy not in (v1.Merge, v1.Strict):
        policy = security.supplemental_groups_policy
        raise InvalidArgument(f"{_CONTEXT}.supplemental_groups_policy: there is no policy {policy}")


def resolve(security: v1.LinuxContainerSecurityContext, image_user: str, rootfs: str) -> User:
    """The user of a container.

    A user of the CRI replaces the image's with its group. Without a group the one of the passwd line counts, or 0
    where there is no such line, as with containerd. Raises InvalidArgument if a name is not in the image.
    """
    field = f"{_CONTEXT}.run_as_username"
    user, _, group = security.run_as_username, "", ""
    if security.HasField("run_as_user"):
        user = str(security.run_as_user.value)
    elif not user:
        field = "user of the image"
        user, _, group = image_user.partition(":")
    accounts = list(read_accounts(rootfs))
    groups = list(read_groups(rootfs))
    account = _find_account(field, user or "0", accounts)
    gid = _find_group(field, group, groups) if group else account.gid
    if security.HasField("run_as_group"):
        gid = security.run_as_group.value
    members = set(security.supplemental_groups)
    if security.supplemental_groups_policy == v1.Merge and account.name:
        members.update(g.gid for g in groups if account.name in g.members and g.name != account.name)
    return User(account.uid, gid, (gid, *sorted(members - {gid})), account.home)


def _find_account(field: str, user: str, accounts: Sequence[Account]) -> Account:
    """The account with this name or uid. A uid needs none: then the group is 0."""
    if user.isascii() and user.isdigit():
        uid = _number(field, user)
        return next((account for account in accounts if account.uid == uid), Account("", uid, 0, "/"))
    for account in accounts:
        if account.name == user:
            return account
    raise InvalidArgument(f'{field}: the image\'s /etc/passwd has no user "{user}"')


def _find_group(field: str, group: str, groups: Sequence[Group]) -> int:
    if group.isascii() and group.isdigit():
        return _number(field, group)
    for candidate in groups:
        if candidate.name == group:
            return candidate.gid
    raise InvalidArgument(f'{field}: the image\'s /etc/group has no group "{group}"')


def read_accounts(rootfs: str) -> Iterator[Account]:
    """The lines of /etc/passwd in the root file system; those that are damaged are skipped."""
    for line in _lines(rootfs, "etc/passwd"):
        name, _password, uid, gid, _comment, home, *_ = *line.split(":"), *[""] * 6
        own, group = id_of(uid), id_of(gid)
        if _is_name(name) and own is not None and group is not None:
            yield Account(name, own, group, home if home.startswith("/") else "/")


def read_groups(rootfs: str) -> Iterator[Group]:
    """The lines of /etc/group in the root file system; those that are damaged are skipped."""
    for line in _lines(rootfs, "etc/group"):
        name, _password, gid, members, *_ = *line.split(":"), *[""] * 4
        number = id_of(gid)
        if _is_name(name) and number is not None:
            yield Group(name, number, frozenset(members.split(",")) - {""})


def _lines(rootfs: str, path: str) -> list[str]:
    """The lines of a regular file in `rootfs`; none if there is no such file."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # O_NONBLOCK: an image may put a FIFO there.
        how = libc.RESOLVE_IN_ROOT | libc.RESOLVE_NO_MAGICLINKS
        fd = libc.openat2(root, path, os.O_RDONLY | os.O_NONBLOCK, resolve=how)
    except OSError:
        return []
    finally:
        os.close(root)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return []
        return file.read(DATABASE_LIMIT).decode(errors="replace").splitlines()


def _is_name(text: str) -> bool:
    """Neither empty nor a comment nor an entry of NIS."""
    return text != "" and text[0] not in "#+-"


def id_of(text: str) -> int | None:
    """The id that a text is; None for a name, and for a number that no id can be."""
    digits = text.lstrip("0") or text[-1:]
    if not digits.isascii() or not digits.isdigit() or len(digits) > len(str(MAX_ID)):  # int() refuses thousands
        return None
    return int(digits) if int(digits) <= MAX_ID else None


def _number(field: str, text: str) -> int:
    number = id_of(text)
    if number is None:
        raise InvalidArgument(f"{field}: {text:.40} is not between 0 and {MAX_ID}")
    return number


def _check_id(field: str, number: int) -> None:
    if not 0 <= number <= MAX_ID:
        raise InvalidArgument(f"{field}: {number} is not between 0 and {MAX_ID}")
