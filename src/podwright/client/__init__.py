"""Speak to any CRI runtime: containerd, CRI-O, Podwright.

    from podwright.client import Client

    with Client("unix:///run/containerd/containerd.sock") as cri:
        for container in cri.list_containers().containers:
            print(container.metadata.name)

`Client` blocks, `AsyncClient` is awaited; both have a method for each of the 43 RPCs. Messages are in
podwright.cri.v1, whichever version of the protocol is spoken. docs/client.md shows more.
"""

from podwright.client.aio import AsyncClient
from podwright.client.endpoint import DEFAULTS, Endpoint, find
from podwright.client.errors import ConnectionFailed, NoCommonVersion, RestartNeeded
from podwright.client.sync import Client

__all__ = [
    "DEFAULTS",
    "AsyncClient",
    "Client",
    "ConnectionFailed",
    "Endpoint",
    "NoCommonVersion",
    "RestartNeeded",
    "find",
]
