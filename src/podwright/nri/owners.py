"""Who has set what: two plugins that want different things of one container are a mistake of its operator, and whoever
came second is refused. One that removes first what another has set may set it anew.
"""

from collections.abc import Iterable, Iterator

from podwright.errors import FailedPrecondition
from podwright.nri import limits, v1

_LIMITS = {
    ("memory", "limit"): v1.MEM_LIMIT,
    ("memory", "reservation"): v1.MEM_RESERVATION,
    ("memory", "swap"): v1.MEM_SWAP_LIMIT,
    ("memory", "kernel"): v1.MEM_KERNEL_LIMIT,
    ("memory", "kernel_tcp"): v1.MEM_TCP_LIMIT,
    ("memory", "swappiness"): v1.MEM_SWAPPINESS,
    ("memory", "disable_oom_killer"): v1.MEM_DISABLE_OOM_KILLER,
    ("memory", "use_hierarchy"): v1.MEM_USE_HIERARCHY,
    ("cpu", "shares"): v1.CPU_SHARES,
    ("cpu", "quota"): v1.CPU_QUOTA,
    ("cpu", "period"): v1.CPU_PERIOD,
    ("cpu", "realtime_runtime"): v1.CPU_REALTIME_RUNTIME,
    ("cpu", "realtime_period"): v1.CPU_REALTIME_PERIOD,
    ("cpu", "cpus"): v1.CPUSET_CPUS,
    ("cpu", "mems"): v1.CPUSET_MEMS,
}

Entry = tuple[int, str]
"""A number of v1.Field, and which of several it is; a "-" in front is a removal."""


class Owners:
    """The plugins that have had a say in one operation."""

    def __init__(self) -> None:
        self._plugins: dict[tuple[str, Entry], str] = {}

    def adjust(self, plugin: str, container_id: str, wanted: v1.ContainerAdjustment) -> None:
        """Notes what a plugin adjusts. Raises FailedPrecondition for a conflict."""
        entries = list(_of_adjustment(wanted))
        for field, key in entries:
            if key.startswith("-"):
                self._plugins.pop((container_id, (field, key[1:])), None)
        self._claim(plugin, container_id, (entry for entry in entries if not entry[1].startswith("-")))
        if wanted.HasField("hooks"):  # of which there may be any number
            hooks = (container_id, (v1.OCI_HOOKS, ""))
            self._plugins[hooks] = ",".join(filter(None, (self._plugins.get(hooks), plugin)))

    def update(self, plugin: str, container_id: str, wanted: v1.LinuxResources) -> None:
        """Notes limits that a plugin sets. Raises FailedPrecondition for a conflict."""
        self._claim(plugin, container_id, _of_limits(wanted))

    def _claim(self, plugin: str, container_id: str, entries: Iterable[Entry]) -> None:
        for field, key in entries:
            other = self._plugins.setdefault((container_id, (field, key)), plugin)
            if other != plugin:
                what = v1.Field.Name(field) + (f' "{key}"' if key else "")
                raise FailedPrecondition(
                    f'NRI plugins "{other}" and "{plugin}" both set {what} of container "{container_id}"'
                )

    def message(self) -> v1.OwningPlugins:
        """For validators."""
        found = v1.OwningPlugins()
        for (container_id, (field, key)), plugin in self._plugins.items():
            fields = found.owners[container_id]
            if key:
                fields.compound[field].owners[key] = plugin
            else:
                fields.simple[field] = plugin
        return found


def _of_adjustment(wanted: v1.ContainerAdjustment) -> Iterator[Entry]:
    linux = wanted.linux
    keyed: list[tuple[int, Iterable[str]]] = [
        (v1.ANNOTATIONS, wanted.annotations),
        (v1.MOUNTS, (mount.destination for mount in wanted.mounts)),
        (v1.ENV, (variable.key for variable in wanted.env)),
        (v1.RLIMITS, (limit.type for limit in wanted.rlimits)),
        (v1.CDI_DEVICES, (device.name for device in wanted.CDI_devices)),
        (v1.DEVICES, (device.path for device in linux.devices)),
        (v1.NAMESPACE, (namespace.type for namespace in linux.namespaces)),
        (v1.SYSCTL, linux.sysctl),
    ]
    for field, keys in keyed:
        for key in keys:
            yield field, key
    if wanted.args:
        if not wanted.args[0]:
            yield v1.ARGS, "-"
        yield v1.ARGS, ""
    simple = [
        (v1.CGROUPS_PATH, bool(linux.cgroups_path)),
        (v1.OOM_SCORE_ADJ, linux.HasField("oom_score_adj")),
        (v1.SECCOMP_POLICY, linux.HasField("seccomp_policy")),
        (v1.RDT_CLOS_ID, linux.rdt.HasField("clos_id")),
    ]
    for field, is_set in simple:
        if is_set:
            yield field, ""
    yield from _of_limits(linux.resources)


def _of_limits(wanted: v1.LinuxResources) -> Iterator[Entry]:
    for limit in limits.given(wanted):
        yield _LIMITS[limit], ""
    for pages in wanted.hugepage_limits:
        yield v1.HUGEPAGE_LIMITS, pages.page_size
    for name in wanted.unified:
        yield v1.CGROUPS_UNIFIED, name
    if wanted.HasField("pids"):
        yield v1.PIDS_LIMIT, ""
    if wanted.HasField("rdt_class"):
        yield v1.RDT_CLASS, ""
