"""Seeing to it that an image is there before a container needs it: pull policies, credentials, back-off.

The rules and texts are the kubelet's (pkg/kubelet/images/image_manager.go).
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from podwright.client import AsyncClient
from podwright.cri import v1
from podwright.errors import InvalidArgument, PodwrightError
from podwright.node.errors import Waiting
from podwright.node.events import About, Recorder
from podwright.pods.back_off import BackOff
from podwright.wire import reference

_TOLD_APART: Final = ("RegistryUnavailable", "SignatureValidationFailed")
"""Reasons that a runtime puts before its message and that a status shows by themselves."""


@dataclass(slots=True)
class Images:
    """The images of the node, as far as pods need them."""

    cri: AsyncClient
    recorder: Recorder
    parallel: int = 0
    """How many are pulled at once; 0: all that are wanted."""
    used: dict[str, float] = field(default_factory=dict)
    """When an image was last needed, time.time() by id; garbage collection reads it."""
    _failures: dict[tuple[str, str], tuple[BackOff, float, str]] = field(default_factory=dict)
    _gate: asyncio.Semaphore | None = field(init=False)

    def __post_init__(self) -> None:
        self._gate = asyncio.Semaphore(self.parallel) if self.parallel else None

    async def ensure(
        self, image: str, wanted_policy: str, about: About, auths: Sequence[v1.AuthConfig], config: v1.PodSandboxConfig
    ) -> v1.Image:
        """The image, pulled if its policy says so. Raises Waiting."""
        try:
            default = default_policy(image)
        except InvalidArgument as error:
            message = f'Failed to apply default image tag "{image}": {error}'
            self.recorder.tell(about, "Warning", "InspectFailed", message)
            raise Waiting("InvalidImageName", message) from None
        policy = wanted_policy or default
        spec = v1.ImageSpec(image=image, annotations=config.annotations)
        try:
            there = await self.cri.image_status(spec)
        except PodwrightError as error:
            self.recorder.tell(about, "Warning", "InspectFailed", f'Failed to inspect image "{image}": {error}')
            raise Waiting("ImageInspectError", f'Failed to inspect image "{image}": {error}') from None
        if there.HasField("image") and policy != "Always":
            self.recorder.tell(about, "Normal", "Pulled", f'Container image "{image}" already present on machine')
            return self._use(there.image)
        if policy == "Never":
            message = f'Container image "{image}" is not present with pull policy of Never'
            self.recorder.tell(about, "Warning", "ErrImageNeverPull", message)
            raise Waiting("ErrImageNeverPull", message)
        return self._use(await self._pull(image, spec, about, auths, config))

    def _use(self, image: v1.Image) -> v1.Image:
        self.used[image.id] = time.time()
        return image

    async def _pull(
        self, name: str, spec: v1.ImageSpec, about: About, auths: Sequence[v1.AuthConfig], config: v1.PodSandboxConfig
    ) -> v1.Image:
        key = (about.uid, name)
        if key in self._failures:
            back_off, failed, reason = self._failures[key]
            if time.monotonic() < failed + back_off.pause:
                message = f'Back-off pulling image "{name}": {reason}'
                self.recorder.tell(about, "Normal", "BackOff", message)
                raise Waiting("ImagePullBackOff", message)
        self.recorder.tell(about, "Normal", "Pulling", f'Pulling image "{name}"')
        began = time.monotonic()
        try:
            async with self._gate or contextlib.nullcontext():
                pulled = await self._try_all(spec, auths, config)
            image = (await self.cri.image_status(v1.ImageSpec(image=pulled))).image
        except PodwrightError as error:
            back_off = self._failures.pop(key, (BackOff(), 0.0, ""))[0]
            back_off.tried(time.monotonic())
            reason = next((word for word in _TOLD_APART if str(error).startswith(word)), "ErrImagePull")
            self._failures[key] = back_off, time.monotonic(), f"{reason}: {error}"
            self.recorder.tell(about, "Warning", "Failed", f'Failed to pull image "{name}": {error}')
            self.recorder.tell(about, "Warning", "Failed", f"Error: {reason}")
            raise Waiting(reason, f'failed to pull image "{name}": {error}') from None
        self._failures.pop(key, None)
        message = (
            f'Successfully pulled image "{name}" in {time.monotonic() - began:.3f}s. Image size: {image.size} bytes.'
        )
        self.recorder.tell(about, "Normal", "Pulled", message)
        return image

    async def _try_all(self, spec: v1.ImageSpec, auths: Sequence[v1.AuthConfig], config: v1.PodSandboxConfig) -> str:
        """Pulls with one credential after the other until one does; without any if there are none."""
        failures = []
        tries: Sequence[v1.AuthConfig | None] = auths or [None]
        for auth in tries:
            try:
                return (await self.cri.pull_image(spec, auth=auth, sandbox_config=config)).image_ref
            except PodwrightError as error:
                failures.append(error)
        raise failures[-1]

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        for key in [key for key in self._failures if key[0] == uid]:
            del self._failures[key]


def default_policy(image: str) -> str:
    """What no imagePullPolicy means. Raises InvalidArgument for what is no image's name."""
    if reference.is_id(image):
        return "IfNotPresent"
    named = reference.parse(image)
    return "Always" if named.tag == "latest" and not named.digest else "IfNotPresent"
