"""Whether an image may be used on this node: a question to the operator's own programs, such as one that checks
signatures.

They are run as containerd runs its image verifiers, all at once, and all have to agree:

    PROGRAM -name REFERENCE -digest DIGEST -stdin-media-type TYPE    a descriptor in JSON on its standard input

Status 0 means yes. What a program prints is the reason, which people get to read.
"""

import asyncio
import json
import logging
import os

from podwright.errors import PermissionDenied, PodwrightError
from podwright.kernel import run

logger = logging.getLogger(__name__)

_DESCRIPTOR = "application/vnd.oci.descriptor.v1+json"
_LONGEST_REASON = 16 << 10


async def verify(directory: str, seconds: float, name: str, digest: str, media_type: str) -> None:
    """Asks all programs in `directory`; each has `seconds`.

    Raises PermissionDenied with the kubelet's word SignatureValidationFailed if one of them refuses or fails.
    """
    if not directory:
        return
    programs = await asyncio.to_thread(_programs, directory)
    await asyncio.gather(*(_ask(program, seconds, name, digest, media_type) for program in programs))


def _programs(directory: str) -> list[str]:
    try:
        return sorted(
            entry.path for entry in os.scandir(directory) if entry.is_file() and os.access(entry.path, os.X_OK)
        )
    except OSError as error:
        raise _refusal(f"cannot look for verifiers in {directory!r}: {error.strerror}") from None


async def _ask(program: str, seconds: float, name: str, digest: str, media_type: str) -> None:
    command = [program, "-name", name, "-digest", digest, "-stdin-media-type", _DESCRIPTOR]
    descriptor = json.dumps({"mediaType": media_type, "digest": digest}).encode()
    verifier = os.path.basename(program)
    try:
        finished = await run.run(command, stdin=descriptor, timeout=seconds, limit=_LONGEST_REASON)
    except PodwrightError as error:
        raise _refusal(f"{verifier} cannot say whether {name!r} is good: {error}") from None
    words = finished.stdout.decode(errors="replace").strip() or f"status {finished.status}"
    if finished.status:
        raise _refusal(f"{verifier} refuses {name!r} ({digest}): {words}")
    logger.info("%s accepts %s (%s): %s", verifier, name, digest, words)


def _refusal(message: str) -> PermissionDenied:
    return PermissionDenied(message, reason="SignatureValidationFailed")
