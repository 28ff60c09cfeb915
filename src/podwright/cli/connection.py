"""The runtime that a command speaks to: flags, then the environment, then the usual sockets."""

import argparse
import os

from podwright.client import Client
from podwright.client.session import KUBELET_TIMEOUT


def connect(options: argparse.Namespace, *, timeout: float = KUBELET_TIMEOUT) -> Client:
    """A client for what the command line says; `timeout`, in seconds, is where it does not say how long to wait.

    Raises InvalidArgument for a bad endpoint, Unavailable without any.
    """
    runtime = (
        getattr(options, "runtime_endpoint", None)
        or os.environ.get("PODWRIGHT_ENDPOINT")
        or os.environ.get("CONTAINER_RUNTIME_ENDPOINT")
        or None
    )
    images = getattr(options, "image_endpoint", None) or os.environ.get("IMAGE_SERVICE_ENDPOINT") or None
    return Client(runtime, image_endpoint=images, timeout=getattr(options, "timeout", timeout))
