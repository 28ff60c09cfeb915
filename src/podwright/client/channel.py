"""How gRPC is set up for CRI, and what its failures mean. Shared by the synchronous and the asynchronous client."""

import re
from typing import Final

import grpc

from podwright import errors
from podwright.client.endpoint import Endpoint
from podwright.client.errors import ConnectionFailed
from podwright.client.session import LONGEST_PAUSE

_LARGEST_MESSAGE = 64 << 20  # some runtimes answer ExecSync with two streams of 16 MiB; kubelets stop at 16 MiB for all

OPTIONS: Final[list[tuple[str, int | str]]] = [
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
    ("grpc.max_send_message_length", _LARGEST_MESSAGE),
    # Dialling as the kubelet does: 100 ms, growing by 1.6 with 20 % jitter up to 3 s, each dial given 5 s.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", int(LONGEST_PAUSE * 1000)),
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.use_local_subchannel_pool", 1),  # else another client's back-off to the same socket would be ours
    ("grpc.default_authority", "localhost"),  # grpc-go refuses a socket's path as such
    ("grpc.enable_http_proxy", 0),
]

_KINDS: Final = {
    kind.code.value: kind
    for kind in (
        *(errors.InvalidArgument, errors.NotFound, errors.AlreadyExists, errors.FailedPrecondition),
        *(errors.PermissionDenied, errors.Unauthenticated, errors.ResourceExhausted, errors.DeadlineExceeded),
        *(errors.Aborted, errors.Unimplemented, errors.Unavailable, errors.Internal),
    )
}

_NO_SUCH_RPC = {"Method not found!", ""}
"""What servers on gRPC's C core say of an RPC that they do not have."""
_NO_CONNECTION = re.compile(r"failed to connect to all addresses.*?:(?P<cause>[^:]*)$", re.DOTALL)


def translate(code: grpc.StatusCode, details: str | None, path: str, endpoint: Endpoint) -> errors.PodwrightError:
    """The error of ours for a failed RPC. Its message is the runtime's; what was called is in a note."""
    message = (details or "").strip()
    if code is grpc.StatusCode.UNAVAILABLE and (found := _NO_CONNECTION.match(message)):
        service = path.split("/")[1].rpartition(".")[2]
        return ConnectionFailed(f'no connection to {service} at "{endpoint}": {found["cause"].strip().lower()}')
    if code is grpc.StatusCode.UNIMPLEMENTED and message in _NO_SUCH_RPC:
        message = f"the runtime does not serve {path.rpartition('/')[2]}"
    number, name = code.value
    error = _KINDS.get(number, errors.PodwrightError)(message or f"the runtime said only: {name}")
    error.add_note(f'{path.rpartition("/")[2]} at "{endpoint}" answered {code.name}')
    return error
