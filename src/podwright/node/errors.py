"""Why a container cannot go on at present. What is raised is shown to users as it is."""

from podwright.errors import PodwrightError


class Waiting(PodwrightError):
    """A container cannot be started yet: what its status says meanwhile, in the kubelet's words."""

    def __init__(self, reason: str, message: str) -> None:
        """`reason` is one of the kubelet's: ErrImagePull, CreateContainerConfigError …"""
        super().__init__(message)
        self.reason = reason
