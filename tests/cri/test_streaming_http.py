"""The streaming server itself: URLs, upgrades, TLS, time-outs, and whatever else may come to its port."""

import asyncio
import base64
import contextlib
import ssl
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from podwright.errors import Unavailable
from podwright.wire import spdy
from podwright.wire.remote_command import Outcome
from support.cri import Pods, until
from support.node import node
from support.streaming import Streams, connect, on, raw

pytestmark = pytest.mark.root

KEY = base64.b64encode(bytes(16)).decode()
SPDY = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"}
WEBSOCKET = {
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Protocol": "v5.channel.k8s.io",
}


@pytest.fixture
def container(pods: Pods) -> str:
    return pods.start(pods.run_sandbox())


def head(url: str, headers: Mapping[str, str | None], method: str = "GET") -> bytes:
    """A request; headers that are None are left out."""
    path = "/" + url.split("/", 3)[3]
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def exec_url(pods: Pods, container: str, *command: str) -> str:
    return pods.cri.exec(container, command or ["echo", "ran"], stdout=True).url


def status(answer: bytes) -> int:
    assert b"Traceback" not in answer
    return int(answer.split()[1])


@pytest.mark.parametrize(
    ("headers", "method", "expected"),
    [
        ({}, "GET", 400),
        ({**SPDY, "Upgrade": "HTTP/2"}, "POST", 400),
        ({**SPDY, "Connection": "close"}, "POST", 400),
        ({**SPDY, "X-Stream-Protocol-Version": None}, "POST", 400),
        ({**SPDY, "X-Stream-Protocol-Version": " , "}, "POST", 400),
        ({**SPDY, "X-Stream-Protocol-Version": "v99.channel.k8s.io"}, "POST", 403),
        ({**SPDY, "X-Stream-Protocol-Version": "portforward.k8s.io"}, "POST", 403),
        (SPDY, "PUT", 405),
        ({**WEBSOCKET, "Sec-WebSocket-Protocol": "v6.channel.k8s.io, chat"}, "GET", 403),
        ({**WEBSOCKET, "Sec-WebSocket-Key": "short"}, "GET", 400),
        ({**WEBSOCKET, "Sec-WebSocket-Key": "###"}, "GET", 400),
        ({**WEBSOCKET, "Sec-WebSocket-Key": None}, "GET", 400),
        ({**WEBSOCKET, "Sec-WebSocket-Version": "8"}, "GET", 426),
        (WEBSOCKET, "POST", 405),
    ],
)
def test_what_is_no_upgrade_gets_a_status(
    pods: Pods, container: str, headers: Mapping[str, str | None], method: str, expected: int
) -> None:
    url = exec_url(pods, container, "touch", "/tmp/ran")
    assert status(raw(pods.node, url, head(url, headers, method))) == expected
    assert pods.exec(container, "ls /tmp") == ""


def test_the_first_known_protocol_is_taken(pods: Pods, container: str) -> None:
    for headers, method in (
        ({**SPDY, "X-Stream-Protocol-Version": "v99.channel.k8s.io, v3.channel.k8s.io, v4.channel.k8s.io"}, "POST"),
        ({**WEBSOCKET, "Sec-WebSocket-Protocol": "v99.channel.k8s.io, v3.channel.k8s.io, v5.channel.k8s.io"}, "GET"),
    ):
        url = exec_url(pods, container)
        answer = raw(pods.node, url, head(url, headers, method) + b"\xff" * 100)  # garbage, which ends it
        assert status(answer) == 101
        assert b": v3.channel.k8s.io\r\n" in answer


def test_a_token_is_good_once_and_for_its_own_kind_only(pods: Pods, container: str) -> None:
    url = exec_url(pods, container)

    async def test(_: Streams) -> None:
        async with await connect(url, over="v5.channel.k8s.io") as command:
            assert await command.stdout.read_all() == b"ran\n"
        with pytest.raises(Unavailable, match="404"):
            await connect(url, over="v5.channel.k8s.io")

    on(pods.node, test)
    other = exec_url(pods, container)
    for wrong in (
        other.replace("/exec/", "/attach/"),
        other + "x",
        other.rsplit("/", 1)[0],
        other.rsplit("/", 2)[0] + "/",
    ):
        assert status(raw(pods.node, wrong, head(wrong, SPDY, "POST"))) == 404
    assert status(raw(pods.node, other, head(other, SPDY, "POST") + b"\xff" * 100)) == 101


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", 400),  # TLS where there is none
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /exec/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ],
)
def test_what_is_no_request_gets_a_status(pods: Pods, container: str, request_: bytes, expected: int) -> None:
    assert status(raw(pods.node, exec_url(pods, container), request_)) == expected


def spdy_open(*types: str) -> bytes:
    session = spdy.Session(client=True)
    for kind in types:
        session.open({"streamtype": kind})
    return b"".join(session.data_to_send())


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 64,
        b"\x80\x03\x00\x01\x00\xff\xff\xff" + bytes(64),  # 16 MiB of headers
        spdy_open("error")[:-4] + b"\xff" * 4 + spdy_open("error"),  # compression that does not go on so
        b"\x00\x00\x00\x09\x00\x00\x00\x01x",  # data for nobody
    ],
)
def test_spdy_that_makes_no_sense_gets_a_goodbye(pods: Pods, container: str, garbage: bytes) -> None:
    url = exec_url(pods, container)
    answer = raw(pods.node, url, head(url, SPDY, "POST"), garbage)
    assert status(answer) == 101
    assert b"\x80\x03\x00\x07\x00\x00\x00\x08" in answer  # GOAWAY
    assert answer.endswith(b"\x00\x00\x00\x01")  # PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("garbage", "code"),
    [
        (b"\x82\xff" + (64 << 20).to_bytes(8, "big") + bytes(64), 1009),
        (b"\x82\x05\x00abcd", 1002),
        (b"\xff" * 64, 1002),
        (b"\x82\x81\0\0\0\0\xff", 1002),
    ],
)
def test_websocket_that_makes_no_sense_gets_a_goodbye(pods: Pods, container: str, garbage: bytes, code: int) -> None:
    url = exec_url(pods, container, "sleep", "1000")
    answer = raw(pods.node, url, head(url, WEBSOCKET), garbage)
    assert status(answer) == 101
    assert answer.split(b"\r\n\r\n", 1)[1][2:4] == code.to_bytes(2, "big")


def test_a_client_that_attaches_with_nonsense_leaves_nothing_behind(pods: Pods) -> None:
    container = pods.start(pods.run_sandbox(), "sleep 1000")
    before = Counter(pods.node.open_files())
    url = pods.cri.attach(container, stdout=True).url
    assert status(raw(pods.node, url, head(url, WEBSOCKET) + b"\xff" * 64)) == 101
    until(lambda: Counter(pods.node.open_files()) - before, lambda more: not more)


def test_streams_that_nobody_asked_for_are_reset(pods: Pods, container: str) -> None:
    url = exec_url(pods, container)
    answer = raw(pods.node, url, head(url, SPDY, "POST"), spdy_open("stdin", "data", "error", "error", "stdout"))
    # RST_STREAM for the streams 1, 3 and 7; the others are enough.
    for stream in (1, 3, 7):
        assert b"\x80\x03\x00\x03\x00\x00\x00\x08\x00\x00\x00" + bytes([stream]) in answer
    assert b"ran\n" in answer
    assert b'"status":"Success"' in answer


@pytest.fixture
def hasty() -> Iterator[Pods]:
    """A node whose streaming server has little patience."""
    with node() as made:
        made.write_config("[streaming]\ncreation_timeout = 1\nidle_timeout = 2\n")
        made.start()
        pods = Pods(made)
        pods.load_image()
        yield pods
        pods.close()


@pytest.mark.slow
def test_clients_have_to_hurry_and_to_send(hasty: Pods) -> None:
    container = hasty.start(hasty.run_sandbox())
    url = exec_url(hasty, container)
    assert status(raw(hasty.node, url, head(url, SPDY, "POST"), spdy_open("error"))) == 101  # and then it ends

    async def idle(streams: Streams) -> None:
        for over in ("spdy:v4.channel.k8s.io", "v5.channel.k8s.io"):
            async with await streams.exec(container, "sh", "-c", "sleep 3456", stdin=True, over=over) as command:
                assert await command.stdout.read_all() == b""
                with pytest.raises(Unavailable, match="lost"):
                    await command.outcome()
            async with await streams.exec(container, "cat", stdin=True, over=over) as command:
                for _ in range(6):
                    await command.send(b"x")
                    assert await command.stdout.read() == b"x"
                    await asyncio.sleep(0.5)
                command.finish()
                assert await command.outcome() == Outcome(0)

    on(hasty.node, idle)
    until(lambda: hasty.exec(container, "ps -o args"), lambda text: "sleep 3456" not in text)


@contextlib.contextmanager
def secured(**fields: str) -> Iterator[Pods]:
    with node() as made:
        more = "".join(f'{name} = "{value}"\n' for name, value in fields.items())
        made.write_config(f"[streaming]\ntls = true\n{more}")
        made.start()
        pods = Pods(made)
        pods.load_image()
        yield pods
        pods.close()


def over_tls(pods: Pods) -> ssl.TLSVersion:
    """Runs a command over HTTPS with each transport; returns the version of TLS that was spoken."""
    container = pods.start(pods.run_sandbox())
    data = bytes(range(256)) * 4096

    async def test(streams: Streams) -> str:
        for over in ("spdy:v4.channel.k8s.io", "v5.channel.k8s.io"):
            async with await streams.exec(container, "cat", stdin=True, over=over) as command:

                async def send() -> None:
                    await command.send(data)
                    command.finish()

                sending = asyncio.create_task(send())
                assert await command.stdout.read_all() == data
                assert await command.outcome() == Outcome(0)
                await sending
                version: str = command._connection._transport.get_extra_info("ssl_object").version()
        return version

    return {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}[on(pods.node, test)]


@pytest.mark.slow
def test_tls_with_a_certificate_made_at_the_start() -> None:
    with secured(min_tls_version="1.3") as pods:
        url = exec_url(pods, pods.start(pods.run_sandbox()))
        assert url.startswith("https://127.0.0.1:")
        assert over_tls(pods) is ssl.TLSVersion.TLSv1_3
        assert "Cipher is (NONE)" in shaken(pods, url, "-tls1_2")


def shaken(pods: Pods, url: str, *options: str) -> str:
    """What openssl says to the handshake."""
    address = url.split("/")[2]
    return pods.node.run("sh", "-c", f"openssl s_client -connect {address} {' '.join(options)} </dev/null 2>&1; :")


@pytest.mark.slow
def test_tls_with_a_given_certificate(tmp_path: Path) -> None:
    with secured() as maker:  # openssl is there
        certificate, key = tmp_path / "certificate", tmp_path / "key"
        maker.node.run(
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-keyout",
                str(key),
                "-out",
                str(certificate),
            ),
            *("-subj", "/CN=given.example"),
        )
    with secured(certificate=str(certificate), key=str(key)) as pods:
        over_tls(pods)
        url = exec_url(pods, pods.start(pods.run_sandbox()))
        assert "given.example" in shaken(pods, url, "-tls1_2")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('tls = true\ncertificate = "/no/such/file"', "streaming.certificate, streaming.key: /no/such/file"),
        ('address = "192.0.2.1"', "streaming: cannot listen on 192.0.2.1"),
        ('min_tls_version = "1.1"', "streaming.min_tls_version"),
    ],
)
def test_a_daemon_that_cannot_stream_as_it_should_does_not_start(settings: str, words: str) -> None:
    with node() as made:
        made.write_config(f"[streaming]\n{settings}\n")
        with pytest.raises(AssertionError, match=words):
            made.start()
