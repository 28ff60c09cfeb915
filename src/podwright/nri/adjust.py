"""What a plugin adjusts of a container that is being made, carried out on its OCI document.

Wishes that the OCI runtimes of today pass over in silence are refused: a container is as its plugins want it, or it is
not made.
"""

import os
from collections.abc import Mapping

from podwright.cri import v1 as cri
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.nri import limits, v1
from podwright.nri.describe import HOOKS
from podwright.oci import cdi, devices, mounts, process, resources
from podwright.oci.documents import Document, without_empty
from podwright.oci.host import Host

_UNSUPPORTED = ("io_priority", "net_devices", "scheduler", "memory_policy")
_PROPAGATIONS = {"shared": "rshared", "rshared": "rshared", "slave": "rslave", "rslave": "rslave"}
"""Options of mounts → what the root file system's propagation has to be for them."""


def apply(
    spec: Document,
    present: cri.LinuxContainerResources,
    wanted: v1.ContainerAdjustment,
    host: Host,
    notes: list[str],
) -> cri.LinuxContainerResources:
    """Changes the document; returns the limits that the CRI shows, `present` before. Blocking: looks at devices.

    Raises InvalidArgument, FailedPrecondition.
    """
    linux = wanted.linux
    _check(linux)
    _annotations(spec, wanted.annotations)
    _environment(spec, wanted)
    _hooks(spec, wanted.hooks)
    _rlimits(spec, wanted, host, notes)
    in_user_namespace = any(namespace["type"] == "user" for namespace in spec["linux"]["namespaces"])
    cdi.apply(spec, _cdi_names(wanted), in_user_namespace=in_user_namespace)
    _devices(spec, linux, in_user_namespace=in_user_namespace)
    _mounts(spec, wanted)
    _namespaces(spec, linux)
    _sysctls(spec, linux.sysctl)
    if linux.cgroups_path:
        _check_cgroup(linux.cgroups_path, host.driver)
        spec["linux"]["cgroupsPath"] = linux.cgroups_path
    if linux.HasField("oom_score_adj"):
        spec["process"]["oomScoreAdj"] = process.oom_score_adj(linux.oom_score_adj.value, host, notes)
    if linux.HasField("seccomp_policy"):
        spec["linux"]["seccomp"] = _seccomp(linux.seccomp_policy)
    _rdt(spec, linux)
    return _limits(spec, present, linux.resources, host, notes)


def _check(linux: v1.LinuxContainerAdjustment) -> None:
    for field, _ in linux.ListFields():
        if field.name in _UNSUPPORTED:
            raise FailedPrecondition(f"linux.{field.name}: is not supported")
    for name in ("schemata", "enable_monitoring"):
        if linux.rdt.HasField(name):
            raise FailedPrecondition(f"linux.rdt.{name}: is not supported, only clos_id is")


def _check_cgroup(path: str, driver: str) -> None:
    """Raises InvalidArgument for what cannot be linux.cgroupsPath."""
    parts = path.split(":")
    wrong = len(parts) != 3 or not parts[0].endswith(".slice") if driver == "systemd" else not os.path.isabs(path)
    if wrong or ".." in path.split("/") or "\0" in path:
        raise InvalidArgument(f'linux.cgroups_path: "{path}" is no cgroup of the driver {driver}')


def _annotations(spec: Document, wanted: Mapping[str, str]) -> None:
    annotations = spec.setdefault("annotations", {})
    for key in wanted:
        annotations.pop(key.removeprefix("-"), None)
    annotations.update({key: value for key, value in wanted.items() if not key.startswith("-")})


def _environment(spec: Document, wanted: v1.ContainerAdjustment) -> None:
    named = {variable.key.removeprefix("-") for variable in wanted.env}
    kept = [entry for entry in spec["process"].get("env", ()) if entry.partition("=")[0] not in named]
    added = [f"{variable.key}={variable.value}" for variable in wanted.env if not variable.key.startswith("-")]
    spec["process"]["env"] = [*kept, *added]
    words = list(wanted.args)
    if words:
        spec["process"]["args"] = words if words[0] else words[1:]
        if not spec["process"]["args"]:
            raise InvalidArgument("args: there is no command")


def _hooks(spec: Document, wanted: v1.Hooks) -> None:
    for field, key in HOOKS.items():
        for hook in getattr(wanted, field):
            document = without_empty({"path": hook.path, "args": list(hook.args), "env": list(hook.env)})
            if hook.HasField("timeout"):
                document["timeout"] = hook.timeout.value
            spec.setdefault("hooks", {}).setdefault(key, []).append(document)


def _rlimits(spec: Document, wanted: v1.ContainerAdjustment, host: Host, notes: list[str]) -> None:
    asked = {limit.type: (limit.soft, limit.hard) for limit in wanted.rlimits}
    if asked:
        kept = [limit for limit in spec["process"].get("rlimits", ()) if limit["type"] not in asked]
        spec["process"]["rlimits"] = [*kept, *process.limits(asked, host, notes)]


def _cdi_names(wanted: v1.ContainerAdjustment) -> list[str]:
    devices = [cri.CDIDevice(name=device.name) for device in wanted.CDI_devices]
    return cdi.names(cri.ContainerConfig(CDI_devices=devices))


def _devices(spec: Document, linux: v1.LinuxContainerAdjustment, *, in_user_namespace: bool) -> None:
    target = devices.Devices(
        spec["linux"].setdefault("devices", []), spec["linux"]["resources"].setdefault("devices", [])
    )
    for device in linux.devices:
        path = device.path.removeprefix("-")
        target.nodes[:] = [node for node in target.nodes if node["path"] != path]
        if device.path.startswith("-"):
            continue
        mode = device.file_mode.value & 0o7777 if device.HasField("file_mode") else 0o666
        kind = "c" if device.type == "u" else device.type
        node = devices.Node(path, kind, device.major, device.minor, mode, device.uid.value, device.gid.value)
        devices.place(target, path, node, in_user_namespace=in_user_namespace)
        devices.allow(target, node, "rwm")
    mounts.insert(spec["mounts"], target.mounts)


def _mounts(spec: Document, wanted: v1.ContainerAdjustment) -> None:
    gone = {mount.destination.removeprefix("-") for mount in wanted.mounts}
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["destination"] not in gone]
    added = [mount for mount in wanted.mounts if not mount.destination.startswith("-")]
    for mount in added:
        mounts.check_container_path("mounts", mount.destination)
        needed = {_PROPAGATIONS[option] for option in mount.options if option in _PROPAGATIONS}
        if "rshared" in needed:
            spec["linux"]["rootfsPropagation"] = "rshared"
        elif needed:
            spec["linux"].setdefault("rootfsPropagation", "rslave")
    documents = [
        without_empty({"destination": m.destination, "type": m.type, "source": m.source, "options": list(m.options)})
        for m in added
    ]
    mounts.insert(spec["mounts"], documents)


def _namespaces(spec: Document, linux: v1.LinuxContainerAdjustment) -> None:
    named = {namespace.type.removeprefix("-") for namespace in linux.namespaces}
    kept = [namespace for namespace in spec["linux"]["namespaces"] if namespace["type"] not in named]
    added = [
        without_empty({"type": namespace.type, "path": namespace.path})
        for namespace in linux.namespaces
        if not namespace.type.startswith("-")
    ]
    spec["linux"]["namespaces"] = [*kept, *added]


def _sysctls(spec: Document, wanted: Mapping[str, str]) -> None:
    if wanted:
        sysctls = spec["linux"].setdefault("sysctl", {})
        for key in wanted:
            sysctls.pop(key.removeprefix("-"), None)
        sysctls.update({key: value for key, value in wanted.items() if not key.startswith("-")})


def _seccomp(policy: v1.LinuxSeccomp) -> Document:
    document = without_empty(
        {
            "defaultAction": policy.default_action,
            "architectures": list(policy.architectures),
            "flags": list(policy.flags),
            "listenerPath": policy.listener_path,
            "listenerMetadata": policy.listener_metadata,
        }
    )
    if policy.HasField("default_errno"):
        document["defaultErrnoRet"] = policy.default_errno.value
    document["syscalls"] = []
    for rule in policy.syscalls:
        entry: Document = {"names": list(rule.names), "action": rule.action}
        if rule.HasField("errno_ret"):
            entry["errnoRet"] = rule.errno_ret.value
        if rule.args:
            entry["args"] = [
                {"index": word.index, "value": word.value, "valueTwo": word.value_two, "op": word.op}
                for word in rule.args
            ]
        document["syscalls"].append(entry)
    return document


def _rdt(spec: Document, linux: v1.LinuxContainerAdjustment) -> None:
    """The class of cache and memory bandwidth; an empty one stands for none."""
    if linux.rdt.remove or linux.resources.HasField("rdt_class"):
        spec["linux"].pop("intelRdt", None)
    name = linux.rdt.clos_id.value or linux.resources.rdt_class.value
    if name:
        spec["linux"]["intelRdt"] = {"closID": name}


def _limits(
    spec: Document,
    present: cri.LinuxContainerResources,
    wanted: v1.LinuxResources,
    host: Host,
    notes: list[str],
) -> cri.LinuxContainerResources:
    known, rest = limits.split(wanted)
    resources.check(known)
    merged = resources.merged(present, known)
    document = spec["linux"]["resources"]
    document.update(resources.document(merged, host, notes))
    resources.put(document, rest)
    for rule in wanted.devices:
        entry: Document = {"allow": rule.allow, "type": rule.type or "a", "access": rule.access or "rwm"}
        for number in ("major", "minor"):
            if rule.HasField(number):
                entry[number] = getattr(rule, number).value
        document.setdefault("devices", []).append(entry)
    return merged
