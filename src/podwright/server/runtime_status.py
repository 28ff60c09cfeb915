"""Status."""

import json
import os
from typing import Any

from podwright import __version__
from podwright.core.runtime import Handler, Runtime
from podwright.cri import v1
from podwright.server.dispatch import Call


async def status(runtime: Runtime, request: v1.StatusRequest, _call: Call) -> v1.StatusResponse:
    """Readiness, handlers and features. Kubelets ask every five seconds, so nothing is run or waited for."""
    network = runtime.network.status()
    missing = _missing_programs(runtime)
    conditions = [
        v1.RuntimeCondition(
            type="RuntimeReady",
            status=not missing,
            reason="ProgramMissing" if missing else "",
            message=f"not found or not executable: {', '.join(missing)}" if missing else "",
        ),
        v1.RuntimeCondition(type="NetworkReady", status=network.ready, reason=network.reason, message=network.message),
    ]
    # Kubelets take the entry with the empty name for pods without a RuntimeClass.
    default = runtime.handler("")
    handlers = [_handler("", default), *(_handler(name, handler) for name, handler in runtime.handlers.items())]
    return v1.StatusResponse(
        status=v1.RuntimeStatus(conditions=conditions),
        info={"config": json.dumps(_info(runtime))} if request.verbose else None,
        runtime_handlers=handlers,
        features=v1.RuntimeFeatures(
            supplemental_groups_policy=True,
            user_namespaces_host_network=any(h.features.user_namespaces for h in runtime.handlers.values()),
            mount_options=True,
        ),
    )


def _missing_programs(runtime: Runtime) -> list[str]:
    programs = {runtime.settings.conmon, runtime.handler("").runtime.program}
    return sorted(program for program in programs if not os.access(program, os.X_OK))


def _handler(name: str, handler: Handler) -> v1.RuntimeHandler:
    return v1.RuntimeHandler(
        name=name,
        features=v1.RuntimeHandlerFeatures(
            recursive_read_only_mounts=handler.features.recursive_read_only,
            user_namespaces=handler.features.user_namespaces,
        ),
    )


def _info(runtime: Runtime) -> dict[str, Any]:
    return {
        "version": __version__,
        "configFile": runtime.settings.config_file,
        "root": runtime.paths.root,
        "state": runtime.paths.state,
        "cgroupMode": runtime.host.cgroups.mode,
        "cgroupDriver": runtime.host.driver,
        "defaultHandler": runtime.settings.default_handler,
        "cni": {"confDir": runtime.network.settings.config_dir, "binDirs": runtime.network.settings.plugin_dirs},
        "streams": runtime.streams.base_url,
        "handlers": {name: handler.runtime.program for name, handler in runtime.handlers.items()},
        "sandboxes": len(runtime.index.sandboxes),
        "containers": len(runtime.index.containers),
    }
