"""Every RPC of the protocol has a function that serves it, and nothing else does."""

import inspect

from podwright.cri.methods import METHODS
from podwright.server.table import HANDLERS


def test_every_rpc_is_served() -> None:
    assert HANDLERS.keys() == METHODS.keys()


def test_there_are_as_many_as_the_protocol_has() -> None:
    assert sum(method.service == "RuntimeService" for method in METHODS.values()) == 37
    assert sum(method.service == "ImageService" for method in METHODS.values()) == 6


def test_streams_are_served_by_streams() -> None:
    for name, handler in HANDLERS.items():
        assert inspect.isasyncgenfunction(handler) == METHODS[name].streams, name
