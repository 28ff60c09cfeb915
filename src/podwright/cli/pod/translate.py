"""A Kubernetes pod in the words of CRI, as a kubelet would put it."""

from collections.abc import Mapping
from typing import Final

from podwright.cli.pod import quantity, security
from podwright.cli.pod.directory import ANNOTATION, PodDirectory
from podwright.cli.pod.environment import Facts, expand
from podwright.cli.pod.schema import Container, DnsConfig, Pod
from podwright.cri import v1
from podwright.errors import InvalidArgument

_PROTOCOLS: Final = {"TCP": v1.TCP, "UDP": v1.UDP, "SCTP": v1.SCTP}
_LONGEST_HOSTNAME: Final = 63


def sandbox(facts: Facts, directory: PodDirectory, resolv_conf: str) -> v1.PodSandboxConfig:
    """What RunPodSandbox is asked for. `resolv_conf` is the text of the host's /etc/resolv.conf."""
    pod, spec = facts.pod, facts.pod.spec
    config = v1.PodSandboxConfig(
        metadata=v1.PodSandboxMetadata(name=pod.metadata.name, namespace=facts.namespace, uid=facts.uid),
        hostname="" if spec.host_network else hostname(pod),
        log_directory=directory.logs,
        port_mappings=_ports(pod),
        labels={**pod.metadata.labels, **_pod_labels(facts)},
        annotations={**pod.metadata.annotations, ANNOTATION: directory.base},
        linux=v1.LinuxPodSandboxConfig(
            security_context=security.sandbox(pod),
            sysctls={sysctl.name: sysctl.value for sysctl in spec.security_context.sysctls},
        ),
    )
    dns = _dns(spec.dns_config, resolv_conf, inherit=spec.dns_policy != "None")
    if dns is not None:
        config.dns_config.CopyFrom(dns)
    return config


def container(
    facts: Facts,
    wanted: Container,
    *,
    image: v1.Image,
    environment: Mapping[str, bytes],
    mounts: list[v1.Mount],
    attempt: int,
    where: str,
) -> v1.ContainerConfig:
    """What CreateContainer is asked for; `where` is the container's path in the pod, for what is wrong with it."""
    return v1.ContainerConfig(
        metadata=v1.ContainerMetadata(name=wanted.name, attempt=attempt),
        image=v1.ImageSpec(image=wanted.image, user_specified_image=wanted.image),
        command=[_text(expand(word.encode(), environment)) for word in wanted.command],
        args=[_text(expand(word.encode(), environment)) for word in wanted.args],
        working_dir=wanted.working_dir,
        envs=[v1.KeyValue(key=key, value=value) for key, value in environment.items()],
        mounts=mounts,
        labels={"io.kubernetes.container.name": wanted.name, **_pod_labels(facts)},
        annotations={"io.kubernetes.container.restartCount": str(attempt)},
        log_path=f"{wanted.name}/{attempt}.log",
        stdin=wanted.stdin,
        stdin_once=wanted.stdin_once,
        tty=wanted.tty,
        linux=v1.LinuxContainerConfig(
            resources=quantity.limits(wanted.resources, f"{where}.resources"),
            security_context=security.container(facts.pod, wanted, image, where),
        ),
    )


def hostname(pod: Pod) -> str:
    """The name that the pod has for itself."""
    return pod.spec.hostname or pod.metadata.name[:_LONGEST_HOSTNAME].rstrip("-.")


def hosts_file(pod: Pod, addresses: tuple[str, ...]) -> str:
    """The text of /etc/hosts in the pod's containers."""
    lines = [("127.0.0.1", "localhost"), ("::1", "localhost ip6-localhost ip6-loopback")]
    lines += [(address, hostname(pod)) for address in addresses]
    lines += [(alias.ip, " ".join(alias.hostnames)) for alias in pod.spec.host_aliases]
    return "".join(f"{address}\t{names}\n" for address, names in lines)


def _text(word: bytes) -> str:
    try:
        return word.decode()
    except UnicodeDecodeError:
        raise InvalidArgument(f"a command or argument is not UTF-8 once its variables are put in: {word!r}") from None


def _pod_labels(facts: Facts) -> dict[str, str]:
    """Those by which kubelets and other tools recognise pods."""
    return {
        "io.kubernetes.pod.name": facts.pod.metadata.name,
        "io.kubernetes.pod.namespace": facts.namespace,
        "io.kubernetes.pod.uid": facts.uid,
    }


def _ports(pod: Pod) -> list[v1.PortMapping]:
    found = []
    for index, wanted in enumerate(pod.spec.containers):
        for number, port in enumerate(wanted.ports):
            if pod.spec.host_network and port.host_port not in {0, port.container_port}:
                where = f"spec.containers[{index}].ports[{number}].hostPort"
                raise InvalidArgument(f"{where}: with hostNetwork it can only be the containerPort")
            if not pod.spec.host_network:
                found.append(
                    v1.PortMapping(
                        protocol=_PROTOCOLS[port.protocol],
                        container_port=port.container_port,
                        host_port=port.host_port,
                        host_ip=port.host_ip,
                    )
                )
    return found


def _dns(wanted: DnsConfig, resolv_conf: str, *, inherit: bool) -> v1.DNSConfig | None:
    """None leaves it to the runtime, which copies the host's."""
    if inherit and not (wanted.nameservers or wanted.searches or wanted.options):
        return None
    options = [item.name if item.value is None else f"{item.name}:{item.value}" for item in wanted.options]
    if not inherit:
        return v1.DNSConfig(servers=wanted.nameservers, searches=wanted.searches, options=options)
    host: dict[str, list[str]] = {"nameserver": [], "search": [], "options": []}
    for line in resolv_conf.splitlines():
        keyword, *values = line.split() or [""]
        if keyword in host:
            host[keyword] = host[keyword] + values if keyword == "nameserver" else values
    return v1.DNSConfig(
        servers=dict.fromkeys([*host["nameserver"], *wanted.nameservers]),
        searches=dict.fromkeys([*host["search"], *wanted.searches]),
        options=dict.fromkeys([*host["options"], *options]),
    )
