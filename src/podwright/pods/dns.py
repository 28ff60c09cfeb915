"""Which resolv.conf a pod gets: dnsPolicy and dnsConfig, the host's file, and a cluster's DNS."""

from dataclasses import dataclass
from typing import Final

from podwright.cri import v1
from podwright.pods.schema import PodSpec

_MOST_SERVERS: Final = 3  # resolv.conf(5): MAXNS
_MOST_SEARCHES: Final = 32


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """What a resolv.conf says."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "ResolvConf":
        """Reads resolv.conf(5): all nameserver lines, the last search line, the last options line."""
        servers: list[str] = []
        searches: list[str] = []
        options: list[str] = []
        for line in text.splitlines():
            match line.split():
                case ["nameserver", address, *_]:
                    servers.append(address)
                case ["search", *names]:
                    searches = [name.rstrip(".") or "." for name in names]
                case ["options", *values]:
                    options = values
        return cls(tuple(servers), tuple(searches), tuple(options))


@dataclass(frozen=True, slots=True)
class ClusterDns:
    """A cluster's DNS."""

    servers: tuple[str, ...]
    domain: str


def config(
    spec: PodSpec, host: ResolvConf, cluster: ClusterDns | None = None, namespace: str = ""
) -> v1.DNSConfig | None:
    """None leaves it to the runtime, which copies the host's.

    ClusterFirst means the host's where there is no cluster, and for pods on the host network.
    """
    policy = spec.dns_policy
    if policy == "ClusterFirst" and spec.host_network:
        policy = "Default"
    in_cluster = policy in {"ClusterFirst", "ClusterFirstWithHostNet"} and cluster is not None and cluster.servers
    wanted = spec.dns_config
    own_options = [item.name if item.value is None else f"{item.name}:{item.value}" for item in wanted.options]
    base = host
    if policy == "None":
        base = ResolvConf()
    elif in_cluster and cluster is not None:
        domains = (f"{namespace}.svc.{cluster.domain}", f"svc.{cluster.domain}", cluster.domain)
        searches = (*(domains if cluster.domain else ()), *host.searches)
        base = ResolvConf(cluster.servers, searches, ("ndots:5",))
    elif not (wanted.nameservers or wanted.searches or own_options):
        return None
    names = {option.partition(":")[0] for option in own_options}
    inherited = [option for option in base.options if option.partition(":")[0] not in names]
    return v1.DNSConfig(
        servers=list(dict.fromkeys([*base.servers, *wanted.nameservers]))[:_MOST_SERVERS],
        searches=list(dict.fromkeys([*base.searches, *wanted.searches]))[:_MOST_SEARCHES],
        options=[*inherited, *own_options],
    )
