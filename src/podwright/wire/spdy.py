"""SPDY/3.1, both ends: bytes in, events out; calls in, bytes out.

It is what kubectl, crictl and kubelets speak below `exec`, `attach` and `port-forward`. After the frames and header
blocks of the SPDY/3 draft (chromium.org/spdy/spdy-protocol) and the session window of 3.1. Owns neither a socket nor
the meaning of streams (remote_command.py, port_forward.py).

Windows: the Go implementation that all of Kubernetes uses neither sends WINDOW_UPDATE nor waits for it, and what comes
while it closes a connection makes the kernel take back what it has sent. So windows are spoken of only with a peer that
has shown, by SETTINGS or WINDOW_UPDATE, that it keeps some; our client shows it with its first stream. What a peer
without windows sends too fast is held back by not reading from the connection.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from podwright.wire.multiplexed import Accepted, Data, Ended, Event, Finished, Opened, Reset, Widened

VERSION = 3

LARGEST_CONTROL_FRAME = 64 << 10
LARGEST_HEADERS = 64 << 10
"""Of a header block when inflated."""
MOST_STREAMS = 2000
"""Open at one time; a forwarded connection has two."""
LARGEST_DATA_FRAME = 64 << 10
"""Of those that we send: small enough that streams take turns."""

INITIAL_WINDOW = 64 << 10
"""Before anything is said of windows (SPDY/3, 2.6.8)."""
STREAM_WINDOW = 512 << 10
SESSION_WINDOW = 16 << 20
"""Ours: bytes that a peer with windows may send before they are taken up."""

_LARGEST_WINDOW = (1 << 31) - 1
_SETTINGS_INITIAL_WINDOW_SIZE = 7
_FIN = 1
_UNIDIRECTIONAL = 2

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_MORE = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_REST = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(struct.pack(">I", len(phrase)) + phrase.encode() for phrase in (*_WORDS.split(), *_MORE)) + _REST.encode()
)
"""What the compression of headers starts with (SPDY/3, 2.6.10.1)."""


class FrameType(IntEnum):
    """Control frames."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class Status(IntEnum):
    """Why a stream was reset (2.6.3)."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_IN_USE = 8
    STREAM_ALREADY_CLOSED = 9


_STATUS_NAMES: Mapping[int, str] = {status.value: status.name.lower() for status in Status}
_GOAWAY_OK, _GOAWAY_PROTOCOL_ERROR = 0, 1


class _ProtocolError(Exception):
    """The session cannot go on."""


@dataclass(slots=True)
class _Stream:
    window: int
    """Bytes that the peer takes."""
    sending: bool = True
    receiving: bool = True
    taken: int = 0
    """Bytes taken up since our window was last renewed."""


class Session:
    """One end of a connection. `data_to_send` has something after every call.

    After an `Ended` event nothing is read and nothing may be sent.
    """

    def __init__(self, *, client: bool) -> None:
        self._streams: dict[int, _Stream] = {}
        self._client = client
        self._next = 1 if client else 2
        self._last_received = 0
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._rest = b""
        self._data_stream, self._data_left, self._data_fin = 0, 0, False
        self._out: list[bytes | memoryview] = []
        self._ended = False
        self._announced = False
        self._keeps_windows = False
        self._initial_window = INITIAL_WINDOW
        self._window = INITIAL_WINDOW
        self._taken = 0

    # what we do

    def open(self, headers: Mapping[str, str]) -> int:
        """Opens a stream; data may follow once it is accepted."""
        stream, self._next = self._next, self._next + 2
        self._announce()
        self._streams[stream] = _Stream(self._initial_window)
        self._control(FrameType.SYN_STREAM, struct.pack(">IIH", stream, 0, 0) + self._pack(headers))
        return stream

    def accept(self, stream: int) -> None:
        """Answers an `Opened`."""
        self._control(FrameType.SYN_REPLY, struct.pack(">I", stream) + self._pack({}))

    def room(self, stream: int) -> int:
        """How many bytes may be sent on the stream now; after 0, `Widened` tells when there is more."""
        if stream not in self._streams:
            return 0
        if not self._keeps_windows:
            return LARGEST_DATA_FRAME
        return max(0, min(self._streams[stream].window, self._window, LARGEST_DATA_FRAME))

    def send(self, stream: int, data: bytes | memoryview) -> None:
        """Sends bytes, not more than there is room for."""
        self._streams[stream].window -= len(data)
        self._window -= len(data)
        self._out += (struct.pack(">II", stream, len(data)), data)

    def finish(self, stream: int) -> None:
        """Sends no more on the stream."""
        state = self._streams.get(stream)
        if state is not None and state.sending:
            self._out.append(struct.pack(">II", stream, _FIN << 24))
            state.sending = False
            self._forget_if_over(stream, state)

    def reset(self, stream: int, status: Status = Status.CANCEL) -> None:
        """Ends both directions of a stream at once."""
        if self._streams.pop(stream, None) is not None:
            self._send_reset(stream, status)

    def took(self, stream: int, size: int) -> None:
        """Tells that `size` received bytes have been taken up, so that the peer may send as many more."""
        if self._client and not self._keeps_windows:
            return  # nobody waits for it; and what a server has not read when it closes takes its last data along
        self._taken += size
        if self._taken >= SESSION_WINDOW // 2 and self._keeps_windows:
            self._control(FrameType.WINDOW_UPDATE, struct.pack(">II", 0, self._taken))
            self._taken = 0
        state = self._streams.get(stream)
        if state is None or not state.receiving:
            return
        state.taken += size
        if state.taken >= STREAM_WINDOW // 2 and self._keeps_windows:
            self._control(FrameType.WINDOW_UPDATE, struct.pack(">II", stream, state.taken))
            state.taken = 0

    def close(self) -> None:
        """Says goodbye."""
        if not self._ended:
            self._ended = True
            self._go_away(_GOAWAY_OK)

    def data_to_send(self) -> list[bytes | memoryview]:
        """What the connection must carry to the peer."""
        out, self._out = self._out, []
        return out

    # what the peer does

    def receive(self, data: bytes) -> list[Event]:
        """Reads what has come from the peer."""
        events: list[Event] = []
        if self._ended:
            return events
        try:
            self._read(self._rest + data if self._rest else data, events)
        except _ProtocolError as error:
            self._ended = True
            self._go_away(_GOAWAY_PROTOCOL_ERROR)
            events.append(Ended(str(error), failed=True))
        return events

    def _read(self, data: bytes, events: list[Event]) -> None:
        at, end = 0, len(data)
        while not self._ended:
            if self._data_left:
                at = self._read_data(data, at, events)
            if end - at < 8:
                break
            first, second = struct.unpack_from(">II", data, at)
            flags, length = second >> 24, second & 0xFFFFFF
            if first >> 31:
                if length > LARGEST_CONTROL_FRAME:
                    raise _ProtocolError(f"a control frame has {length} bytes")
                if end - at < 8 + length:
                    break
                self._read_control(first, flags, data[at + 8 : at + 8 + length], events)
                at += 8 + length
            else:
                self._data_stream, self._data_left, self._data_fin = first, length, bool(flags & _FIN)
                at += 8
                if length == 0:
                    self._received(b"", events)
        self._rest = data[at:]

    def _read_data(self, data: bytes, at: int, events: list[Event]) -> int:
        piece = data[at : at + self._data_left]
        self._data_left -= len(piece)
        self._received(piece, events)
        return at + len(piece)

    def _received(self, piece: bytes, events: list[Event]) -> None:
        """A data frame, or a piece of one: a frame may be larger than anybody wants to keep in memory."""
        stream = self._data_stream
        state = self._streams.get(stream)
        if state is None:
            if stream == 0 or stream > max(self._last_received, self._next - 2):
                raise _ProtocolError(f"there is data for stream {stream}, which was never opened")
            self.took(stream, len(piece))  # the peer did not know yet that it is closed
            return
        if not state.receiving:
            self.reset(stream, Status.STREAM_ALREADY_CLOSED)
            events.append(Reset(stream, "data came after its end"))
            return
        if piece:
            events.append(Data(stream, piece))
        if self._data_fin and not self._data_left:
            self._peer_finished(stream, state, events)

    def _peer_finished(self, stream: int, state: _Stream, events: list[Event]) -> None:
        state.receiving = False
        events.append(Finished(stream))
        self._forget_if_over(stream, state)

    def _read_control(self, first: int, flags: int, payload: bytes, events: list[Event]) -> None:
        version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
        if version != VERSION:
            raise _ProtocolError(f"a control frame is of SPDY version {version}")
        if kind in (FrameType.RST_STREAM, FrameType.GOAWAY, FrameType.WINDOW_UPDATE) and len(payload) != 8:
            raise _ProtocolError(f"a {FrameType(kind).name} frame has {len(payload)} bytes")
        match kind:
            case FrameType.SYN_STREAM:
                self._syn_stream(flags, payload, events)
            case FrameType.SYN_REPLY:
                self._syn_reply(flags, payload, events)
            case FrameType.HEADERS:
                self._headers(flags, payload, events)
            case FrameType.RST_STREAM:
                self._rst_stream(payload, events)
            case FrameType.WINDOW_UPDATE:
                self._window_update(payload, events)
            case FrameType.SETTINGS:
                self._settings(payload, events)
            case FrameType.PING:
                self._ping(payload)
            case FrameType.GOAWAY:
                self._ended = True
                events.append(Ended("the peer said goodbye", failed=False))
            case _:
                pass  # 2.2.1: unknown frames are ignored

    def _syn_stream(self, flags: int, payload: bytes, events: list[Event]) -> None:
        stream = _stream_id(payload, 10)
        headers = self._unpack(payload[10:])
        if stream % 2 == self._client or stream <= self._last_received:
            raise _ProtocolError(f"the peer cannot open stream {stream} after {self._last_received}")
        self._last_received = stream
        if len(self._streams) >= MOST_STREAMS:
            self._send_reset(stream, Status.REFUSED_STREAM)
            return
        state = self._streams[stream] = _Stream(self._initial_window, sending=not flags & _UNIDIRECTIONAL)
        events.append(Opened(stream, headers))
        if flags & _FIN:
            self._peer_finished(stream, state, events)

    def _syn_reply(self, flags: int, payload: bytes, events: list[Event]) -> None:
        stream = _stream_id(payload, 4)
        self._unpack(payload[4:])
        state = self._streams.get(stream)
        if state is not None:
            events.append(Accepted(stream))
            if flags & _FIN:
                self._peer_finished(stream, state, events)

    def _headers(self, flags: int, payload: bytes, events: list[Event]) -> None:
        """Further headers mean nothing to us, but the decompression has to see them."""
        stream = _stream_id(payload, 4)
        self._unpack(payload[4:])
        state = self._streams.get(stream)
        if state is not None and flags & _FIN:
            self._peer_finished(stream, state, events)

    def _rst_stream(self, payload: bytes, events: list[Event]) -> None:
        stream, status = struct.unpack(">II", payload)
        if self._streams.pop(stream, None) is not None:
            name = _STATUS_NAMES.get(status, f"status {status}")
            events.append(Reset(stream, f"the peer has reset the stream ({name})"))

    def _window_update(self, payload: bytes, events: list[Event]) -> None:
        stream, delta = (value & _LARGEST_WINDOW for value in struct.unpack(">II", payload))
        self._show_windows()
        state = self._streams.get(stream)
        if stream == 0:
            self._window += delta
            if self._window > _LARGEST_WINDOW:
                raise _ProtocolError("the session's window is larger than 2 GiB")
        elif state is not None:
            state.window += delta
            if state.window > _LARGEST_WINDOW:
                self.reset(stream, Status.FLOW_CONTROL_ERROR)
                events.append(Reset(stream, "its window is larger than 2 GiB"))
                return
        events.append(Widened(stream))

    def _settings(self, payload: bytes, events: list[Event]) -> None:
        count = struct.unpack_from(">I", payload)[0] if len(payload) >= 4 else -1
        if len(payload) != 4 + 8 * count:
            raise _ProtocolError(f"a SETTINGS frame has {len(payload)} bytes")
        for entry, value in struct.iter_unpack(">II", payload[4:]):
            if entry & 0xFFFFFF == _SETTINGS_INITIAL_WINDOW_SIZE:
                self._show_windows()
                size = min(value, _LARGEST_WINDOW)
                for state in self._streams.values():
                    state.window += size - self._initial_window
                self._initial_window = size
                events.append(Widened(0))
                break  # of several entries with the same number the first counts

    def _ping(self, payload: bytes) -> None:
        if len(payload) != 4:
            raise _ProtocolError(f"a PING frame has {len(payload)} bytes")
        if struct.unpack(">I", payload)[0] % 2 != self._client:  # not an answer to one of ours
            self._control(FrameType.PING, payload)

    # helpers

    def _show_windows(self) -> None:
        """The peer keeps windows: ours count for it as well."""
        self._keeps_windows = True
        self._announce()

    def _announce(self) -> None:
        if not self._announced:
            self._announced = True
            self._control(FrameType.SETTINGS, struct.pack(">III", 1, _SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW))
            self._control(FrameType.WINDOW_UPDATE, struct.pack(">II", 0, SESSION_WINDOW - INITIAL_WINDOW))

    def _control(self, kind: FrameType, payload: bytes) -> None:
        self._out.append(struct.pack(">HHI", 0x8000 | VERSION, kind, len(payload)) + payload)

    def _send_reset(self, stream: int, status: Status) -> None:
        self._control(FrameType.RST_STREAM, struct.pack(">II", stream, status))

    def _go_away(self, status: int) -> None:
        self._control(FrameType.GOAWAY, struct.pack(">II", self._last_received, status))

    def _forget_if_over(self, stream: int, state: _Stream) -> None:
        if not state.sending and not state.receiving:
            self._streams.pop(stream, None)

    def _pack(self, headers: Mapping[str, str]) -> bytes:
        parts = [struct.pack(">I", len(headers))]
        for text in (text for pair in headers.items() for text in pair):
            encoded = text.encode()
            parts += (struct.pack(">I", len(encoded)), encoded)
        return self._deflate.compress(b"".join(parts)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def _unpack(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, LARGEST_HEADERS)
        except zlib.error as error:
            raise _ProtocolError(f"headers cannot be decompressed: {error}") from None
        if self._inflate.unconsumed_tail:
            raise _ProtocolError(f"headers have more than {LARGEST_HEADERS} bytes")
        return _parse_headers(plain)


def _stream_id(payload: bytes, least: int) -> int:
    if len(payload) < least:
        raise _ProtocolError(f"a control frame has only {len(payload)} bytes")
    stream: int = struct.unpack_from(">I", payload)[0] & _LARGEST_WINDOW
    if stream == 0:
        raise _ProtocolError("a control frame is about stream 0")
    return stream


def _parse_headers(plain: bytes) -> dict[str, str]:
    """Pairs of length and text after their number (2.6.10). Names are lower case for us whatever was sent."""
    at = 0

    def take(size: int) -> bytes:
        nonlocal at
        piece, at = plain[at : at + size], at + size
        if len(piece) != size:
            raise _ProtocolError("headers are cut off")
        return piece

    def number() -> int:
        value: int = struct.unpack(">I", take(4))[0]
        return value

    headers = {}
    for _ in range(number()):
        name = take(number()).decode("latin-1").lower()
        headers[name] = take(number()).decode("latin-1")
    return headers
