"""One node for all tests of a run; each test begins and ends with no pod on it, and with nothing left behind."""

from collections.abc import Iterator

import pytest

from support.cri import Pods
from support.leaks import leaks, snapshot
from support.node import Node, node


class Shared:
    """The node of all tests."""

    def __init__(self, pods: Pods) -> None:
        self.pods = pods
        self.clean = snapshot(pods.node)
        self._read = 0

    def tracebacks(self) -> str:
        """What the daemon has written from the first of them on, since the last time."""
        with self.pods.node.log.open(encoding="utf-8") as log:
            log.seek(self._read)
            text = log.read()
            self._read = log.tell()
        before, mark, after = text.partition("Traceback")
        return mark and before[-500:] + mark + after[:4000]


@pytest.fixture(scope="session")
def shared() -> Iterator[Shared]:
    """A node with a daemon and an image, on which pods have come and gone."""
    with node() as made:
        made.start()
        pods = Pods(made)
        pods.warm_up()
        yield Shared(pods)
        pods.close()


@pytest.fixture
def pods(shared: Shared) -> Iterator[Pods]:
    """The node's client."""
    yield shared.pods
    shared.pods.remove_all()
    left = leaks(shared.pods.node, shared.clean)
    if left:
        shared.clean = snapshot(shared.pods.node)  # the next test is not to blame
    assert left == {}
    assert shared.tracebacks() == ""


@pytest.fixture
def machine(pods: Pods) -> Node:
    """The node itself."""
    return pods.node
