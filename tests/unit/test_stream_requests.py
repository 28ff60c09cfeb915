"""core/stream_requests.py: tokens are good once, for their kind, and not for long."""

from typing import cast

import pytest

from podwright.core import stream_requests
from podwright.core.stream_requests import ExecRequest, PortForwardRequest, StreamRequests
from podwright.errors import ResourceExhausted, Unavailable
from podwright.oci.execution import Wanted
from podwright.state.records import Container, Sandbox

BASE = "http://127.0.0.1:1234"


def made() -> tuple[ExecRequest, PortForwardRequest]:
    wanted = Wanted(tty=False, stdin=False, stdout=True, stderr=False)
    # Nobody looks at them here.
    container, sandbox = cast("Container", object()), cast("Sandbox", object())
    return ExecRequest(container, ("true",), wanted), PortForwardRequest(sandbox, (80,))


class Time:
    """Seconds that pass when told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def waiting() -> tuple[StreamRequests, Time]:
    time = Time()
    requests = StreamRequests(time)
    requests.base_url = BASE
    return requests, time


def path(url: str) -> str:
    assert url.startswith(BASE)
    return url.removeprefix(BASE)


def test_a_url_is_good_once_and_for_its_kind() -> None:
    requests, _ = waiting()
    execution, forward = made()
    first, second = path(requests.url(execution)), path(requests.url(forward))
    assert first.startswith("/exec/")
    assert second.startswith("/portforward/")
    for wrong in ("", "/", "/exec", "/exec/", first + "x", first.replace("exec", "attach"), "/exec" + first):
        assert requests.take(wrong) is None
    assert requests.take(first) is execution
    assert requests.take(first) is None
    assert requests.take(second) is forward


def test_a_url_expires() -> None:
    requests, time = waiting()
    execution, _ = made()
    old = path(requests.url(execution))
    time.now += stream_requests.GOOD_FOR_SECONDS - 1
    young = path(requests.url(execution))
    time.now += 1
    assert requests.take(old) is None
    assert requests.take(young) is execution


def test_not_too_many_wait() -> None:
    requests, time = waiting()
    execution, _ = made()
    urls = {requests.url(execution) for _ in range(stream_requests.MOST_WAITING)}
    assert len(urls) == stream_requests.MOST_WAITING
    with pytest.raises(ResourceExhausted, match="try again in 60 seconds"):
        requests.url(execution)
    time.now += stream_requests.GOOD_FOR_SECONDS
    requests.url(execution)


def test_there_are_no_urls_before_there_is_a_server() -> None:
    with pytest.raises(Unavailable):
        StreamRequests(Time()).url(made()[0])
