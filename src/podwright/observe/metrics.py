"""Prometheus metrics of the daemon: how long RPCs and the stages of work take, and how things stand.

Durations are counted as they happen (trace.py); what stands is looked up when the page is made, on a thread of the
HTTP server. docs/observability.md lists all names.
"""

import asyncio
import collections
import time
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from podwright import __version__, trace
from podwright.core.runtime import Runtime
from podwright.trace import Request, Step

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Bounds of the buckets: from a list out of memory to the pull of a large image."""
LAG_PERIOD_SECONDS = 1.0


class Metrics:
    """All metrics of one daemon, from `start` on."""

    def __init__(self, runtime: Runtime) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(_Standing(runtime))
        Gauge("podwright_build_info", "1; the label tells the version", ["version"], registry=registry).labels(
            __version__
        ).set(1)
        self._rpcs = Histogram(
            "podwright_rpc_seconds", "How long RPCs took", ["method", "code"], buckets=SECONDS, registry=registry
        )
        self._running = Gauge("podwright_rpcs_running", "RPCs being answered", ["method"], registry=registry)
        self._stages = Histogram(
            "podwright_stage_seconds", "How long stages of work took", ["stage"], buckets=SECONDS, registry=registry
        )
        self._failures = Counter(
            "podwright_stage_failures_total", "Stages of work that failed", ["stage"], registry=registry
        )
        self._lag = Histogram(
            "podwright_loop_lag_seconds", "How late the event loop woke up", buckets=SECONDS, registry=registry
        )

    def start(self) -> "asyncio.Task[None]":
        """Begins to listen. Returns the task that measures the event loop's lag; it ends by cancellation."""
        trace.listeners.append(self._step)
        trace.request_listeners.append(self)
        return asyncio.get_running_loop().create_task(self._measure_lag(), name="loop lag")

    def page(self) -> bytes:
        """The metrics in Prometheus' text format. Takes tens of milliseconds: not for the event loop."""
        return generate_latest(self._registry)

    def begin(self, request: Request) -> None:
        """An RPC begins (trace.RequestListener)."""
        self._running.labels(request.method).inc()

    def end(self, request: Request) -> None:
        """An RPC has ended (trace.RequestListener)."""
        self._running.labels(request.method).dec()
        self._rpcs.labels(request.method, request.code).observe(request.seconds)

    def _step(self, step: Step) -> None:
        self._stages.labels(step.name).observe(step.seconds)
        if step.error is not None:
            self._failures.labels(step.name).inc()

    async def _measure_lag(self) -> None:
        while True:
            due = time.monotonic() + LAG_PERIOD_SECONDS
            await asyncio.sleep(LAG_PERIOD_SECONDS)
            self._lag.observe(max(time.monotonic() - due, 0))


class _Standing(Collector):
    """What there is at the moment of the question. Reads what the event loop may be changing: only copies of it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def describe(self) -> Iterable[Metric]:
        return ()  # the registry need not look beforehand

    def collect(self) -> Iterator[Metric]:
        runtime = self._runtime
        sandboxes, containers = list(runtime.index.sandboxes.values()), list(runtime.index.containers.values())
        yield _by_label("podwright_sandboxes", "Sandboxes", "phase", (s.status.phase for s in sandboxes))
        yield _by_label("podwright_containers", "Containers", "phase", (c.status.phase for c in containers))
        yield GaugeMetricFamily("podwright_images", "Images", value=len(runtime.images.list_images()))
        pulls = runtime.images.progress()
        yield GaugeMetricFamily("podwright_pulls_running", "Pulls under way", value=len(pulls))
        waiting = sum(layer.bytes_total - layer.bytes_done for pull in pulls for layer in pull.layers)
        yield GaugeMetricFamily("podwright_pull_bytes_to_do", "Bytes that running pulls have to fetch", value=waiting)
        known = {sandbox.id for sandbox in sandboxes} | {container.id for container in containers}
        orphans = len(runtime.ledger.owners() - known)
        yield GaugeMetricFamily("podwright_cleanups_due", "Owners of resources that are gone themselves", value=orphans)
        events = CounterMetricFamily("podwright_events", "Events, by type", labels=["type"])
        for event_type, count in list(runtime.events.counts.items()):
            events.add_metric([event_type], count)
        yield events
        yield GaugeMetricFamily("podwright_event_streams", "Listeners to events", value=runtime.events.subscribers)


def _by_label(name: str, text: str, label: str, values: Iterable[str]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in collections.Counter(values).items():
        family.add_metric([value], count)
    return family
