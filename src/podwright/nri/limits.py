"""Limits of containers, in the three forms that they have: NRI's, CRI's, and linux.resources of an OCI document."""

from collections.abc import Mapping
from typing import Any

from podwright.cri import v1 as cri
from podwright.errors import FailedPrecondition
from podwright.nri import v1
from podwright.oci.documents import Document, without_empty

_DOCUMENT: Mapping[str, Mapping[str, str]] = {
    "memory": {
        "limit": "limit",
        "reservation": "reservation",
        "swap": "swap",
        "kernel": "kernel",
        "kernel_tcp": "kernelTCP",
        "swappiness": "swappiness",
        "disable_oom_killer": "disableOOMKiller",
        "use_hierarchy": "useHierarchy",
    },
    "cpu": {
        "shares": "shares",
        "quota": "quota",
        "period": "period",
        "realtime_runtime": "realtimeRuntime",
        "realtime_period": "realtimePeriod",
        "cpus": "cpus",
        "mems": "mems",
    },
}
"""Fields of NRI by part → keys of the OCI document."""

_CRI: Mapping[tuple[str, str], str] = {
    ("memory", "limit"): "memory_limit_in_bytes",
    ("memory", "swap"): "memory_swap_limit_in_bytes",
    ("cpu", "shares"): "cpu_shares",
    ("cpu", "quota"): "cpu_quota",
    ("cpu", "period"): "cpu_period",
    ("cpu", "cpus"): "cpuset_cpus",
    ("cpu", "mems"): "cpuset_mems",
}
"""Those that the CRI has too; there 0 and empty are "not given"."""


def given(resources: v1.LinuxResources) -> dict[tuple[str, str], Any]:
    """What is set of memory and CPU: values by part and field."""
    found: dict[tuple[str, str], Any] = {}
    for part, fields in _DOCUMENT.items():
        message = getattr(resources, part)
        for field in fields:
            value = getattr(message, field)
            if isinstance(value, str):
                if value:
                    found[part, field] = value
            elif message.HasField(field):
                found[part, field] = value.value
    return found


def from_document(document: Document) -> v1.LinuxResources:
    """NRI's form of linux.resources."""
    found = v1.LinuxResources(unified=document.get("unified"))
    for part, fields in _DOCUMENT.items():
        for field, key in fields.items():
            if key in document.get(part, ()):
                _set(getattr(found, part), field, document[part][key])
    for limit in document.get("hugepageLimits", ()):
        found.hugepage_limits.add(page_size=limit["pageSize"], limit=limit["limit"])
    for rule in document.get("devices", ()):
        entry = found.devices.add(allow=rule["allow"], type=rule.get("type", ""), access=rule.get("access", ""))
        for field in ("major", "minor"):
            if rule.get(field) is not None:
                getattr(entry, field).value = rule[field]
    if "pids" in document:
        found.pids.limit = document["pids"]["limit"]
    return found


def from_cri(limits: cri.LinuxContainerResources) -> v1.LinuxResources:
    """NRI's form of what is set."""
    found = v1.LinuxResources(unified=limits.unified)
    for (part, field), name in _CRI.items():
        if getattr(limits, name):
            _set(getattr(found, part), field, getattr(limits, name))
    for limit in limits.hugepage_limits:
        found.hugepage_limits.add(page_size=limit.page_size, limit=limit.limit)
    return found


def _set(message: Any, field: str, value: Any) -> None:  # noqa: ANN401  fields of different types
    if isinstance(value, str):
        setattr(message, field, value)
    else:
        getattr(message, field).value = value


def override(present: v1.LinuxResources, wanted: v1.LinuxResources) -> None:
    """Sets in `present` what is set in `wanted`."""
    for part, field in given(wanted):
        getattr(present, part).ClearField(field)  # a merge would keep it where the new value is 0
    present.MergeFrom(wanted)


def split(resources: v1.LinuxResources) -> tuple[cri.LinuxContainerResources, Document]:
    """What the CRI has words for, and the rest as a part of linux.resources, without rules for devices.

    Raises FailedPrecondition for classes of block I/O, which this runtime has not.
    """
    if resources.blockio_class.value:
        raise FailedPrecondition(f'blockio_class: there is no class "{resources.blockio_class.value}"')
    known = cri.LinuxContainerResources(unified=resources.unified)
    rest: dict[str, Document] = {"memory": {}, "cpu": {}, "pids": {}}
    for (part, field), value in given(resources).items():
        if (part, field) in _CRI:
            setattr(known, _CRI[part, field], value)
        else:
            rest[part][_DOCUMENT[part][field]] = value
    for limit in resources.hugepage_limits:
        known.hugepage_limits.add(page_size=limit.page_size, limit=limit.limit)
    if resources.HasField("pids"):
        rest["pids"]["limit"] = resources.pids.limit
    return known, without_empty(rest)
