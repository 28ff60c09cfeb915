"""Pods."""

from typing import Annotated, Literal

import msgspec

from podwright.pods.schema.base import ONLY_NODE, Base, Ignored, Metadata, Unserved
from podwright.pods.schema.container import Container, EphemeralContainer, Profile, RestartPolicy, SELinux
from podwright.pods.schema.volume import Volume


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


class LocalReference(Base, frozen=True):
    """LocalObjectReference."""

    name: str = ""


class ReadinessGate(Base, frozen=True):
    """PodReadinessGate."""

    condition_type: str


class PodSpec(Base, frozen=True):
    """PodSpec."""

    containers: Annotated[list[Container], msgspec.Meta(min_length=1)]
    init_containers: list[Container] = []
    volumes: list[Volume] = []
    restart_policy: RestartPolicy | None = None
    termination_grace_period_seconds: Annotated[int, msgspec.Meta(ge=0)] = 30
    dns_policy: Literal["Default", "ClusterFirst", "ClusterFirstWithHostNet", "None"] = "ClusterFirst"
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
    subdomain: str = ""
    set_hostname_as_fqdn: bool = msgspec.field(default=False, name="setHostnameAsFQDN")
    image_pull_secrets: Annotated[list[LocalReference], ONLY_NODE] = []
    active_deadline_seconds: Annotated[int | None, ONLY_NODE] = None
    automount_service_account_token: bool | None = None
    enable_service_links: bool | None = None
    readiness_gates: list[ReadinessGate] = []
    priority: int | None = None
    host_users: Unserved = None
    hostname_override: Unserved = None
    resources: Unserved = None
    resource_claims: Unserved = None
    affinity: Ignored = None
    ephemeral_containers: Annotated[list[EphemeralContainer], ONLY_NODE] = []
    node_selector: Ignored = None
    os: Ignored = None
    overhead: Unserved = None
    preemption_policy: Ignored = None
    priority_class_name: Ignored = None
    scheduler_name: Ignored = None
    scheduling_gates: Ignored = None
    service_account: Ignored = None
    tolerations: Ignored = None
    topology_spread_constraints: Ignored = None


class Pod(Base, frozen=True):
    """Pod."""

    metadata: Metadata
    spec: PodSpec
    api_version: Literal["v1"]
    kind: Literal["Pod"]
    status: Ignored = None
