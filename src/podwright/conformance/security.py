"""Users, capabilities, read-only roots: what a security context asks for reaches the process."""

import uuid
from typing import Any

from podwright.conformance.bench import Bench
from podwright.conformance.checks import check, expect, refused, same
from podwright.cri import v1


def _inside(bench: Bench, script: str, **fields: Any) -> str:  # noqa: ANN401  fields of the security context
    """What a script prints in a container with this security context."""
    config = bench.container_config("sh", "-c", script, name=f"inside-{uuid.uuid4()}")
    config.linux.security_context.MergeFrom(v1.LinuxContainerSecurityContext(**fields))
    container = bench.cri.create_container(bench.pod(), config, sandbox_config=bench.pod_config()).container_id
    bench.cri.start_container(container)
    bench.wait("the script ends", lambda: bench.status(container).state == v1.CONTAINER_EXITED)
    lines = [line.partition(" F ")[2] for line in bench.log(bench.status(container))]
    return "\n".join(lines)


@check("api.proto, LinuxContainerSecurityContext.run_as_user, run_as_group, supplemental_groups")
def ids(bench: Bench) -> None:
    """User, group and further groups are those asked for."""
    found = _inside(
        bench,
        "id -u; id -g; id -G",
        run_as_user=v1.Int64Value(value=1234),
        run_as_group=v1.Int64Value(value=2345),
        supplemental_groups=[3456],
    ).split("\n")
    same(found[:2], ["1234", "2345"], "user and group")
    same(set(found[2].split()), {"2345", "3456"}, "groups")


@check("api.proto, run_as_group: MUST fail without a user")
def group_needs_a_user(bench: Bench) -> None:
    """run_as_group without a user is refused."""
    config = bench.container_config()
    config.linux.security_context.run_as_group.value = 1000
    with refused("a container with a group and no user"):
        bench.cri.create_container(bench.pod(), config, sandbox_config=bench.pod_config())


@check("api.proto, run_as_username: must exist in the image")
def unknown_user(bench: Bench) -> None:
    """A user name that the image does not have is refused."""
    config = bench.container_config()
    config.linux.security_context.run_as_username = "no-such-user"
    with refused("a container with an unknown user"):
        bench.cri.create_container(bench.pod(), config, sandbox_config=bench.pod_config())


@check("api.proto, Capability")
def capabilities(bench: Bench) -> None:
    """Capabilities are dropped and added; ALL goes before single names."""
    script = "grep CapEff /proc/self/status | cut -f2"
    none = _inside(bench, script, capabilities=v1.Capability(drop_capabilities=["ALL"]))
    same(int(none, 16), 0, "the effective set without any")
    one = _inside(bench, script, capabilities=v1.Capability(drop_capabilities=["ALL"], add_capabilities=["CHOWN"]))
    same(int(one, 16), 1, "the effective set with CHOWN only")


@check("api.proto, readonly_rootfs, no_new_privs")
def read_only_root(bench: Bench) -> None:
    """The root file system can be read-only, and no_new_privs is set where it is asked for."""
    script = "touch /file 2>/dev/null || echo refused; grep NoNewPrivs /proc/self/status | cut -f2"
    same(_inside(bench, script, readonly_rootfs=True, no_new_privs=True), "refused\n1", "what the script says")


@check("Kubernetes: procMount Default")
def masked_paths(bench: Bench) -> None:
    """Masked paths cannot be read, read-only paths cannot be written."""
    script = "head -c 1 /proc/kcore 2>/dev/null | wc -c; echo 1 2>/dev/null >/proc/sys/kernel/panic || echo refused"
    found = _inside(bench, script, masked_paths=["/proc/kcore"], readonly_paths=["/proc/sys"])
    same(found, "0\nrefused", "what the script says")


@check("api.proto, SecurityProfile")
def missing_seccomp_profile(bench: Bench) -> None:
    """A seccomp profile that does not exist is refused."""
    config = bench.container_config()
    profile = v1.SecurityProfile(profile_type=v1.SecurityProfile.Localhost, localhost_ref="/no/such/profile.json")
    config.linux.security_context.seccomp.CopyFrom(profile)
    pod = bench.pod()
    with refused("a container with a missing seccomp profile"):
        bench.cri.create_container(pod, config, sandbox_config=bench.pod_config())
    expect(not bench.listed(pod), "a container is left")
