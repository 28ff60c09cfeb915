"""RuntimeConfig and UpdateRuntimeConfig: what the runtime tells the kubelet about the node, and the other way round."""

from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.server.dispatch import Call


async def runtime_config(runtime: Runtime, _request: v1.RuntimeConfigRequest, _call: Call) -> v1.RuntimeConfigResponse:
    """The cgroup driver, always said: the enum's default value would mean systemd."""
    driver = v1.SYSTEMD if runtime.host.driver == "systemd" else v1.CGROUPFS
    return v1.RuntimeConfigResponse(linux=v1.LinuxRuntimeConfiguration(cgroup_driver=driver))


async def update_runtime_config(
    runtime: Runtime, request: v1.UpdateRuntimeConfigRequest, _call: Call
) -> v1.UpdateRuntimeConfigResponse:
    """Takes the node's pod CIDR; it goes into the CNI configuration if a template is configured."""
    cidrs = request.runtime_config.network_config.pod_cidr
    if cidrs:
        await runtime.network.update_pod_cidr(cidrs)
    return v1.UpdateRuntimeConfigResponse()
