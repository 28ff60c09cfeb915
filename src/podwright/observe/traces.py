"""OpenTelemetry: a span for each RPC, below the client's if it sent its own along, and in it one for each stage.

Off unless configured; the libraries, an optional extra, are imported only then. What the SDK reads from the
environment (OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_HEADERS) holds here too.
"""

import contextvars

from podwright import __version__, trace
from podwright.errors import FailedPrecondition
from podwright.log import request_id
from podwright.trace import Request, Step

try:
    from opentelemetry import context as otel_context
    from opentelemetry import propagate
    from opentelemetry import trace as otel
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
except ModuleNotFoundError as error:
    raise FailedPrecondition(
        f"observe.traces needs OpenTelemetry, and {error.name} is not installed: pip install 'podwright[tracing]'"
    ) from None


class Traces:
    """Sends spans to an OTLP collector, from `start` until `close`."""

    def __init__(self, endpoint: str) -> None:
        """`endpoint` takes OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces."""
        resource = Resource.create({"service.name": "podwright", "service.version": __version__})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
        self._tracer = self._provider.get_tracer("podwright", __version__)
        self._spans: dict[int, tuple[otel.Span, contextvars.Token[otel_context.Context]]] = {}

    def start(self) -> None:
        """Begins to listen."""
        trace.listeners.append(self._step)
        trace.request_listeners.append(self)

    def close(self) -> None:
        """Sends what is left. Blocking, for seconds if the collector does not answer."""
        trace.listeners.remove(self._step)
        trace.request_listeners.remove(self)
        self._provider.shutdown()

    def begin(self, request: Request) -> None:
        """An RPC begins (trace.RequestListener)."""
        span = self._tracer.start_span(
            request.method,
            context=propagate.extract(request.metadata),
            kind=otel.SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.method": request.method, "request.id": request_id.get()},
        )
        self._spans[id(request)] = span, otel_context.attach(otel.set_span_in_context(span))

    def end(self, request: Request) -> None:
        """An RPC has ended (trace.RequestListener)."""
        span, token = self._spans.pop(id(request))
        otel_context.detach(token)
        span.set_attribute("rpc.grpc.status", request.code)
        if request.code != "OK":
            span.set_status(otel.StatusCode.ERROR, request.code)
        span.end()

    def _step(self, step: Step) -> None:
        # The context is that of the task or thread which did the work: the span of its RPC, if there is one, is there.
        span = self._tracer.start_span(
            step.name, start_time=step.started_ns, attributes={"object": step.owner} if step.owner else None
        )
        if step.error is not None:
            span.set_status(otel.StatusCode.ERROR, str(step.error))
        span.end(step.started_ns + int(step.seconds * 1e9))
