"""Reading endpoints, and finding one."""

import socket
from pathlib import Path

import pytest

from podwright.client import Endpoint, find
from podwright.errors import InvalidArgument, Unavailable


@pytest.mark.parametrize(
    ("text", "url", "target"),
    [
        ("unix:///run/x.sock", "unix:///run/x.sock", "unix:/run/x.sock"),
        ("unix:/run/x.sock", "unix:///run/x.sock", "unix:/run/x.sock"),
        ("/run/x.sock", "unix:///run/x.sock", "unix:/run/x.sock"),
        ("tcp://127.0.0.1:9000", "tcp://127.0.0.1:9000", "dns:///127.0.0.1:9000"),
        ("tcp://[::1]:9000", "tcp://[::1]:9000", "dns:///[::1]:9000"),
    ],
)
def test_endpoint_is_read(text: str, url: str, target: str) -> None:
    endpoint = Endpoint.parse(text)
    assert (str(endpoint), endpoint.target) == (url, target)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "none of"),
        ("run/x.sock", "none of"),
        ("http://127.0.0.1:80", "none of"),
        ("unix://run/x.sock", "none of"),
        ("unix:x.sock", "absolute"),
        ("unix://", "absolute"),
        ("tcp://127.0.0.1", "port"),
        ("tcp://:80", "host"),
        ("tcp://127.0.0.1:99999", "port out of range"),
        ("tcp://127.0.0.1:80/path", "none of"),
        ("/" + "x" * 107, "107 bytes"),
    ],
)
def test_what_is_no_endpoint_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says) as caught:
        Endpoint.parse(text)
    assert repr(text) in str(caught.value)


def test_longest_path_is_allowed() -> None:
    assert Endpoint.parse("/" + "x" * 106).address == "/" + "x" * 106


def test_find_takes_the_first_that_listens(tmp_path: Path) -> None:
    absent, dead, alive = (f"unix://{tmp_path}/{name}" for name in ("absent", "dead", "alive"))
    with socket.socket(socket.AF_UNIX) as left_behind, socket.socket(socket.AF_UNIX) as listener:
        left_behind.bind(f"{tmp_path}/dead")
        listener.bind(f"{tmp_path}/alive")
        listener.listen()
        assert str(find([absent, dead, alive])) == alive
        with pytest.raises(Unavailable) as caught:
            find([absent, dead])
    assert f"{absent} (no such file or directory)" in str(caught.value)
    assert f"{dead} (connection refused)" in str(caught.value)
