"""Which credentials go to which host.

Those of a request belong to the registry that they name, or else to the one of the reference; never to a mirror,
unless they name it. Others come from the configuration, from files in the form of Docker's config.json, and from the
credential helpers that these name.
"""

import asyncio
import base64
import binascii
import json
import logging
import os
from collections.abc import Mapping

from podwright.errors import InvalidArgument, PodwrightError
from podwright.images.hosts import canonical
from podwright.images.model import Credentials, ImageSettings
from podwright.kernel import run

logger = logging.getLogger(__name__)

_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_HELPER_SECONDS = 30.0
_IDENTITY = "<token>"  # what helpers answer as the user name of an identity token


async def find(
    host: str, registry: str, repository: str, given: Credentials | None, settings: ImageSettings
) -> Credentials | None:
    """Credentials for `host`, which serves `repository` of `registry`; None to go without.

    Raises InvalidArgument if what was given makes no sense.
    """
    place = canonical(host)
    if given is not None and not _is_empty(given):
        basic(given)  # raises
        meant = canonical(given.server_address) if given.server_address else canonical(registry)
        if meant == place:
            return given
    for name, credentials in settings.credentials.items():
        if canonical(name) == place:
            return credentials
    for path in settings.credential_files:
        found = await _in_file(path, place, repository)
        if found is not None:
            return found
    return None


def _is_empty(given: Credentials) -> bool:
    return not (given.username or given.password or given.auth or given.identity_token or given.registry_token)


def basic(credentials: Credentials) -> tuple[str, str] | None:
    """User name and password, if it has them. Raises InvalidArgument."""
    if credentials.username or credentials.password:
        return credentials.username, credentials.password
    if not credentials.auth:
        return None
    try:
        text = base64.b64decode(credentials.auth, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    username, colon, password = text.partition(":")
    if not colon:
        raise InvalidArgument("auth: is not user name and password in base64")
    return username, password.rstrip("\0")  # as Docker's own clients write it


async def _in_file(path: str, place: str, repository: str) -> Credentials | None:
    config = await asyncio.to_thread(_read, path)
    helpers = _table(config.get("credHelpers"))
    for key, helper in helpers.items():
        if canonical(key) == place and isinstance(helper, str):
            return await _ask_helper(helper, place)
    found = _best(_table(config.get("auths")), place, repository)
    if found is not None:
        return found
    store = config.get("credsStore")
    return await _ask_helper(store, place) if isinstance(store, str) and store else None


def _read(path: str) -> Mapping[str, object]:
    try:
        with open(path, "rb") as file:
            return _table(json.load(file))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        logger.warning("cannot use the credentials in %r: %s", path, error)
        return {}


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _best(auths: Mapping[str, object], place: str, repository: str) -> Credentials | None:
    """The entry with the longest path that leads to the repository: quay.io/team before quay.io."""
    best: tuple[int, Credentials] | None = None
    for key, value in auths.items():
        entry = _table(value)
        path = key.rpartition("://")[2].partition("/")[2].strip("/")
        path = "" if path in ("v1", "v2") else path
        inside = not path or repository == path or repository.startswith(path + "/")
        credentials = Credentials(
            username=_text(entry, "username"),
            password=_text(entry, "password"),
            auth=_text(entry, "auth"),
            identity_token=_text(entry, "identitytoken"),
            registry_token=_text(entry, "registrytoken"),
        )
        if canonical(key) == place and inside and not _is_empty(credentials) and (not best or len(path) > best[0]):
            best = (len(path), credentials)
    return best[1] if best else None


def _text(entry: Mapping[str, object], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


async def _ask_helper(helper: str, place: str) -> Credentials | None:
    """Runs docker-credential-<helper>; without an answer of use the pull goes on without credentials."""
    program = f"docker-credential-{helper}"
    server = _DOCKER_HUB_KEY if place == "docker.io" else place
    if os.sep in helper:
        logger.warning("the credential helper %r has a slash in its name", helper)
        return None
    try:
        finished = await run.run([program, "get"], stdin=server.encode(), timeout=_HELPER_SECONDS, limit=1 << 20)
        if finished.status:
            words = (finished.stdout or finished.stderr).decode(errors="replace").strip()
            logger.info("%s has no credentials for %r: %s", program, server, words[:200])
            return None
        answer = _table(json.loads(finished.stdout))
    except (PodwrightError, ValueError) as error:
        logger.warning("%s cannot be asked for credentials for %r: %s", program, server, error)
        return None
    username, secret = _text(answer, "Username"), _text(answer, "Secret")
    if username == _IDENTITY:
        return Credentials(identity_token=secret)
    return Credentials(username=username, password=secret)
