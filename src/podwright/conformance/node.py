"""What a kubelet asks first: who are you, are you well, what can you do?"""

import re

from podwright.conformance.bench import Bench
from podwright.conformance.checks import check, expect, optional, same
from podwright.cri import v1


@check("kubelet: kuberuntime_manager.go refuses any other version")
def version_is_0_1_0(bench: Bench) -> None:
    """Version answers 0.1.0 and four fields that are not empty."""
    answer = bench.cri.version()
    same(answer.version, "0.1.0", "version")
    for field in ("runtime_name", "runtime_version", "runtime_api_version"):
        expect(getattr(answer, field), f"{field} is empty")


@check("kubelet: parses it as a semantic version")
def runtime_version_is_semantic(bench: Bench) -> None:
    """Version names a semantic version of the runtime."""
    found = bench.cri.version().runtime_version
    expect(re.fullmatch(r"v?\d+\.\d+\.\d+([-+~].*)?", found), f"runtime_version is {found!r}")


@check("kubelet: without both the node is not ready")
def status_has_both_conditions(bench: Bench) -> None:
    """Status has the conditions RuntimeReady and NetworkReady, and both are true."""
    conditions = {one.type: one for one in bench.cri.status().status.conditions}
    for name in ("RuntimeReady", "NetworkReady"):
        expect(name in conditions, f"there is no condition {name}")
        one = conditions[name]
        expect(one.status, f"{name} is false: {one.reason}: {one.message}")


@check("kubelet: looks for the entry of pods without a RuntimeClass (api.proto, RuntimeHandler.name)")
def status_has_the_default_handler(bench: Bench) -> None:
    """Status has a handler with the empty name."""
    handlers = bench.cri.status().runtime_handlers
    expect(any(handler.name == "" for handler in handlers), f"the names are {[h.name for h in handlers]}")


@check("kubelet 1.37 needs it; 1.28 and later ask")
def runtime_config_names_the_driver(bench: Bench) -> None:
    """RuntimeConfig says who makes cgroups."""
    with optional():
        answer = bench.cri.runtime_config()
    expect(answer.HasField("linux"), "linux is not set: a kubelet takes its own setting")


@check("kubelet: UpdateRuntimeConfig is sent as soon as the node has a pod CIDR")
def pod_cidr_is_taken(bench: Bench) -> None:
    """UpdateRuntimeConfig takes an empty configuration."""
    bench.cri.update_runtime_config(v1.RuntimeConfig(network_config=v1.NetworkConfig()))


@check("kubelet: dereferences used_bytes of the first file system (eviction, image GC)")
def image_file_system_has_figures(bench: Bench) -> None:
    """ImageFsInfo gives the mount point, the used bytes and the time of each file system."""
    answer = bench.cri.image_fs_info()
    expect(answer.image_filesystems, "there is no image file system")
    for one in (*answer.image_filesystems, *answer.container_filesystems):
        expect(one.fs_id.mountpoint.startswith("/"), f"the mount point is {one.fs_id.mountpoint!r}")
        expect(one.HasField("used_bytes"), "used_bytes is not set")
        expect(one.timestamp > 0, "timestamp is not set")
