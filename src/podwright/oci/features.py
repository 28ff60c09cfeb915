"""What an OCI runtime can do: as it says itself (`features`), or by its version where it does not say."""

import asyncio
import json
import os
import re
from dataclasses import dataclass
from typing import Any

from podwright.errors import Internal
from podwright.kernel.run import run

PROBE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Features:
    """A handler, as far as the specification of its containers depends on it."""

    name: str
    """The handler's name, for messages."""
    flavour: str
    """crun, runc, or the name that another program gives itself."""
    recursive_read_only: bool
    idmapped_mounts: bool
    """Whether mounts[].uidMappings are obeyed. runc 1.1 ignores them in silence."""
    user_namespaces: bool
    """Whether pods can have them: id-mapped mounts of everything a kubelet mounts, tmpfs too (Linux 6.3)."""
    checkpoints: bool = False
    """Whether it can drive criu."""
    hands_over_console: bool = False
    """Whether `exec` gives its terminal away by --console-socket and still waits for the process. runc does not."""


async def probe(name: str, program: str) -> Features:
    """Asks the program. Raises Internal if it does not even tell its version."""
    version, answer = await asyncio.gather(
        run([program, "--version"], timeout=PROBE_SECONDS), run([program, "features"], timeout=PROBE_SECONDS)
    )
    text = version.check(f'cannot use the handler "{name}"').stdout.decode(errors="replace")
    try:
        document = json.loads(answer.stdout) if answer.status == 0 else None
    except ValueError:
        raise Internal(f'handler "{name}": {program} features does not answer in JSON') from None
    return derive(name, text, document, _kernel_version())


def derive(name: str, version: str, document: dict[str, Any] | None, kernel: tuple[int, int]) -> Features:
    """Features from what `--version` and `features` print; the latter is None where there is no such command.

    Debian 12's crun 1.8.1 has none, but obeys mappings of mounts and `rro` (both tried), as later versions do.
    """
    flavour = version.split(maxsplit=1)[0] if version.strip() else ""
    if document is not None:
        rro = "rro" in document.get("mountOptions", [])
        linux = document.get("linux") or {}
        idmap = bool(((linux.get("mountExtensions") or {}).get("idmap") or {}).get("enabled"))
    else:
        rro = idmap = flavour == "crun" and _version_number(version) >= (1, 8)
    return Features(
        name=name,
        flavour=flavour,
        recursive_read_only=rro and kernel >= (5, 12),  # mount_setattr(2)
        idmapped_mounts=idmap and kernel >= (5, 12),
        user_namespaces=idmap and kernel >= (6, 3),
        checkpoints=flavour == "runc" or "+CRIU" in version.split(),
        hands_over_console=flavour == "crun",
    )


def _version_number(text: str) -> tuple[int, int]:
    found = re.search(r"version (\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _kernel_version() -> tuple[int, int]:
    return _version_number(f"version {os.uname().release}")
