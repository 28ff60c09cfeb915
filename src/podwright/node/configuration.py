"""What `podwright node` can be told: KubeletConfiguration with the kubelet's own names, from a file and from flags.

Names and defaults are those of kubelet.config.k8s.io/v1beta1. Fields of a real kubelet that are not here are accepted
with a warning that names them, for the file of a cluster's installer is meant to be usable as it is.
"""

import msgspec
import yaml

from podwright.errors import InvalidArgument
from podwright.node.durations import seconds


class Section(msgspec.Struct, kw_only=True, rename="camel"):
    """A mapping of the file."""


class X509(Section):
    """authentication.x509"""

    client_ca_file: str = msgspec.field(default="", name="clientCAFile")
    """Clients with a certificate of this authority are who its subject says: CN is the user, O the groups."""


class WebhookAuthentication(Section):
    """authentication.webhook"""

    enabled: bool = True
    """Ask the API server whose bearer token it is (TokenReview). Without an API server there is nobody to ask."""
    cache_ttl: str = msgspec.field(default="2m0s", name="cacheTTL")


class Anonymous(Section):
    """authentication.anonymous"""

    enabled: bool = False


class Authentication(Section):
    """authentication"""

    x509: X509 = msgspec.field(default_factory=X509)
    webhook: WebhookAuthentication = msgspec.field(default_factory=WebhookAuthentication)
    anonymous: Anonymous = msgspec.field(default_factory=Anonymous)


class WebhookAuthorization(Section):
    """authorization.webhook"""

    cache_authorized_ttl: str = msgspec.field(default="5m0s", name="cacheAuthorizedTTL")
    cache_unauthorized_ttl: str = msgspec.field(default="30s", name="cacheUnauthorizedTTL")


class Authorization(Section):
    """authorization"""

    mode: str = "Webhook"
    """Webhook asks the API server (SubjectAccessReview); AlwaysAllow lets everybody in who is authenticated."""
    webhook: WebhookAuthorization = msgspec.field(default_factory=WebhookAuthorization)


class Taint(Section):
    """An entry of registerWithTaints."""

    key: str
    effect: str
    value: str = ""


class Configuration(Section):
    """KubeletConfiguration. Durations are Go's, checked when the configuration is read."""

    container_runtime_endpoint: str = "unix:///run/podwright/podwright.sock"
    image_service_endpoint: str = ""
    """Empty: the same as containerRuntimeEndpoint."""
    runtime_request_timeout: str = "2m0s"
    static_pod_path: str = ""
    """A directory of manifests, or one file; hidden files are passed over."""
    file_check_frequency: str = "20s"
    """The longest that a change of a manifest can stay unnoticed; mostly it is noticed at once."""
    sync_frequency: str = "1m0s"
    pod_logs_dir: str = "/var/log/pods"
    cgroup_driver: str = "cgroupfs"
    """For runtimes that do not tell; others are asked (RuntimeConfig)."""
    cgroup_root: str = "/"
    cgroups_per_qos: bool = msgspec.field(default=True, name="cgroupsPerQOS")
    cluster_dns: list[str] = msgspec.field(default_factory=list, name="clusterDNS")
    cluster_domain: str = ""
    resolv_conf: str = "/etc/resolv.conf"
    max_pods: int = 110
    pod_pids_limit: int = -1
    max_parallel_image_pulls: int = 0
    """0: as many as are wanted at once."""
    serialize_image_pulls: bool = False
    register_node: bool = True
    register_with_taints: list[Taint] = msgspec.field(default_factory=list)
    node_status_update_frequency: str = "10s"
    node_status_report_frequency: str = "5m0s"
    node_lease_duration_seconds: int = 40
    address: str = "0.0.0.0"  # noqa: S104  as kubelets do; nobody is let in without credentials
    port: int = 10250
    read_only_port: int = 0
    """A port for plain HTTP on `address` without authentication, that shows but does nothing; 0: none."""
    healthz_port: int = 10248
    healthz_bind_address: str = "127.0.0.1"
    tls_cert_file: str = ""
    """Empty: a certificate is made and kept in --cert-dir."""
    tls_private_key_file: str = ""
    authentication: Authentication = msgspec.field(default_factory=Authentication)
    authorization: Authorization = msgspec.field(default_factory=Authorization)
    enable_debugging_handlers: bool = True
    """Whether logs can be read and commands run through the HTTPS port."""
    image_minimum_gc_age: str = msgspec.field(default="2m0s", name="imageMinimumGCAge")
    image_maximum_gc_age: str = msgspec.field(default="0s", name="imageMaximumGCAge")
    image_gc_high_threshold_percent: int = msgspec.field(default=85, name="imageGCHighThresholdPercent")
    image_gc_low_threshold_percent: int = msgspec.field(default=80, name="imageGCLowThresholdPercent")
    container_log_max_size: str = "10Mi"
    container_log_max_files: int = 5
    container_log_monitor_interval: str = "10s"
    eviction_hard: dict[str, str] = msgspec.field(
        default_factory=lambda: {
            "memory.available": "100Mi",
            "nodefs.available": "10%",
            "nodefs.inodesFree": "5%",
            "imagefs.available": "15%",
        }
    )
    eviction_pressure_transition_period: str = "5m0s"
    system_reserved: dict[str, str] = msgspec.field(default_factory=dict)
    kube_reserved: dict[str, str] = msgspec.field(default_factory=dict)
    provider_id: str = msgspec.field(default="", name="providerID")

    def duration(self, name: str) -> float:
        """A field that holds a duration, in seconds."""
        return seconds(getattr(self, name), name)


def parse(text: str, source: str) -> tuple[Configuration, list[str]]:
    """Reads a KubeletConfiguration file: the configuration, and the names of fields that mean nothing here.

    Raises InvalidArgument with the source and the field at fault.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidArgument(f"{source}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise InvalidArgument(f"{source}: is not a mapping")
    if document.pop("kind", None) != "KubeletConfiguration":
        raise InvalidArgument(f'{source}: kind is not "KubeletConfiguration"')
    if document.pop("apiVersion", None) != "kubelet.config.k8s.io/v1beta1":
        raise InvalidArgument(f'{source}: apiVersion is not "kubelet.config.k8s.io/v1beta1"')
    present = {key: value for key, value in document.items() if value is not None}
    known = {known.encode_name for known in msgspec.structs.fields(Configuration)}
    try:
        configuration = msgspec.convert(present, Configuration)
        check(configuration)
    except (msgspec.ValidationError, InvalidArgument) as error:
        raise InvalidArgument(f"{source}: {error}") from None
    return configuration, sorted(present.keys() - known)


def check(configuration: Configuration) -> None:
    """What types cannot say. Raises InvalidArgument that names the field."""
    for known in msgspec.structs.fields(Configuration):
        default = known.default
        if isinstance(default, str) and default.endswith("s") and default[:1].isdigit():
            seconds(getattr(configuration, known.name), known.encode_name)
    if configuration.authorization.mode not in {"Webhook", "AlwaysAllow"}:
        raise InvalidArgument(f'authorization.mode: "{configuration.authorization.mode}": Webhook or AlwaysAllow')
    if configuration.cgroup_driver not in {"cgroupfs", "systemd"}:
        raise InvalidArgument(f'cgroupDriver: "{configuration.cgroup_driver}": cgroupfs or systemd')
    low, high = configuration.image_gc_low_threshold_percent, configuration.image_gc_high_threshold_percent
    if not 0 <= low < high <= 100:
        raise InvalidArgument(f"imageGCLowThresholdPercent: {low} is not below imageGCHighThresholdPercent, {high}")
