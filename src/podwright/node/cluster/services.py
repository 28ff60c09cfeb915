"""The variables that tell containers of services, such as KUBERNETES_SERVICE_HOST (Docker's links are part of it)."""

import asyncio
from dataclasses import dataclass, field

from podwright.node.cluster.client import Cluster, Document
from podwright.node.cluster.watcher import follow


@dataclass(slots=True)
class Services:
    """All services of the cluster."""

    cluster: Cluster
    _there: dict[tuple[str, str], Document] = field(default_factory=dict)
    _known: asyncio.Event = field(default_factory=asyncio.Event)

    async def for_ever(self) -> None:
        """Keeps up with them."""
        async for news in follow(self.cluster, "Service"):
            if isinstance(news, list):
                self._there = {_key(item): item for item in news}
                self._known.set()
            elif news[0] == "DELETED":
                self._there.pop(_key(news[1]), None)
            else:
                self._there[_key(news[1])] = news[1]

    async def variables(self, namespace: str) -> dict[str, str]:
        """Those that a container in the namespace gets: of its own services, and of the API server.

        Waits until the services have been read.
        """
        await self._known.wait()
        wanted = [item for key, item in sorted(self._there.items()) if key[0] == namespace]
        if namespace != "default" and ("default", "kubernetes") in self._there:
            wanted.append(self._there["default", "kubernetes"])
        result: dict[str, str] = {}
        for item in wanted:
            result |= of_service(item)
        return result


def of_service(service: Document) -> dict[str, str]:
    """The variables of one service (pkg/kubelet/envvars)."""
    address, ports = service["spec"].get("clusterIP", ""), service["spec"].get("ports") or []
    if not address or address == "None" or not ports:
        return {}
    name = service["metadata"]["name"].upper().replace("-", "_")
    first = ports[0]
    result = {f"{name}_SERVICE_HOST": address, f"{name}_SERVICE_PORT": str(first["port"])}
    host = f"[{address}]" if ":" in address else address
    for port in ports:
        protocol = port.get("protocol", "TCP")
        if port.get("name"):
            result[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
        prefix = f"{name}_PORT_{port['port']}_{protocol}"
        result |= {
            prefix: f"{protocol.lower()}://{host}:{port['port']}",
            f"{prefix}_PROTO": protocol.lower(),
            f"{prefix}_PORT": str(port["port"]),
            f"{prefix}_ADDR": address,
        }
    result[f"{name}_PORT"] = f"{first.get('protocol', 'TCP').lower()}://{host}:{first['port']}"
    return result


def _key(document: Document) -> tuple[str, str]:
    return document["metadata"].get("namespace", "default"), document["metadata"]["name"]
