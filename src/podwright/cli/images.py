"""`podwright images`, `rmi`, `load` and `save`."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from podwright.cli.connection import connect
from podwright.cli.humans import size
from podwright.cli.output import Cell, Column, show
from podwright.client import Client
from podwright.client.control import Control
from podwright.cri import v1
from podwright.errors import InvalidArgument, NotFound, PodwrightError, Unimplemented

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Named:
    """An image under one of its names."""

    name: str
    image: v1.Image


def images(options: argparse.Namespace) -> int:
    """Lists images, a line for each name."""
    with connect(options) as cri:
        wanted = v1.ImageFilter(image=v1.ImageSpec(image=options.name)) if options.name else None
        found = cri.list_images(wanted).images
    if options.name and not found:
        raise NotFound(f'no image "{options.name}"')
    if options.output in {"table", "wide"}:
        named = [Named(name, image) for image in found for name in (image.repo_tags or [_untagged(image)])]
    else:
        named = [Named("", image) for image in found]
    named.sort(key=lambda item: item.name)
    wide = options.output == "wide"
    columns: tuple[Column[Named], ...] = (
        Column("NAME", lambda item: Cell(item.name, "bold")),
        Column("SIZE", lambda item: size(item.image.size), right=True),
        Column("PINNED", lambda item: "yes" if item.image.pinned else "", wide=True),
        Column("USER", lambda item: item.image.username or str(item.image.uid.value), wide=True),
        Column("DIGESTS", lambda item: ",".join(_digests(item.image)), wide=True),
        Column("ID", lambda item: Cell(_id(item.image, full=wide), "cyan")),
    )
    show(
        named,
        columns,
        options.output,
        title="images",
        identify=lambda item: item.image.id,
        message=lambda item: item.image,
    )
    return 0


def _untagged(image: v1.Image) -> str:
    return next(iter(image.repo_digests), "")


def _digests(image: v1.Image) -> list[str]:
    return [name.rpartition("@")[2] for name in image.repo_digests]


def _id(image: v1.Image, *, full: bool) -> str:
    return image.id if full else image.id.removeprefix("sha256:")[:13]


def remove(options: argparse.Namespace) -> int:
    """Removes images; unlike the RPC it does not pass over names that nobody knows."""
    if bool(options.names) == options.all:
        raise InvalidArgument("rmi takes names of images, or --all")
    with connect(options) as cri:
        found = _unused(cri) if options.all else [_image(cri, name) for name in options.names]
        for image in found:
            cri.remove_image(image.id)
            for name in image.repo_tags or [image.id]:
                print(name)
    return 0


def _image(cri: Client, name: str) -> v1.Image:
    answer = cri.image_status(name)
    if not answer.HasField("image"):
        raise NotFound(f'no image "{name}" (`podwright images` lists them)')
    return answer.image


def _unused(cri: Client) -> list[v1.Image]:
    used: set[str] = set()
    for container in cri.list_containers().containers:
        used |= {container.image.image, container.image_ref, container.image_id}
    return [
        image
        for image in cri.list_images().images
        if not image.pinned and not used & {image.id, *image.repo_tags, *image.repo_digests}
    ]


def load(options: argparse.Namespace) -> int:
    """Has the daemon take images from files of this machine; prints their ids."""
    config = b""
    if options.config:
        try:
            with open(options.config, "rb") as file:
                config = file.read()
        except OSError as error:
            raise InvalidArgument(f"{options.config}: {error.strerror}") from None
    path = os.path.abspath(options.path)
    for image_id in _controlled(options, lambda daemon: daemon.load_image(path, name=options.name, config=config)):
        print(image_id)
    return 0


def save(options: argparse.Namespace) -> int:
    """Has the daemon write an image as an OCI layout."""
    path = os.path.abspath(options.directory)
    _controlled(options, lambda daemon: daemon.save_image(options.name, path))
    print(path)
    return 0


def _controlled(options: argparse.Namespace, call: Callable[[Control], Result]) -> Result:
    """Calls what only Podwright serves."""
    with connect(options) as cri, Control(cri.endpoints["ImageService"]) as daemon:
        try:
            return call(daemon)
        except Unimplemented:
            raise PodwrightError(f'the runtime at "{cri.endpoints["ImageService"]}" is not Podwright') from None
