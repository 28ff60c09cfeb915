"""What is done to a running container: probes and lifecycle hooks."""

from typing import Annotated, Literal

import msgspec

from podwright.pods.schema.base import Base

Natural = Annotated[int, msgspec.Meta(ge=0)]


class ExecAction(Base, frozen=True):
    """ExecAction."""

    command: list[str] = []


class HttpHeader(Base, frozen=True):
    """HTTPHeader."""

    name: str
    value: str = ""


class HttpGetAction(Base, frozen=True):
    """HTTPGetAction."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: Literal["", "HTTP", "HTTPS"] = "HTTP"
    http_headers: list[HttpHeader] = []


class TcpAction(Base, frozen=True):
    """TCPSocketAction."""

    port: int | str
    host: str = ""


class GrpcAction(Base, frozen=True):
    """GRPCAction."""

    port: int
    service: str = ""


class SleepAction(Base, frozen=True):
    """SleepAction."""

    seconds: Natural


class Probe(Base, frozen=True):
    """Probe."""

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpAction | None = None
    grpc: GrpcAction | None = None
    initial_delay_seconds: Natural = 0
    timeout_seconds: Natural = 1
    period_seconds: Natural = 10
    success_threshold: Natural = 1
    failure_threshold: Natural = 3
    termination_grace_period_seconds: Natural | None = None


class Handler(Base, frozen=True):
    """LifecycleHandler."""

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Base, frozen=True):
    """Lifecycle."""

    post_start: Handler | None = None
    pre_stop: Handler | None = None
    stop_signal: str = ""
