"""A Kubernetes pod in the words of CRI, as a kubelet would put it."""

from collections.abc import Mapping
from typing import Final

from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.pods import quantity, security
from podwright.pods.environment import expand
from podwright.pods.facts import Facts
from podwright.pods.schema import Container, Pod, PodSpec

_PROTOCOLS: Final = {"TCP": v1.TCP, "UDP": v1.UDP, "SCTP": v1.SCTP}
_LONGEST_HOSTNAME: Final = 63


def sandbox(
    facts: Facts,
    *,
    log_directory: str,
    dns: v1.DNSConfig | None,
    annotations: Mapping[str, str],
    cluster_domain: str = "",
) -> v1.PodSandboxConfig:
    """What RunPodSandbox is asked for, but for cgroups. `annotations` are added to the pod's."""
    pod, spec = facts.pod, facts.pod.spec
    config = v1.PodSandboxConfig(
        metadata=v1.PodSandboxMetadata(name=pod.metadata.name, namespace=facts.namespace, uid=facts.uid),
        hostname="" if spec.host_network else _seen_hostname(facts, cluster_domain),
        log_directory=log_directory,
        port_mappings=_ports(spec),
        labels={**pod.metadata.labels, **pod_labels(facts)},
        annotations={**pod.metadata.annotations, **annotations},
        linux=v1.LinuxPodSandboxConfig(
            security_context=security.sandbox(pod),
            sysctls={sysctl.name: sysctl.value for sysctl in spec.security_context.sysctls},
        ),
    )
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
    annotations: Mapping[str, str] | None = None,
) -> v1.ContainerConfig:
    """What CreateContainer is asked for; `where` is the container's path in the pod, for what is wrong with it."""
    config = v1.ContainerConfig(
        metadata=v1.ContainerMetadata(name=wanted.name, attempt=attempt),
        image=v1.ImageSpec(image=image.id or wanted.image, user_specified_image=wanted.image),
        command=[_text(expand(word.encode(), environment)) for word in wanted.command],
        args=[_text(expand(word.encode(), environment)) for word in wanted.args],
        working_dir=wanted.working_dir,
        envs=[v1.KeyValue(key=key, value=value) for key, value in environment.items()],
        mounts=mounts,
        labels={"io.kubernetes.container.name": wanted.name, **pod_labels(facts)},
        annotations={"io.kubernetes.container.restartCount": str(attempt), **(annotations or {})},
        log_path=f"{wanted.name}/{attempt}.log",
        stdin=wanted.stdin,
        stdin_once=wanted.stdin_once,
        tty=wanted.tty,
        linux=v1.LinuxContainerConfig(
            resources=quantity.limits(wanted.resources, f"{where}.resources"),
            security_context=security.container(facts.pod, wanted, image, where),
        ),
    )
    if wanted.lifecycle is not None and wanted.lifecycle.stop_signal:
        try:
            config.stop_signal = v1.Signal.Value(wanted.lifecycle.stop_signal)  # type: ignore[assignment]
        except ValueError:
            raise InvalidArgument(
                f'{where}.lifecycle.stopSignal: "{wanted.lifecycle.stop_signal}" is no signal'
            ) from None
    return config


def hostname(pod: Pod) -> str:
    """The name that the pod has for itself."""
    return pod.spec.hostname or pod.metadata.name[:_LONGEST_HOSTNAME].rstrip("-.")


def _seen_hostname(facts: Facts, cluster_domain: str) -> str:
    """What the pod is told that it is called."""
    spec, name = facts.pod.spec, hostname(facts.pod)
    if not (spec.set_hostname_as_fqdn and spec.subdomain and cluster_domain):
        return name
    full = f"{name}.{spec.subdomain}.{facts.namespace}.svc.{cluster_domain}"
    if len(full) > _LONGEST_HOSTNAME + 1:  # the kernel's limit, __NEW_UTS_LEN
        raise InvalidArgument(f'spec.setHostnameAsFQDN: "{full}" is longer than {_LONGEST_HOSTNAME + 1} characters')
    return full


def hosts_file(facts: Facts, cluster_domain: str = "") -> str:
    """The text of /etc/hosts in the pod's containers."""
    pod, name = facts.pod, hostname(facts.pod)
    if pod.spec.subdomain and cluster_domain:
        name = f"{name}.{pod.spec.subdomain}.{facts.namespace}.svc.{cluster_domain}\t{name}"
    lines = [("127.0.0.1", "localhost"), ("::1", "localhost ip6-localhost ip6-loopback")]
    lines += [(address, name) for address in facts.addresses]
    lines += [(alias.ip, " ".join(alias.hostnames)) for alias in pod.spec.host_aliases]
    return "".join(f"{address}\t{names}\n" for address, names in lines)


def pod_labels(facts: Facts) -> dict[str, str]:
    """Those by which kubelets and other tools recognise pods."""
    return {
        "io.kubernetes.pod.name": facts.pod.metadata.name,
        "io.kubernetes.pod.namespace": facts.namespace,
        "io.kubernetes.pod.uid": facts.uid,
    }


def _text(word: bytes) -> str:
    try:
        return word.decode()
    except UnicodeDecodeError:
        raise InvalidArgument(f"a command or argument is not UTF-8 once its variables are put in: {word!r}") from None


def _ports(spec: PodSpec) -> list[v1.PortMapping]:
    found = []
    for index, wanted in enumerate(spec.containers):
        for number, port in enumerate(wanted.ports):
            if spec.host_network and port.host_port not in {0, port.container_port}:
                where = f"spec.containers[{index}].ports[{number}].hostPort"
                raise InvalidArgument(f"{where}: with hostNetwork it can only be the containerPort")
            if not spec.host_network:
                found.append(
                    v1.PortMapping(
                        protocol=_PROTOCOLS[port.protocol],
                        container_port=port.container_port,
                        host_port=port.host_port,
                        host_ip=port.host_ip,
                    )
                )
    return found
