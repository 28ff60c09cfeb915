"""The part of the Kubernetes API that a file for `podwright run` may hold (core/v1, as of Kubernetes 1.36).

Names and defaults are the API's. Every field of a pod is known here, so that a misspelt one is refused; those with
the type `Ignored` mean nothing without a cluster, those with `Unserved` mean something that `run` does not do.
"""

from typing import Annotated, Any, Literal

import msgspec

Ignored = Any
Unserved = Annotated[Any, msgspec.Meta(extra={"unserved": True})]
Quantity = str | int | float


class Base(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An object of the API. What it does not name is refused."""


class Metadata(Base, frozen=True):
    """ObjectMeta."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    generate_name: Ignored = None
    creation_timestamp: Ignored = None
    deletion_timestamp: Ignored = None
    deletion_grace_period_seconds: Ignored = None
    finalizers: Ignored = None
    generation: Ignored = None
    managed_fields: Ignored = None
    owner_references: Ignored = None
    resource_version: Ignored = None
    self_link: Ignored = None


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


class Sysctl(Base, frozen=True):
    """Sysctl."""

    name: str
    value: str


class PodSecurity(Base, frozen=True):
    """PodSecurityContext."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    fs_group: int | None = None
    fs_group_change_policy: Ignored = None
    supplemental_groups: list[int] = []
    supplemental_groups_policy: Literal["Merge", "Strict"] = "Merge"
    seccomp_profile: Profile | None = None
    app_armor_profile: Profile | None = None
    se_linux_options: SELinux | None = None
    se_linux_change_policy: Ignored = None
    sysctls: list[Sysctl] = []
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
    liveness_probe: Unserved = None
    readiness_probe: Unserved = None
    startup_probe: Unserved = None
    lifecycle: Unserved = None
    restart_policy_rules: Unserved = None
    volume_devices: Unserved = None
    resize_policy: Ignored = None
    termination_message_path: Ignored = None
    termination_message_policy: Ignored = None


class KeyToPath(Base, frozen=True):
    """KeyToPath."""

    key: str
    path: str
    mode: int | None = None


class EmptyDir(Base, frozen=True):
    """EmptyDirVolumeSource."""

    medium: Literal["", "Memory"] = ""
    size_limit: Unserved = None


class HostPath(Base, frozen=True):
    """HostPathVolumeSource."""

    path: str
    type: Literal[
        "", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket", "CharDevice", "BlockDevice"
    ] = ""


class ConfigMapVolume(Base, frozen=True):
    """ConfigMapVolumeSource."""

    name: str
    items: list[KeyToPath] = []
    default_mode: int = 0o644
    optional: bool = False


class SecretVolume(Base, frozen=True):
    """SecretVolumeSource."""

    secret_name: str
    items: list[KeyToPath] = []
    default_mode: int = 0o644
    optional: bool = False


class Volume(Base, frozen=True):
    """Volume. Sources that need a cluster are not known here."""

    name: str
    empty_dir: EmptyDir | None = None
    host_path: HostPath | None = None
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None


class DnsOption(Base, frozen=True):
    """PodDNSConfigOption."""

    name: str
    value: str | None = None


class DnsConfig(Base, frozen=True):
    """PodDNSConfig."""

    nameservers: list[str] = []
    searches: list[str] = []
    options: list[DnsOption] = []


class HostAlias(Base, frozen=True):
    """HostAlias."""

    ip: str
    hostnames: list[str] = []


class PodSpec(Base, frozen=True):
    """PodSpec."""

    containers: Annotated[list[Container], msgspec.Meta(min_length=1)]
    init_containers: list[Container] = []
    volumes: list[Volume] = []
    restart_policy: RestartPolicy | None = None
    termination_grace_period_seconds: Annotated[int, msgspec.Meta(ge=0)] = 30
    dns_policy: Literal["Default", "ClusterFirst", "ClusterFirstWithHostNet", "None"] = "Default"
    dns_config: DnsConfig = DnsConfig()
    host_network: bool = False
    host_pid: bool = msgspec.field(default=False, name="hostPID")
    host_ipc: bool = msgspec.field(default=False, name="hostIPC")
    share_process_namespace: bool = False
    security_context: PodSecurity = PodSecurity()
    hostname: str = ""
    node_name: str = ""
    service_account_name: str = ""
    host_aliases: list[HostAlias] = []
    runtime_class_name: str = ""
    subdomain: Unserved = None
    active_deadline_seconds: Unserved = None
    host_users: Unserved = None
    hostname_override: Unserved = None
    image_pull_secrets: Unserved = None
    resources: Unserved = None
    resource_claims: Unserved = None
    affinity: Ignored = None
    automount_service_account_token: Ignored = None
    enable_service_links: Ignored = None
    ephemeral_containers: Ignored = None
    node_selector: Ignored = None
    os: Ignored = None
    overhead: Ignored = None
    preemption_policy: Ignored = None
    priority: Ignored = None
    priority_class_name: Ignored = None
    readiness_gates: Ignored = None
    scheduler_name: Ignored = None
    scheduling_gates: Ignored = None
    service_account: Ignored = None
    set_hostname_as_fqdn: Ignored = msgspec.field(default=None, name="setHostnameAsFQDN")
    tolerations: Ignored = None
    topology_spread_constraints: Ignored = None


class Pod(Base, frozen=True):
    """Pod."""

    metadata: Metadata
    spec: PodSpec
    api_version: Literal["v1"]
    kind: Literal["Pod"]
    status: Ignored = None


class ConfigMap(Base, frozen=True):
    """ConfigMap."""

    metadata: Metadata
    api_version: Literal["v1"]
    kind: Literal["ConfigMap"]
    data: dict[str, str] = {}
    binary_data: dict[str, bytes] = {}
    immutable: Ignored = None


class Secret(Base, frozen=True):
    """Secret."""

    metadata: Metadata
    api_version: Literal["v1"]
    kind: Literal["Secret"]
    data: dict[str, bytes] = {}
    string_data: dict[str, str] = {}
    type: Ignored = None
    immutable: Ignored = None
