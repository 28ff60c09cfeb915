"""Engines over WebSocket, whose frames are the websockets library's business: channels, and SPDY in a tunnel."""

import base64
import binascii
from collections.abc import Iterable

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side

from podwright.wire import spdy
from podwright.wire.multiplexed import Data, Ended, Event, Finished
from podwright.wire.remote_command import CLOSE

LARGEST_MESSAGE = 32 << 20
"""As Kubernetes' own server has it (golang.org/x/net/websocket)."""
LARGEST_SENT = 64 << 10


class _Messages:
    """A WebSocket connection after its handshake."""

    def __init__(self, *, client: bool) -> None:
        self._protocol = Protocol(Side.CLIENT if client else Side.SERVER, max_size=LARGEST_MESSAGE)
        self._ended = False

    def receive(self, data: bytes) -> tuple[list[Frame], Ended | None]:
        """Data frames, and the end of the connection if that has come."""
        if self._ended:
            return [], None
        self._protocol.receive_data(data)
        frames: list[Frame] = []
        for event in self._protocol.events_received():
            assert isinstance(event, Frame)
            if event.opcode in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
                frames.append(event)
        return frames, self._end()

    def _end(self) -> Ended | None:
        failure, received = self._protocol.parser_exc, self._protocol.close_rcvd
        if failure is not None:
            self._ended = True
            return Ended(f"WebSocket: {failure}", failed=True)
        if received is not None:
            self._ended = True
            return Ended(f"WebSocket: closed by the peer: {received}", failed=False)
        return None

    def send(self, data: bytes, *, text: bool = False) -> None:
        """One message."""
        (self._protocol.send_text if text else self._protocol.send_binary)(data)

    def fail(self, reason: str) -> Ended:
        """The peer breaks the sub-protocol."""
        self._ended = True
        self._protocol.fail(CloseCode.PROTOCOL_ERROR, reason)
        return Ended(reason, failed=True)

    def close(self) -> None:
        """Says goodbye, unless that has been said."""
        if not self._ended:
            self._ended = True
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)

    @property
    def ended(self) -> bool:
        return self._ended

    def data_to_send(self) -> list[bytes]:
        """Without the library's mark for the end, since we close otherwise."""
        return [data for data in self._protocol.data_to_send() if data]


class Channels:
    """Numbered channels: each message is for the one that its first byte says."""

    def __init__(self, *, client: bool, readable: Iterable[int], base64: bool = False, can_close: bool = False) -> None:
        """Messages for channels that are not `readable` are dropped, as Kubernetes does. `can_close`: version 5."""
        self._messages = _Messages(client=client)
        self._client = client
        self._readable = frozenset(readable)
        self._base64 = base64
        self._can_close = can_close
        self._finished: set[int] = set()
        self._channel: int | None = None
        self._rest = b""
        """Of a message in several frames: its channel, and what cannot be decoded yet."""

    def receive(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        frames, ended = self._messages.receive(data)
        for frame in frames:
            failure = self._read_frame(frame, events)
            if failure:
                events.append(self._messages.fail(failure))
                return events
        if ended:
            events.append(ended)
        return events

    def _read_frame(self, frame: Frame, events: list[Event]) -> str | None:
        """Returns what is wrong with it."""
        payload = bytes(frame.data)
        if self._channel is None:
            if not payload:
                return None if frame.fin else "a message begins with an empty frame"
            self._channel = payload[0] - (ord("0") if self._base64 else 0)
            payload = payload[1:]
        channel = self._channel
        if frame.fin:
            self._channel = None
        if channel == CLOSE and self._can_close:
            return self._read_close(payload, events)
        if self._base64:
            decoded = self._decode(payload, last=frame.fin)
            if decoded is None:
                return "a message is not base64"
            payload = decoded
        if payload and channel in self._readable and channel not in self._finished:
            events.append(Data(channel, payload))
        return None

    def _read_close(self, payload: bytes, events: list[Event]) -> str | None:
        if len(payload) != 1:
            return "the channel to close is not given in one byte"
        if payload[0] in self._readable and payload[0] not in self._finished:
            self._finished.add(payload[0])
            events.append(Finished(payload[0]))
        return None

    def _decode(self, payload: bytes, *, last: bool) -> bytes | None:
        payload, self._rest = self._rest + payload, b""
        if not last:
            whole = len(payload) // 4 * 4
            payload, self._rest = payload[:whole], payload[whole:]
        try:
            return base64.b64decode(payload, validate=True)
        except binascii.Error:
            return None

    def accept(self, stream: int) -> None:
        """Channels are there from the beginning."""

    def room(self, stream: int) -> int:  # noqa: ARG002
        return LARGEST_SENT

    def send(self, stream: int, data: bytes | memoryview) -> None:
        if self._messages.ended:
            return
        if self._base64:
            self._messages.send(b"%d" % stream + base64.b64encode(data), text=True)
        else:
            self._messages.send(b"%c" % stream + data)

    def finish(self, stream: int) -> None:
        """Only clients say so, in version 5; kubectl takes such a message from a server for garbage."""
        if self._client and self._can_close and not self._messages.ended:
            self._messages.send(bytes((CLOSE, stream)))

    def reset(self, stream: int) -> None:
        """There is no such thing."""

    def took(self, stream: int, size: int) -> None:
        """There are no windows."""

    def close(self) -> None:
        self._messages.close()

    def data_to_send(self) -> list[bytes]:
        return self._messages.data_to_send()


class Tunnel:
    """A SPDY session whose bytes travel in binary messages."""

    def __init__(self, session: spdy.Session, *, client: bool) -> None:
        self._session = session
        self._messages = _Messages(client=client)
        self.open = session.open
        self.accept = session.accept
        self.room = session.room
        self.send = session.send
        self.finish = session.finish
        self.reset = session.reset
        self.took = session.took

    def receive(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        frames, ended = self._messages.receive(data)
        for frame in frames:
            events += self._session.receive(bytes(frame.data))
        if ended:
            events.append(ended)
        return events

    def close(self) -> None:
        self._session.close()
        self._wrap()
        self._messages.close()

    def _wrap(self) -> None:
        data = b"".join(self._session.data_to_send())
        if data and not self._messages.ended:
            self._messages.send(data)

    def data_to_send(self) -> list[bytes]:
        self._wrap()
        return self._messages.data_to_send()
