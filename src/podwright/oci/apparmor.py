"""Which AppArmor profile a container gets, and the text and loading of our own.

Where the kernel has no AppArmor, RuntimeDefault means none, and a named profile is refused.
"""

from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.kernel.run import run
from podwright.oci.host import Host

DEFAULT_PROFILE = "podwright-default"
LOAD_SECONDS = 60.0

# Written for apparmor_parser 2.13 and later. mount is denied as a whole; the rest keeps off what is not a container's
# own in /proc and /sys, also for a process with all capabilities.
_TEXT = f"""\
#include <tunables/global>

profile {DEFAULT_PROFILE} flags=(attach_disconnected,mediate_deleted) {{
  #include <abstractions/base>

  network,
  capability,
  file,
  umount,

  # Whoever is unconfined may signal the processes of a container (the daemon does), and so may OCI runtimes, which
  # some hosts confine; they may signal one another.
  signal (receive) peer=unconfined,
  signal (receive) peer=crun,
  signal (receive) peer=runc,
  signal (send,receive) peer={DEFAULT_PROFILE},
  ptrace (trace,read,tracedby,readby) peer={DEFAULT_PROFILE},

  deny mount,

  deny @{{PROC}}/kcore rwklx,
  deny @{{PROC}}/kmem rwklx,
  deny @{{PROC}}/mem rwklx,
  deny @{{PROC}}/sysrq-trigger rwklx,
  deny @{{PROC}}/acpi/** wklx,
  deny @{{PROC}}/sys/kernel/core_pattern wklx,
  deny @{{PROC}}/sys/kernel/modprobe wklx,
  deny @{{PROC}}/sys/kernel/hotplug wklx,

  deny /sys/firmware/** rwklx,
  deny /sys/kernel/security/** rwklx,
  deny /sys/kernel/debug/** rwklx,
  deny /sys/fs/bpf/** wklx,
}}
"""


def wanted(security: v1.LinuxContainerSecurityContext | v1.LinuxSandboxSecurityContext) -> v1.SecurityProfile:
    """The profile that is asked for; the newer field wins over the string of older kubelets, and nothing at all means
    the default. Raises InvalidArgument, naming the field.
    """
    field = "linux.security_context.apparmor"
    if security.HasField("apparmor"):
        asked = security.apparmor
    elif isinstance(security, v1.LinuxContainerSecurityContext):
        field = "linux.security_context.apparmor_profile"
        asked = _from_text(field, security.apparmor_profile)
    else:
        return v1.SecurityProfile(profile_type=v1.SecurityProfile.RuntimeDefault)
    if asked.profile_type not in v1.SecurityProfile.ProfileType.values():
        raise InvalidArgument(f"{field}.profile_type: there is no type {asked.profile_type}")
    if (asked.profile_type == v1.SecurityProfile.Localhost) != bool(asked.localhost_ref):
        raise InvalidArgument(f"{field}.localhost_ref: is for type Localhost, and needed there")
    return asked


def _from_text(field: str, text: str) -> v1.SecurityProfile:
    if text in ("", "runtime/default"):
        return v1.SecurityProfile(profile_type=v1.SecurityProfile.RuntimeDefault)
    if text == "unconfined":
        return v1.SecurityProfile(profile_type=v1.SecurityProfile.Unconfined)
    if text.startswith("localhost/"):
        name = text.removeprefix("localhost/")
        return v1.SecurityProfile(profile_type=v1.SecurityProfile.Localhost, localhost_ref=name)
    raise InvalidArgument(f'{field}: "{text}" is no profile')


def profile(
    security: v1.LinuxContainerSecurityContext | v1.LinuxSandboxSecurityContext, host: Host, notes: list[str]
) -> str:
    """process.apparmorProfile; empty for none, which privileged containers always get (api.proto, privileged).

    Raises FailedPrecondition if a named profile is not loaded, or the kernel has no AppArmor.
    """
    asked = wanted(security)
    name = asked.localhost_ref.removeprefix("localhost/")
    if name:
        if not host.apparmor:
            raise FailedPrecondition(f'AppArmor profile "{name}": this kernel has no AppArmor')
        if name not in host.apparmor_profiles():
            raise FailedPrecondition(f'AppArmor profile "{name}": is not loaded')
        return "" if security.privileged else name
    if not host.apparmor or security.privileged or asked.profile_type == v1.SecurityProfile.Unconfined:
        return ""
    if DEFAULT_PROFILE not in host.apparmor_profiles():
        notes.append(f'AppArmor profile "{DEFAULT_PROFILE}" is not loaded: the container runs without one')
        return ""
    return DEFAULT_PROFILE


async def load_default() -> None:
    """Loads our own profile, in place of an earlier one, by apparmor_parser(8). Raises Internal, DeadlineExceeded."""
    done = await run(["apparmor_parser", "--replace", "--skip-cache"], stdin=_TEXT.encode(), timeout=LOAD_SECONDS)
    done.check(f'cannot load the AppArmor profile "{DEFAULT_PROFILE}"')
