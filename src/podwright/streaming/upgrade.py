"""Which protocol a client shall speak from here on, by its request's headers: pure decisions.

After RFC 6455 (4.2), and for SPDY after Kubernetes' httpstream.Handshake: the client's first sub-protocol that the
server knows is taken.
"""

import base64
import binascii
import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from http import HTTPStatus

from podwright.streaming.head import Refused, Request, answer

_SPDY = "SPDY/3.1"
_SPDY_PROTOCOLS = "x-stream-protocol-version"
_ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds."""

    idle: float
    """Without data either way."""
    creation: float
    """For the client to open its streams."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What was agreed on."""

    websocket: bool
    protocol: str
    answer: bytes
    """The head of the answer that says so."""


def negotiate(request: Request, spdy: Collection[str], websocket: Collection[str]) -> Upgrade:
    """Raises Refused for a request that is not to be upgraded, or offers nothing that is known."""
    if request.method not in ("GET", "POST"):
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"method {request.method} is not served", {"Allow": "GET, POST"})
    wanted = {value.lower() for value in request.values("upgrade")}
    if "upgrade" not in {value.lower() for value in request.values("connection")}:
        wanted = set()
    if "websocket" in wanted:
        return _websocket(request, websocket)
    if _SPDY.lower() in wanted:
        return _spdy(request, spdy)
    raise Refused(
        HTTPStatus.BAD_REQUEST,
        f"unable to upgrade: streams need the headers Connection: Upgrade and Upgrade: {_SPDY} or websocket",
    )


def _spdy(request: Request, known: Collection[str]) -> Upgrade:
    offered = request.values(_SPDY_PROTOCOLS)
    if not offered:
        raise Refused(HTTPStatus.BAD_REQUEST, f"unable to upgrade: the header {_SPDY_PROTOCOLS} names no protocol")
    protocol = _choose(offered, known)
    headers = [("Connection", "Upgrade"), ("Upgrade", _SPDY), ("X-Stream-Protocol-Version", protocol)]
    return Upgrade(False, protocol, answer(HTTPStatus.SWITCHING_PROTOCOLS, headers))


def _websocket(request: Request, known: Collection[str]) -> Upgrade:
    if request.method != "GET":
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "a WebSocket is opened by GET", {"Allow": "GET"})
    if request.values("sec-websocket-version") != ["13"]:
        raise Refused(
            HTTPStatus.UPGRADE_REQUIRED, "the only version of WebSocket is 13", {"Sec-WebSocket-Version": "13"}
        )
    keys = request.values("sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        raise Refused(HTTPStatus.BAD_REQUEST, "the header Sec-WebSocket-Key does not hold 16 bytes in base64")
    protocol = _choose(request.values("sec-websocket-protocol") or [""], known)
    accept = base64.b64encode(hashlib.sha1(f"{keys[0]}{_ACCEPT_GUID}".encode()).digest()).decode()  # noqa: S324
    headers = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Accept", accept)]
    if protocol:
        headers.append(("Sec-WebSocket-Protocol", protocol))
    return Upgrade(True, protocol, answer(HTTPStatus.SWITCHING_PROTOCOLS, headers))


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except binascii.Error:
        return False


def _choose(offered: Iterable[str], known: Collection[str]) -> str:
    for protocol in offered:
        if protocol in known:
            return protocol
    names = ", ".join(name for name in known if name)
    raise Refused(
        HTTPStatus.FORBIDDEN,
        f"unable to upgrade: of the protocols {', '.join(offered)} none is served; those that are: {names}",
        {"X-Accepted-Stream-Protocol-Versions": names},
    )
