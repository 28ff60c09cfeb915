"""A plugin as a program that the daemon starts: containers get a variable with its name and its configuration."""

import os
import socket

from podwright.nri import v1
from support.nri import Plugin


def main() -> None:
    """Takes part until the daemon leaves."""
    connected = socket.socket(fileno=int(os.environ["NRI_PLUGIN_SOCKET"]))
    plugin = Plugin(connected, events=1 << (v1.CREATE_CONTAINER - 1))

    def adjust(_request: object) -> v1.CreateContainerResponse:
        (configured,) = plugin.requests("Configure")
        value = f"{os.environ['NRI_PLUGIN_IDX']}-{os.environ['NRI_PLUGIN_NAME']}: {configured.config}"
        variable = v1.KeyValue(key="INSTALLED", value=value)
        return v1.CreateContainerResponse(adjust=v1.ContainerAdjustment(env=[variable]))

    plugin.replies["CreateContainer"] = adjust
    plugin.start()
    plugin.left.wait()


if __name__ == "__main__":
    main()
