"""Containers of a pod, and what they are made of."""

from typing import Annotated, Literal

import msgspec

from podwright.pods.schema.base import ONLY_NODE, Base, Ignored, Quantity, Unserved
from podwright.pods.schema.handlers import Lifecycle, Probe


class KeySelector(Base, frozen=True):
    """ConfigMapKeySelector, SecretKeySelector."""

    name: str
    key: str
    optional: bool = False


class FieldSelector(Base, frozen=True):
    """ObjectFieldSelector."""

    field_path: str
    api_version: Ignored = None


class ResourceSelector(Base, frozen=True):
    """ResourceFieldSelector."""

    resource: str
    container_name: str = ""
    divisor: Quantity = 1


class EnvSource(Base, frozen=True):
    """EnvVarSource."""

    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None
    field_ref: FieldSelector | None = None
    resource_field_ref: ResourceSelector | None = None
    file_key_ref: Unserved = None


class Env(Base, frozen=True):
    """EnvVar."""

    name: str
    value: str = ""
    value_from: EnvSource | None = None


class ObjectReference(Base, frozen=True):
    """ConfigMapEnvSource, SecretEnvSource."""

    name: str
    optional: bool = False


class EnvFrom(Base, frozen=True):
    """EnvFromSource."""

    prefix: str = ""
    config_map_ref: ObjectReference | None = None
    secret_ref: ObjectReference | None = None


class Port(Base, frozen=True):
    """ContainerPort."""

    container_port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    host_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    host_ip: str = msgspec.field(default="", name="hostIP")
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    name: str = ""


class VolumeMount(Base, frozen=True):
    """VolumeMount."""

    name: str
    mount_path: str
    sub_path: str = ""
    sub_path_expr: str = ""
    read_only: bool = False
    mount_propagation: Literal["", "None", "HostToContainer", "Bidirectional"] = ""
    recursive_read_only: Literal["", "Disabled", "IfPossible", "Enabled"] = ""


class Resources(Base, frozen=True):
    """ResourceRequirements."""

    limits: dict[str, Quantity] = {}
    requests: dict[str, Quantity] = {}
    claims: Unserved = None


class Capabilities(Base, frozen=True):
    """Capabilities."""

    add: list[str] = []
    drop: list[str] = []


class Profile(Base, frozen=True):
    """SeccompProfile, AppArmorProfile."""

    type: Literal["RuntimeDefault", "Unconfined", "Localhost"]
    localhost_profile: str = ""


class SELinux(Base, frozen=True):
    """SELinuxOptions."""

    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


class ContainerSecurity(Base, frozen=True):
    """SecurityContext."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    privileged: bool = False
    read_only_root_filesystem: bool = False
    allow_privilege_escalation: bool | None = None
    capabilities: Capabilities = Capabilities()
    proc_mount: Literal["Default", "Unmasked"] = "Default"
    seccomp_profile: Profile | None = None
    app_armor_profile: Profile | None = None
    se_linux_options: SELinux | None = None
    windows_options: Ignored = None


RestartPolicy = Literal["Always", "OnFailure", "Never"]


class Container(Base, frozen=True):
    """Container, also of the initContainers."""

    name: str
    image: str
    command: list[str] = []
    args: list[str] = []
    working_dir: str = ""
    ports: list[Port] = []
    env_from: list[EnvFrom] = []
    env: list[Env] = []
    resources: Resources = Resources()
    restart_policy: RestartPolicy | None = None
    volume_mounts: list[VolumeMount] = []
    image_pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = ""
    security_context: ContainerSecurity = ContainerSecurity()
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    liveness_probe: Annotated[Probe | None, ONLY_NODE] = None
    readiness_probe: Annotated[Probe | None, ONLY_NODE] = None
    startup_probe: Annotated[Probe | None, ONLY_NODE] = None
    lifecycle: Annotated[Lifecycle | None, ONLY_NODE] = None
    restart_policy_rules: Unserved = None
    volume_devices: Unserved = None
    resize_policy: Ignored = None
    termination_message_path: str = "/dev/termination-log"
    """Where the container leaves its last words; empty: nowhere."""
    termination_message_policy: Literal["", "File", "FallbackToLogsOnError"] = "File"


class EphemeralContainer(Container, frozen=True):
    """EphemeralContainer: one that is put into a running pod, as kubectl debug does."""

    target_container_name: str = ""
    """The container whose processes it sees."""
