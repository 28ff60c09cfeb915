"""Exec and attach: protocols, the error stream, the resize stream."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire import remote_command
from podwright.wire.remote_command import Channel, Outcome, Protocol, Size, Sizes

TEXT, STATUS = remote_command.SPDY["v3.channel.k8s.io"], remote_command.SPDY["v4.channel.k8s.io"]


def test_what_can_be_negotiated() -> None:
    assert {name: protocol.version for name, protocol in remote_command.SPDY.items()} == {
        "v5.channel.k8s.io": 5,
        "v4.channel.k8s.io": 4,
        "v3.channel.k8s.io": 3,
        "v2.channel.k8s.io": 2,
        "channel.k8s.io": 1,
    }
    assert {name for name, protocol in remote_command.WEBSOCKET.items() if protocol.base64} == {
        "base64.channel.k8s.io",
        "v4.base64.channel.k8s.io",
    }
    assert remote_command.WEBSOCKET[""].version == 1
    assert [name for name, protocol in remote_command.WEBSOCKET.items() if protocol.can_close] == ["v5.channel.k8s.io"]


def test_streams_over_spdy() -> None:
    asked = [Channel.STDIN, Channel.STDOUT]
    assert remote_command.spdy_channels(asked, STATUS, tty=False) == {*asked, Channel.ERROR}
    assert remote_command.spdy_channels(asked, STATUS, tty=True) == {*asked, Channel.ERROR, Channel.RESIZE}
    old = remote_command.SPDY["v2.channel.k8s.io"]
    assert remote_command.spdy_channels(asked, old, tty=True) == {*asked, Channel.ERROR}
    assert remote_command.channel_of({"streamtype": "stderr"}) is Channel.STDERR
    assert remote_command.channel_of({"streamtype": "data"}) is None
    assert remote_command.channel_of({}) is None


def test_outcomes_as_kubectl_reads_them() -> None:
    assert remote_command.outcome_to_bytes(Outcome(0), STATUS) == b'{"metadata":{},"status":"Success"}'
    assert remote_command.outcome_to_bytes(Outcome(7), STATUS) == (
        b'{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: 7",'
        b'"reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}'
    )
    assert remote_command.outcome_to_bytes(Outcome(None, "no such file"), STATUS) == (
        b'{"metadata":{},"status":"Failure","message":"Internal error occurred: no such file",'
        b'"reason":"InternalError","details":{"causes":[{"message":"no such file"}]},"code":500}'
    )


def test_outcomes_in_text() -> None:
    assert remote_command.outcome_to_bytes(Outcome(0), TEXT) == b""
    assert remote_command.outcome_to_bytes(Outcome(7), TEXT) == b"command terminated with non-zero exit code: 7"
    words = remote_command.outcome_to_bytes(Outcome(None, "no such file"), TEXT)
    assert remote_command.outcome_from_bytes(words, TEXT) == Outcome(None, "Internal error occurred: no such file")


@given(st.integers(0, 255))
def test_exit_codes_come_back(code: int) -> None:
    said = remote_command.outcome_to_bytes(Outcome(code), STATUS)
    assert remote_command.outcome_from_bytes(said, STATUS) == Outcome(code)


@given(st.text(max_size=100))
def test_messages_come_back(message: str) -> None:
    said = remote_command.outcome_to_bytes(Outcome(None, message), STATUS)
    assert remote_command.outcome_from_bytes(said, STATUS) == Outcome(None, f"Internal error occurred: {message}")


def test_silence_is_success_in_text() -> None:
    assert remote_command.outcome_from_bytes(b"", TEXT) == Outcome(0)


@pytest.mark.parametrize(
    "said",
    [
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"status":"Failure"}',
        b'{"status":"Failure","reason":"NonZeroExitCode"}',
        b'{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"Other"}]}}',
        b'{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"x"}]}}',
        b'{"status":"Failure","reason":"NonZeroExitCode","details":[]}',
    ],
)
def test_an_error_stream_that_makes_no_sense(said: bytes) -> None:
    outcome = remote_command.outcome_from_bytes(said, STATUS)
    assert outcome.exit_code is None
    assert "makes no sense" in outcome.message


@given(st.binary())
def test_no_error_stream_raises(said: bytes) -> None:
    for protocol in (TEXT, STATUS):
        remote_command.outcome_from_bytes(said, protocol)


@given(st.lists(st.builds(Size, st.integers(0, 65535), st.integers(0, 65535)), max_size=5), st.integers(1, 40))
def test_sizes_come_one_by_one(sizes: list[Size], chunk: int) -> None:
    sent = b"".join(size.to_bytes() for size in sizes)
    reader = Sizes()
    received = [size for at in range(0, len(sent), chunk) for size in reader.receive(sent[at : at + chunk])]
    assert received == sizes


def test_a_size_for_the_kernel() -> None:
    assert Size(width=132, height=43).to_winsize() == struct.pack("HHHH", 43, 132, 0, 0)


def test_sizes_of_other_clients() -> None:
    assert Sizes().receive(b'{"width": 80, "HEIGHT": 24}{}') == [Size(80, 24), Size(0, 0)]


@pytest.mark.parametrize(
    "data",
    [
        b"x}",
        b"[1}",
        b'{"Width":-1}',
        b'{"Width":65536}',
        b'{"Height":"1"}',
        b'{"Height":1.5}',
        b" " * 300,
        b"[" * 300 + b"}",
        b'"}',
        b"}",
    ],
)
def test_sizes_that_are_none(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the text is for the log only
        Sizes().receive(data)


@given(st.lists(st.binary(max_size=50)))
def test_garbage_for_sizes_raises_nothing_else(chunks: list[bytes]) -> None:
    reader = Sizes()
    try:
        for chunk in chunks:
            reader.receive(chunk)
    except ValueError:
        pass


def test_version_one_has_no_status() -> None:
    assert not Protocol("channel.k8s.io", 1).has_status
