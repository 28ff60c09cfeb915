"""The runtime: its collaborators in one value, handed to every operation.

Owns no behaviour but the choice of a handler; each operation is a module of its own beside this one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from podwright.core.events import Events
from podwright.core.ledger import Ledger
from podwright.core.operations import Operations
from podwright.core.paths import Paths
from podwright.core.stats import Stats
from podwright.core.stream_requests import StreamRequests
from podwright.core.timeline import Timeline
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.images.service import Images
from podwright.network.attachments import Network
from podwright.nri.service import Nri
from podwright.oci.features import Features
from podwright.oci.host import Host
from podwright.oci.runtime import OciRuntime
from podwright.state.index import Index
from podwright.state.records import Container, Sandbox
from podwright.state.store import Store


@dataclass(frozen=True, slots=True)
class Handler:
    """An OCI runtime that RuntimeClass objects can name."""

    runtime: OciRuntime
    features: Features


@dataclass(frozen=True, slots=True)
class Settings:
    """What operations have to know of the configuration."""

    conmon: str
    infra_program: str
    """Process 1 of a shared PID namespace: static, reaps, ends on SIGTERM (catatonit)."""
    default_handler: str
    default_cgroup_parent: str
    shm_bytes: int
    open_files: int
    """RLIMIT_NOFILE of containers; 0 for the daemon's own."""
    create_host_paths: bool = False
    """Whether host paths of volumes are made where they do not exist."""
    config_file: str = ""
    """The file that all this was read from; "" for the defaults. For those who ask."""


@dataclass(slots=True)
class Runtime:
    """All that an operation may use."""

    settings: Settings
    paths: Paths
    host: Host
    handlers: Mapping[str, Handler]
    store: Store
    index: Index
    events: Events
    stats: Stats
    timeline: Timeline
    ledger: Ledger
    operations: Operations
    images: Images
    network: Network
    nri: Nri
    streams: StreamRequests

    def handler(self, name: str) -> Handler:
        """The handler of this name; the default one for the empty name. Raises InvalidArgument."""
        found = self.handlers.get(name or self.settings.default_handler)
        if found is None:
            known = ", ".join(sorted(self.handlers))
            raise InvalidArgument(f'runtime_handler: there is no handler "{name}", but {known}')
        return found

    def handler_of(self, made: Sandbox | Container) -> Handler:
        """The handler that it was made with. Raises FailedPrecondition if an earlier daemon had it, and this one has
        not.
        """
        found = self.handlers.get(made.facts.handler)
        if found is None:
            raise FailedPrecondition(
                f'{made.title} was made with the handler "{made.facts.handler}", which is no longer configured'
            )
        return found

    def uses_image(self, image_id: str) -> bool:
        """Whether a container is made of the image, or has it as a volume."""
        return any(
            image_id in (container.facts.image_id, *container.facts.image_volumes.values())
            for container in self.index.containers.values()
        )
