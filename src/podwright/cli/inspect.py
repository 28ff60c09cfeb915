"""`podwright inspect`: all that the runtime tells of an object, as JSON or YAML."""

import argparse

from podwright.cli.connection import connect
from podwright.cli.inventory import Ambiguous, Container, Inventory, Pod
from podwright.cli.messages import plain, verbose_info
from podwright.cli.output import structured
from podwright.cli.timeline import show_timelines
from podwright.client import Client
from podwright.cri import v1
from podwright.errors import InvalidArgument, NotFound
from podwright.ids import short


def inspect(options: argparse.Namespace) -> int:
    """Prints one object, or a list of them if several are named."""
    with connect(options) as cri:
        inventory = Inventory.of(cri)
        if options.timeline:
            show_timelines(cri, inventory, options.names)
            return 0
        found = [_inspected(cri, inventory, name) for name in options.names]
    structured(found[0] if len(found) == 1 else found, options.output)
    return 0


def _inspected(cri: Client, inventory: Inventory, name: str) -> dict[str, object]:
    try:
        found: Pod | Container | None = inventory.either(name)
    except NotFound:
        found = None
    image = _image(cri, name)
    if found is not None and image.HasField("image"):
        raise Ambiguous(
            f'"{name}" is ambiguous: {found.full_name} ({short(found.id)}), image {image.image.id}; '
            "give more of the name, or the id"
        )
    match found:
        case Pod():
            pod = cri.pod_sandbox_status(found.id, verbose=True)
            return {"kind": "pod", "status": plain(pod.status), "info": verbose_info(pod.info)}
        case Container():
            container = cri.container_status(found.id, verbose=True)
            return {"kind": "container", "status": plain(container.status), "info": verbose_info(container.info)}
    if image.HasField("image"):
        return {"kind": "image", "status": plain(image.image), "info": verbose_info(image.info)}
    raise NotFound(f'no pod, container or image "{name}"')


def _image(cri: Client, name: str) -> v1.ImageStatusResponse:
    try:
        return cri.image_status(name, verbose=True)
    except InvalidArgument:  # a name that no image can have, but perhaps a container
        return v1.ImageStatusResponse()
