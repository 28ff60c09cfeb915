"""Devices by their CDI name (Container Device Interface): specifications on the node say what a name stands for.

A name is vendor/class=device. Files in /etc/cdi and, with priority, /var/run/cdi are read when a container asks for
one, so that nothing has to be watched. https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.oci import devices
from podwright.oci.documents import Document
from podwright.oci.mounts import insert

DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
"""Of two devices with one name, the one in the later directory counts."""
ANNOTATION_PREFIX = "cdi.k8s.io/"
SPEC_LIMIT = 4 << 20
"""Bytes of a specification that are read."""

_NAME = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?/[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?=[^\s=/]+", re.ASCII
)
_HOOKS = frozenset({"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"})


@dataclass(frozen=True, slots=True)
class _Found:
    """A device in a specification."""

    file: str
    edits: tuple[Mapping[str, Any], ...]
    """Of the file, and of the device."""


def names(config: v1.ContainerConfig) -> list[str]:
    """The names that a container asks for, each once. Raises InvalidArgument for what is no name."""
    found = [(f"CDI_devices[{index}]", device.name) for index, device in enumerate(config.CDI_devices)]
    for key, value in sorted(config.annotations.items()):
        if key.startswith(ANNOTATION_PREFIX):
            found += [(f'annotations["{key}"]', name) for name in value.split(",")]
    for field, name in found:
        if not _NAME.fullmatch(name):
            raise InvalidArgument(f'{field}: "{name}" is no CDI name such as vendor.com/class=device')
    return list(dict.fromkeys(name for _, name in found))


def apply(spec: Document, wanted: Sequence[str], *, in_user_namespace: bool) -> None:
    """Changes the configuration of a container so that it has the devices `wanted`.

    Raises FailedPrecondition if one is not to be found, or a specification that has it is damaged.
    """
    if not wanted:
        return
    known, damaged = _scan(DIRECTORIES)
    missing = [name for name in wanted if name not in known]
    if missing:
        hint = f"; unreadable: {'; '.join(damaged)}" if damaged else ""
        raise FailedPrecondition(f"no CDI specification in {', '.join(DIRECTORIES)} has {', '.join(missing)}{hint}")
    done: set[str] = set()
    for name in wanted:
        found = known[name]
        of_file, of_device = found.edits
        try:
            for edits in (of_device,) if found.file in done else (of_file, of_device):
                _edit(spec, edits, in_user_namespace=in_user_namespace)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise FailedPrecondition(f'CDI specification "{found.file}": device "{name}": {error!r}') from None
        done.add(found.file)


def _scan(directories: Sequence[str]) -> tuple[dict[str, _Found], list[str]]:
    """All devices, and what is wrong with files that cannot be read. One name twice in a directory is no name."""
    known: dict[str, _Found] = {}
    damaged = []
    for directory in directories:
        here: dict[str, _Found] = {}
        twice: set[str] = set()
        for file in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
            path = f"{directory}/{file}"
            if not file.endswith((".json", ".yaml", ".yml")):
                continue
            try:
                for name, found in _read(path).items():
                    if name in here:
                        twice.add(name)
                        damaged.append(f'"{name}" is in both "{here[name].file}" and "{path}"')
                    here[name] = found
            except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
                damaged.append(f'"{path}": {error}')
        known = {name: found for name, found in {**known, **here}.items() if name not in twice}
    return known, damaged


def _read(path: str) -> dict[str, _Found]:
    with open(path, "rb") as file:
        text = file.read(SPEC_LIMIT + 1)
    if len(text) > SPEC_LIMIT:
        raise ValueError(f"is larger than {SPEC_LIMIT} bytes")
    spec = json.loads(text) if path.endswith(".json") else yaml.safe_load(text)
    edits = spec.get("containerEdits") or {}
    return {
        f"{spec['kind']}={device['name']}": _Found(path, (edits, device.get("containerEdits") or {}))
        for device in spec.get("devices") or ()
    }


def _edit(spec: Document, edits: Mapping[str, Any], *, in_user_namespace: bool) -> None:
    process, linux = spec["process"], spec["linux"]
    for variable in edits.get("env") or ():
        name = variable.partition("=")[0]
        process["env"] = [*(other for other in process["env"] if other.partition("=")[0] != name), variable]
    target = devices.Devices(linux.setdefault("devices", []), linux["resources"].setdefault("devices", []))
    for wish in edits.get("deviceNodes") or ():
        node = _node(wish)
        devices.place(target, wish["path"], node, in_user_namespace=in_user_namespace)
        devices.allow(target, node, wish.get("permissions") or "rwm")
    mounts = [*target.mounts, *(_mount(wish) for wish in edits.get("mounts") or ())]
    insert(spec["mounts"], mounts)
    for wish in edits.get("hooks") or ():
        if wish["hookName"] not in _HOOKS:
            raise ValueError(f'there is no hook "{wish["hookName"]}"')
        hook = {key: wish[key] for key in ("path", "args", "env", "timeout") if wish.get(key) is not None}
        spec.setdefault("hooks", {}).setdefault(wish["hookName"], []).append(hook)
    if edits.get("intelRdt"):
        linux["intelRdt"] = dict(edits["intelRdt"])
    groups = process["user"].setdefault("additionalGids", [])
    groups += [gid for gid in edits.get("additionalGids") or () if gid not in groups]


def _node(wish: Mapping[str, Any]) -> devices.Node:
    """The device of an entry of deviceNodes; what is not said there is as on the host."""
    path = wish.get("hostPath") or wish["path"]
    found = devices.find(os.path.realpath(path))
    kind = wish.get("type") or (found.kind if found else "")
    kind = "c" if kind == "u" else kind
    if kind not in ("b", "c", "p") or (found is None and kind != "p" and not wish.get("major")):
        raise ValueError(f'"{path}" is no device of this host')
    return devices.Node(
        path=found.path if found else path,
        kind=kind,
        major=_given(wish, "major", found.major if found else 0),
        minor=_given(wish, "minor", found.minor if found else 0),
        mode=_given(wish, "fileMode", found.mode if found else 0o666),
        uid=_given(wish, "uid", found.uid if found else 0),
        gid=_given(wish, "gid", found.gid if found else 0),
    )


def _given(wish: Mapping[str, Any], key: str, default: int) -> int:
    value = wish.get(key)
    return default if value is None else int(value)


def _mount(wish: Mapping[str, Any]) -> Document:
    return {
        "destination": wish["containerPath"],
        "type": wish.get("type") or "bind",
        "source": wish["hostPath"],
        "options": list(wish.get("options") or ("rbind", "nosuid", "nodev")),
    }
