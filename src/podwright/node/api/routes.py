"""Which path is answered by what."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from podwright.errors import PodwrightError, Unimplemented
from podwright.node.agent import Agent
from podwright.node.api import metrics, stats
from podwright.node.api.auth import Door
from podwright.node.api.http import Exchange, HttpError
from podwright.node.api.logs import container_logs
from podwright.node.api.streams import attach, execute, port_forward, run_now
from podwright.node.context import Node
from podwright.node.worker import Worker

_POD: Final = "(?P<namespace>[^/]+)/(?P<pod>[^/]+)"
_STREAM: Final = re.compile(f"/(exec|attach|run)/{_POD}/(?:(?P<uid>[^/]+)/)?(?P<container>[^/]+)")
_FORWARD: Final = re.compile(f"/portForward/{_POD}(?:/(?P<uid>[^/]+))?")
_LOGS: Final = re.compile(f"/containerLogs/{_POD}/(?P<container>[^/]+)")


@dataclass(slots=True)
class Routes:
    """The handler of all requests of a port."""

    node: Node
    agent: Agent
    healthy: Callable[[], str]
    """What is wrong with the node; empty if nothing is."""
    door: Door | None
    """None: everybody may look, and nobody may do anything."""

    async def __call__(self, exchange: Exchange) -> None:
        """Answers a request. Raises HttpError."""
        if self.door is not None:
            await self.door.admit(exchange)
        try:
            if not await self._shows(exchange) and (self.door is None or not await self._does(exchange)):
                raise HttpError(404, "404 page not found")
        except Unimplemented as error:
            raise HttpError(501, str(error)) from None
        except PodwrightError as error:
            raise HttpError(500, str(error)) from None

    async def _shows(self, exchange: Exchange) -> bool:
        """Answers what only tells; whether it was that."""
        path = exchange.path.rstrip("/") or "/"
        if exchange.method not in {"GET", "HEAD"} and path != "/stats/summary":
            return False
        match path:
            case "/healthz" | "/healthz/ping" | "/healthz/syncloop" | "/healthz/log":
                problem = self.healthy()
                await exchange.answer(problem or "ok", status=500 if problem else 200)
            case "/pods" | "/runningpods":
                items = self.agent.documents()
                if path == "/runningpods":
                    items = [item for item in items if item["status"].get("phase") == "Running"]
                await exchange.answer_json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
            case "/stats/summary":
                only = exchange.flag("only_cpu_and_memory")
                await exchange.answer_json(await stats.summary(self.node, self.agent, only_cpu_and_memory=only))
            case "/metrics/resource":
                await exchange.answer(await metrics.resource(self.node), metrics.KIND)
            case "/metrics":
                await exchange.answer(metrics.own(self.node, self.agent), metrics.KIND)
            case "/metrics/cadvisor":
                await exchange.answer(await metrics.of_containers(self.node), metrics.KIND)
            case "/configz":
                await exchange.answer_json({"kubeletconfig": msgspec.to_builtins(self.node.configuration)})
            case _:
                return False
        return True

    async def _does(self, exchange: Exchange) -> bool:
        """Answers what reaches into pods; whether it was that."""
        if not self.node.configuration.enable_debugging_handlers:
            return False
        cri, observed = self.node.cri, self.node.observed
        if found := _LOGS.fullmatch(exchange.path):
            await container_logs(exchange, self._worker(found), observed, found["container"])
        elif found := _FORWARD.fullmatch(exchange.path):
            await port_forward(exchange, cri, self._worker(found), observed)
        elif found := _STREAM.fullmatch(exchange.path):
            act = {"exec": execute, "attach": attach, "run": run_now}[found[1]]
            if found[1] == "run" and exchange.method != "POST":
                raise HttpError(405, "method not allowed")
            await act(exchange, cri, self._worker(found), observed, found["container"])
        else:
            return False
        return True

    def _worker(self, found: re.Match[str]) -> Worker:
        worker = self.agent.find(found["namespace"], found["pod"])
        uid = found.groupdict().get("uid")
        if worker is None or (uid and uid != worker.pod.uid):
            raise HttpError(404, f'pod "{found["pod"]}_{found["namespace"]}" not found')
        return worker
