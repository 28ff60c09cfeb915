"""A machine with a runtime and a node for each module: the tests of one module share them."""

from collections.abc import Iterator

import pytest

from support.kubelet import Kubelet
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
