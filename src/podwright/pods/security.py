"""Security contexts of pods and containers in the words of CRI, with a kubelet's defaults."""

from typing import Final, TypeVar

from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.pods.schema import Container, ContainerSecurity, Pod, PodSpec, Profile, SELinux

Value = TypeVar("Value")

# What kubelets hide from containers with procMount Default.
MASKED_PATHS: Final = (
    *("/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"),
    *("/sys/devices/virtual/powercap",),
)
READONLY_PATHS: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_SECCOMP_ROOT: Final = "/var/lib/kubelet/seccomp"
"""Where kubelets look for localhost profiles; they give the runtime an absolute path."""


def namespaces(spec: PodSpec) -> v1.NamespaceOption:
    """Which namespaces the pod and its containers share."""
    pid = v1.POD if spec.share_process_namespace else v1.CONTAINER
    return v1.NamespaceOption(
        network=v1.NODE if spec.host_network else v1.POD,
        pid=v1.NODE if spec.host_pid else pid,
        ipc=v1.NODE if spec.host_ipc else v1.POD,
    )


def sandbox(pod: Pod) -> v1.LinuxSandboxSecurityContext:
    """The security context of the sandbox."""
    wanted, spec = pod.spec.security_context, pod.spec
    context = v1.LinuxSandboxSecurityContext(
        namespace_options=namespaces(spec),
        supplemental_groups=_groups(pod),
        supplemental_groups_policy=v1.Strict if wanted.supplemental_groups_policy == "Strict" else v1.Merge,
        privileged=any(item.security_context.privileged for item in [*spec.init_containers, *spec.containers]),
        seccomp=v1.SecurityProfile(profile_type=v1.SecurityProfile.RuntimeDefault),
    )
    if wanted.run_as_user is not None:
        context.run_as_user.value = wanted.run_as_user
        if wanted.run_as_group is not None:
            context.run_as_group.value = wanted.run_as_group
    if wanted.se_linux_options is not None:
        context.selinux_options.CopyFrom(_selinux(wanted.se_linux_options))
    return context


def container(pod: Pod, wanted: Container, image: v1.Image, where: str) -> v1.LinuxContainerSecurityContext:
    """The security context of a container: its own settings, then the pod's, then a kubelet's defaults.

    Raises InvalidArgument where the container would run as root and must not.
    """
    own, of_pod = wanted.security_context, pod.spec.security_context
    user, group = _either(own.run_as_user, of_pod.run_as_user), _either(own.run_as_group, of_pod.run_as_group)
    if _either(own.run_as_non_root, of_pod.run_as_non_root):
        _refuse_root(user, image, f"{where}.securityContext.runAsNonRoot")
    unmasked = own.privileged or own.proc_mount == "Unmasked"
    context = v1.LinuxContainerSecurityContext(
        capabilities=v1.Capability(
            add_capabilities=[_capability(name) for name in own.capabilities.add],
            drop_capabilities=[_capability(name) for name in own.capabilities.drop],
        ),
        privileged=own.privileged,
        namespace_options=namespaces(pod.spec),
        readonly_rootfs=own.read_only_root_filesystem,
        supplemental_groups=_groups(pod),
        supplemental_groups_policy=v1.Strict if of_pod.supplemental_groups_policy == "Strict" else v1.Merge,
        no_new_privs=_no_new_privileges(own, where),
        masked_paths=() if unmasked else MASKED_PATHS,
        readonly_paths=() if unmasked else READONLY_PATHS,
        seccomp=_profile(_either(own.seccomp_profile, of_pod.seccomp_profile), _SECCOMP_ROOT),
    )
    app_armor = _either(own.app_armor_profile, of_pod.app_armor_profile)
    if app_armor is not None:
        context.apparmor.CopyFrom(_profile(app_armor, ""))
    if user is not None:
        context.run_as_user.value = user
    elif group is not None:  # CRI wants a user with each group
        context.run_as_user.value = image.uid.value
    if group is not None:
        context.run_as_group.value = group
    selinux = _either(own.se_linux_options, of_pod.se_linux_options)
    if selinux is not None:
        context.selinux_options.CopyFrom(_selinux(selinux))
    return context


def _either(own: Value | None, of_pod: Value | None) -> Value | None:
    return of_pod if own is None else own


def _groups(pod: Pod) -> list[int]:
    group = pod.spec.security_context.fs_group
    return [*pod.spec.security_context.supplemental_groups, *([] if group is None else [group])]


def _no_new_privileges(own: ContainerSecurity, where: str) -> bool:
    if own.allow_privilege_escalation is False:
        if own.privileged or "SYS_ADMIN" in map(_capability, own.capabilities.add):
            raise InvalidArgument(
                f"{where}.securityContext.allowPrivilegeEscalation: cannot be false with privileged or SYS_ADMIN"
            )
        return True
    return False


def _capability(name: str) -> str:
    return name.upper().removeprefix("CAP_")


def _refuse_root(user: int | None, image: v1.Image, where: str) -> None:
    if user == 0:
        raise InvalidArgument(f"{where}: runAsUser is 0")
    if user is None and image.username:
        raise InvalidArgument(
            f'{where}: the image\'s user "{image.username}" is a name, that may be root: set runAsUser'
        )
    if user is None and image.uid.value == 0:
        raise InvalidArgument(f"{where}: the image's user is root: set runAsUser")


def _profile(wanted: Profile | None, root: str) -> v1.SecurityProfile:
    kinds = v1.SecurityProfile
    if wanted is None or wanted.type == "Unconfined":
        return v1.SecurityProfile(profile_type=kinds.Unconfined)
    if wanted.type == "RuntimeDefault":
        return v1.SecurityProfile(profile_type=kinds.RuntimeDefault)
    reference = f"{root}/{wanted.localhost_profile}" if root else wanted.localhost_profile
    return v1.SecurityProfile(profile_type=kinds.Localhost, localhost_ref=reference)


def _selinux(wanted: SELinux) -> v1.SELinuxOption:
    return v1.SELinuxOption(user=wanted.user, role=wanted.role, type=wanted.type, level=wanted.level)
