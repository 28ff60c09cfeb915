"""Pods and containers as plugins see them: messages out of records, and out of the containers' OCI documents."""

from collections.abc import Mapping
from typing import Any, cast

from podwright.cri import v1 as cri
from podwright.nri import limits, v1
from podwright.oci.documents import Document
from podwright.state.records import Container, ContainerPhase, Sandbox

HOOKS: Mapping[str, str] = {
    "prestart": "prestart",
    "create_runtime": "createRuntime",
    "create_container": "createContainer",
    "start_container": "startContainer",
    "poststart": "poststart",
    "poststop": "poststop",
}
"""Fields of NRI → keys of the OCI document."""

_STATES: Mapping[ContainerPhase, v1.ContainerState] = {
    "creating": v1.CONTAINER_UNKNOWN,  # as containerd has it
    "created": v1.CONTAINER_CREATED,
    "starting": v1.CONTAINER_CREATED,
    "running": v1.CONTAINER_RUNNING,
    "exited": v1.CONTAINER_STOPPED,
    "removing": v1.CONTAINER_STOPPED,
}

_NAMESPACES = {"net": "network"}
"""Where OCI has another word than /proc/<pid>/ns."""


def pod(sandbox: Sandbox, namespaces: Mapping[Any, str]) -> v1.PodSandbox:
    """A sandbox, which has these namespaces pinned at these paths."""
    config, status = sandbox.config, sandbox.status
    resized = cri.UpdatePodSandboxResourcesRequest.FromString(status.resources)
    overhead = resized.overhead if resized.HasField("overhead") else config.linux.overhead
    sums = resized.resources if resized.HasField("resources") else config.linux.resources
    return v1.PodSandbox(
        id=sandbox.id,
        name=config.metadata.name,
        uid=config.metadata.uid,
        namespace=config.metadata.namespace,
        labels=config.labels,
        annotations=config.annotations,
        runtime_handler=sandbox.facts.requested_handler,
        linux=v1.LinuxPodSandbox(
            pod_overhead=limits.from_cri(overhead),
            pod_resources=limits.from_cri(sums),
            cgroup_parent=sandbox.facts.cgroup_parent,
            namespaces=[
                v1.LinuxNamespace(type=_NAMESPACES.get(kind, kind), path=path) for kind, path in namespaces.items()
            ],
        ),
        pid=status.infra.pid if status.infra is not None else 0,
        ips=status.ips,
    )


def container(record: Container, spec: Document) -> v1.Container:
    """A container with this OCI document, which may be empty where it is no longer to be had."""
    config, facts, status = record.config, record.facts, record.status
    process: Document = spec.get("process", {})
    name, _, digest = facts.image_ref.rpartition("@")
    described = v1.Container(
        id=record.id,
        pod_sandbox_id=record.sandbox.id,
        name=config.metadata.name,
        state=_STATES[status.phase],
        labels=config.labels,
        annotations={**spec.get("annotations", {}), **config.annotations},
        args=process.get("args"),
        env=process.get("env"),
        mounts=[
            v1.Mount(
                destination=mount["destination"],
                type=mount.get("type"),
                source=mount.get("source"),
                options=mount.get("options"),
            )
            for mount in spec.get("mounts", ())
        ],
        linux=_linux(config, spec),
        pid=status.process.pid if status.process is not None else 0,
        rlimits=[v1.POSIXRlimit(**limit) for limit in process.get("rlimits", ())],
        created_at=facts.created_at,
        started_at=status.started_at,
        finished_at=status.finished_at,
        exit_code=status.exit_code,
        status_reason=status.reason,
        status_message=status.message,
        CDI_devices=[v1.CDIDevice(name=device.name) for device in config.CDI_devices],
        image=v1.Image(name=facts.image_name, digest=digest if name else "", config_digest=facts.image_id),
    )
    if "user" in process:
        user = process["user"]
        described.user.MergeFrom(
            v1.User(uid=user["uid"], gid=user["gid"], additional_gids=user.get("additionalGids", ()))
        )
    for field, key in HOOKS.items():
        getattr(described.hooks, field).extend(_hook(hook) for hook in spec.get("hooks", {}).get(key, ()))
    return described


def _hook(document: Document) -> v1.Hook:
    hook = v1.Hook(path=document["path"], args=document.get("args"), env=document.get("env"))
    if "timeout" in document:
        hook.timeout.value = document["timeout"]
    return hook


def _linux(config: cri.ContainerConfig, spec: Document) -> v1.LinuxContainer:
    linux: Document = spec.get("linux", {})
    found = v1.LinuxContainer(
        namespaces=[v1.LinuxNamespace(type=n["type"], path=n.get("path")) for n in linux.get("namespaces", ())],
        devices=[_device(device) for device in linux.get("devices", ())],
        resources=limits.from_document(linux.get("resources", {})),
        cgroups_path=linux.get("cgroupsPath"),
        sysctl=linux.get("sysctl"),
    )
    if "oomScoreAdj" in spec.get("process", {}):
        found.oom_score_adj.value = spec["process"]["oomScoreAdj"]
    if "seccomp" in linux:
        found.seccomp_policy.CopyFrom(_seccomp(linux["seccomp"]))
    security = config.linux.security_context
    if security.HasField("seccomp"):
        asked = security.seccomp
        found.seccomp_profile.profile_type = cast("v1.SecurityProfile.ProfileType", asked.profile_type)
        found.seccomp_profile.localhost_ref = asked.localhost_ref
    if linux.get("intelRdt", {}).get("closID"):
        found.rdt.clos_id.value = linux["intelRdt"]["closID"]
    return found


def _device(document: Document) -> v1.LinuxDevice:
    device = v1.LinuxDevice(
        path=document["path"], type=document["type"], major=document.get("major"), minor=document.get("minor")
    )
    for field, key in (("file_mode", "fileMode"), ("uid", "uid"), ("gid", "gid")):
        if document.get(key) is not None:
            getattr(device, field).value = document[key]
    return device


def _seccomp(document: Document) -> v1.LinuxSeccomp:
    found = v1.LinuxSeccomp(
        default_action=document["defaultAction"],
        architectures=document.get("architectures"),
        flags=document.get("flags"),
        listener_path=document.get("listenerPath"),
        listener_metadata=document.get("listenerMetadata"),
    )
    if document.get("defaultErrnoRet") is not None:
        found.default_errno.value = document["defaultErrnoRet"]
    for rule in document.get("syscalls", ()):
        entry = found.syscalls.add(names=rule["names"], action=rule["action"])
        if rule.get("errnoRet") is not None:
            entry.errno_ret.value = rule["errnoRet"]
        for word in rule.get("args", ()):
            entry.args.add(index=word["index"], value=word["value"], value_two=word.get("valueTwo", 0), op=word["op"])
    return found
