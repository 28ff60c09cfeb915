"""Refuses sandbox and container configurations that can never work, before anything is made for them.

Looks at messages and at what the host and the handler can do, never at files: each rule is in the module that owns
the field, here they are put together.
"""

from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.oci import (
    apparmor,
    capabilities,
    cdi,
    devices,
    mounts,
    namespaces,
    process,
    resources,
    seccomp,
    selinux,
    signals,
    sysctls,
    users,
)
from podwright.oci.features import Features
from podwright.oci.host import Host

HOSTNAME_LIMIT = 64
"""Bytes (HOST_NAME_MAX)."""


def sandbox(config: v1.PodSandboxConfig, host: Host, features: Features) -> None:
    """Raises InvalidArgument or FailedPrecondition, naming the field, unless such a sandbox can be made.

    `linux.overhead` and `linux.resources` are for information and may be anything. Port mappings are network/'s.
    """
    _check_metadata(config)
    if len(config.hostname.encode()) > HOSTNAME_LIMIT or not config.hostname.isprintable():
        raise InvalidArgument(
            f"hostname: {config.hostname!r} is longer than {HOSTNAME_LIMIT} bytes, or has a control character"
        )
    directory = config.log_directory
    if directory and (not directory.startswith("/") or ".." in directory.split("/") or "\0" in directory):
        raise InvalidArgument(f'log_directory: "{directory}" is no absolute path without ".."')
    for field in ("servers", "searches", "options"):
        for line in getattr(config.dns_config, field):
            if not line.isprintable() or " " in line:
                raise InvalidArgument(f"dns_config.{field}: {line!r} cannot stand in resolv.conf")
    linux = config.linux
    security = linux.security_context
    resources.check_parent(linux.cgroup_parent, host.driver)
    namespaces.check_sandbox(security.namespace_options, features)
    sysctls.check(linux)
    users.check(security)
    selinux.check(security.selinux_options)
    seccomp.wanted(security)
    apparmor.wanted(security)


def container(config: v1.ContainerConfig, sandbox: v1.PodSandboxConfig, features: Features) -> None:
    """Raises InvalidArgument or FailedPrecondition, naming the field, unless such a container can be in the sandbox."""
    _check_metadata(config)
    if not config.image.image:
        raise InvalidArgument("image.image: is missing")
    security, of_sandbox = config.linux.security_context, sandbox.linux.security_context
    if security.privileged and not of_sandbox.privileged:
        raise InvalidArgument(
            "linux.security_context.privileged: the sandbox was made for containers without privileges"
        )
    process.check(config)
    mounts.check(config, features)
    devices.check(config)
    cdi.names(config)
    resources.check(config.linux.resources)
    namespaces.check_container(security.namespace_options, of_sandbox.namespace_options)
    users.check(security)
    capabilities.check(security)
    selinux.check(security.selinux_options)
    seccomp.wanted(security)
    apparmor.wanted(security)
    signals.check(config.stop_signal)
    for field in ("masked_paths", "readonly_paths"):
        for path in getattr(security, field):
            mounts.check_container_path(f"linux.security_context.{field}", path)


def _check_metadata(config: v1.PodSandboxConfig | v1.ContainerConfig) -> None:
    if not config.HasField("metadata") or not config.metadata.name:
        raise InvalidArgument("metadata.name: is missing")
    for field, value in config.metadata.ListFields():
        if isinstance(value, str) and not value.isprintable():
            raise InvalidArgument(f"metadata.{field.name}: {value!r} has a control character")
