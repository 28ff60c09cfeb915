"""Version."""

from podwright import __version__
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.server.dispatch import Call

KUBELET_API_VERSION = "0.1.0"
"""What kubelets compare with (kuberuntime_manager.go: ErrVersionNotSupported); it has never changed."""


async def version(_runtime: Runtime, _request: v1.VersionRequest, call: Call) -> v1.VersionResponse:
    """Name and version of the runtime, and the API version that the question came in."""
    return v1.VersionResponse(
        version=KUBELET_API_VERSION,
        runtime_name="podwright",
        runtime_version=__version__,
        runtime_api_version=call.version,
    )
