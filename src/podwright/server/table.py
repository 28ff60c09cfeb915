"""Which function serves which RPC."""

from collections.abc import Mapping

from podwright.server import (
    container_create,
    container_exec_sync,
    container_list,
    container_log,
    container_remove,
    container_start,
    container_stats,
    container_status,
    container_stop,
    container_update,
    image_fs_info,
    image_list,
    image_pull,
    image_remove,
    image_status,
    runtime_config,
    runtime_status,
    sandbox_list,
    sandbox_remove,
    sandbox_run,
    sandbox_status,
    sandbox_stop,
    version,
)
from podwright.server.dispatch import Streaming, Unary

HANDLERS: Mapping[str, Unary | Streaming] = {
    "Version": version.version,
    "Status": runtime_status.status,
    "RuntimeConfig": runtime_config.runtime_config,
    "UpdateRuntimeConfig": runtime_config.update_runtime_config,
    "RunPodSandbox": sandbox_run.run_pod_sandbox,
    "StopPodSandbox": sandbox_stop.stop_pod_sandbox,
    "RemovePodSandbox": sandbox_remove.remove_pod_sandbox,
    "PodSandboxStatus": sandbox_status.pod_sandbox_status,
    "ListPodSandbox": sandbox_list.list_pod_sandbox,
    "CreateContainer": container_create.create,
    "StartContainer": container_start.start,
    "StopContainer": container_stop.stop,
    "RemoveContainer": container_remove.remove,
    "ListContainers": container_list.list_containers,
    "ContainerStatus": container_status.container_status,
    "UpdateContainerResources": container_update.update_resources,
    "ReopenContainerLog": container_log.reopen,
    "ExecSync": container_exec_sync.exec_sync,
    "ContainerStats": container_stats.container_stats,
    "ListContainerStats": container_stats.list_container_stats,
    "ListImages": image_list.list_images,
    "ImageStatus": image_status.image_status,
    "PullImage": image_pull.pull_image,
    "RemoveImage": image_remove.remove_image,
    "ImageFsInfo": image_fs_info.image_fs_info,
}
"""By the RPC's name. One that is not here is answered with UNIMPLEMENTED."""
