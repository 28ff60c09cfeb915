"""Who asks, and whether they may: the kubelet's authentication and authorisation.

    who   a client certificate of clientCAFile, a bearer token that the API server knows, or nobody where that is let in
    may   always (AlwaysAllow), or what the API server says of the node's subresource that the path belongs to (Webhook)

Answers of the API server are kept for a while, as the configuration says.
"""

import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from podwright.errors import PodwrightError
from podwright.node.api.http import Exchange, HttpError
from podwright.node.configuration import Configuration
from podwright.node.durations import seconds

logger = logging.getLogger(__name__)

_VERBS: Final = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SUBRESOURCES: Final = {"stats": "stats", "metrics": "metrics", "logs": "log", "checkpoint": "checkpoint"}
_FINE: Final = {"healthz": "healthz", "pods": "pods", "runningpods": "pods", "configz": "configz"}
_MOST_KEPT: Final = 4096


@dataclass(frozen=True, slots=True)
class User:
    """Somebody."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


ANONYMOUS: Final = User("system:anonymous", ("system:unauthenticated",))


class Reviewer(Protocol):
    """An API server that is asked."""

    async def whose_token(self, token: str) -> User | None:
        """TokenReview: whose it is; None if it is nobody's."""

    async def may(self, user: User, attributes: Mapping[str, str]) -> bool:
        """SubjectAccessReview: whether the user may."""


@dataclass(slots=True)
class Door:
    """Lets requests in."""

    configuration: Configuration
    node: str
    reviewer: Reviewer | None
    _users: dict[bytes, tuple[float, User | None]] = field(default_factory=dict)
    _answers: dict[tuple[Any, ...], tuple[float, bool]] = field(default_factory=dict)

    async def admit(self, exchange: Exchange) -> None:
        """Returns if the request may be served. Raises HttpError 401 or 403."""
        user = await self._who(exchange)
        if user is None:
            raise HttpError(401, "Unauthorized")
        exchange.user = user.name
        reason = await self._refusal(user, exchange)
        if reason is not None:
            verb = _VERBS.get(exchange.method, "get")
            raise HttpError(403, f"Forbidden (user={user.name}, verb={verb}, resource=nodes, subresource(s)={reason})")

    async def _who(self, exchange: Exchange) -> User | None:
        settings = self.configuration.authentication
        if exchange.certificate:
            return _subject(exchange.certificate)
        scheme, _, token = exchange.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            if settings.webhook.enabled and self.reviewer is not None:
                return await self._of_token(token.strip(), self.reviewer)
            return None
        return ANONYMOUS if settings.anonymous.enabled else None

    async def _of_token(self, token: str, reviewer: Reviewer) -> User | None:
        key, now = hashlib.sha256(token.encode()).digest(), time.monotonic()
        if key in self._users and self._users[key][0] > now:
            return self._users[key][1]
        try:
            user = await reviewer.whose_token(token)
        except PodwrightError as error:
            logger.warning("a token cannot be reviewed: %s", error)
            return None
        _make_room(self._users, now)
        self._users[key] = now + self._seconds("authentication", "cache_ttl"), user
        return user

    async def _refusal(self, user: User, exchange: Exchange) -> str | None:
        """None if the user may; else the subresources that were asked for."""
        if self.configuration.authorization.mode == "AlwaysAllow":
            return None
        wanted = subresources(exchange.path)
        if self.reviewer is None:
            return f"{wanted}: there is no API server to ask"
        for subresource in wanted:
            attributes = {
                "verb": _VERBS.get(exchange.method, "get"),
                "version": "v1",
                "resource": "nodes",
                "subresource": subresource,
                "name": self.node,
            }
            if await self._may(user, attributes, self.reviewer):
                return None
        return str(wanted)

    async def _may(self, user: User, attributes: Mapping[str, str], reviewer: Reviewer) -> bool:
        key, now = (user, *attributes.values()), time.monotonic()
        if key in self._answers and self._answers[key][0] > now:
            return self._answers[key][1]
        try:
            allowed = await reviewer.may(user, attributes)
        except PodwrightError as error:
            logger.warning("access cannot be reviewed: %s", error)
            return False
        _make_room(self._answers, now)
        ttl = "cache_authorized_ttl" if allowed else "cache_unauthorized_ttl"
        self._answers[key] = now + self._seconds("authorization", ttl), allowed
        return allowed

    def _seconds(self, part: str, name: str) -> float:
        return seconds(getattr(getattr(self.configuration, part).webhook, name), f"{part}.webhook.{name}")


def subresources(path: str) -> list[str]:
    """What must be allowed to read a path, any of them (KubeletFineGrainedAuthz, on since 1.33)."""
    first = path.strip("/").partition("/")[0]
    if first in _FINE:
        return [_FINE[first], "proxy"]
    return [_SUBRESOURCES.get(first, "proxy")]


def _subject(certificate: Mapping[str, Any]) -> User | None:
    names: dict[str, list[str]] = {}
    for relative in certificate.get("subject", ()):
        for key, value in relative:
            names.setdefault(key, []).append(value)
    if "commonName" not in names:
        return None
    groups = (*names.get("organizationName", ()), "system:authenticated")
    return User(names["commonName"][0], groups)


def _make_room(kept: dict[Any, Any], now: float) -> None:
    """Keeps a cache bounded: what is over goes, or everything."""
    if len(kept) >= _MOST_KEPT:
        for key in [key for key, value in kept.items() if value[0] <= now]:
            del kept[key]
        if len(kept) >= _MOST_KEPT:
            kept.clear()
