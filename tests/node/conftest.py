"""A machine with a runtime and a node for each module, which its tests share; a node in a cluster for each test."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.kubelet import Kubelet
from support.member import Member
from support.runtimes import KINDS, machine


@pytest.fixture(scope="module", params=KINDS)
def kubelet(request: pytest.FixtureRequest) -> Iterator[Kubelet]:
    """A running node, on each runtime in turn."""
    flags: list[str] = getattr(request.module, "FLAGS", [])
    with machine(request.param) as made:
        node = Kubelet(made, *flags)
        node.start()
        yield node
        node.end()


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Member]:
    """A node that can be started, and whose runtime and API server the test starts."""
    made = Member(tmp_path)
    yield made
    if made.process is not None:  # the test has failed
        made.end(signal.SIGKILL)


@pytest.fixture
def alone(member: Member) -> Member:
    """The same by another name, where `member` is taken."""
    return member
