"""What is mounted in a container: the kernel's file systems, the sandbox's files, volumes and images.

Order is meaning here: first the kernel's, then the rest by depth, so that no mount hides another. A mount that is
asked for takes the place of a default at or below its path.

Propagation: PRIVATE, except that a volume which contains our own mounts (a node agent that looks at / is the usual
one) gets them as a slave. Else its copies of root file systems and namespace pins would outlive their containers.
"""

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.kernel import libc
from podwright.kernel.mounts import mount_of
from podwright.kernel.namespaces import IdMapping
from podwright.oci.documents import Document
from podwright.oci.features import Features
from podwright.oci.host import Host
from podwright.oci.inputs import ContainerInput
from podwright.oci.namespaces import mapping_documents, mappings

IMAGE_VOLUME_REASON = "ImageVolumeMountFailed"
"""What kubelets look for in failures of image volumes."""

_RESTRICTIONS = {"noexec": os.ST_NOEXEC, "nodev": os.ST_NODEV, "nosuid": os.ST_NOSUID}
"""What Mount.mount_options may ask for."""


@dataclass(frozen=True, slots=True)
class Mounts:
    """The mounts of a container."""

    documents: list[Document]
    """In order."""
    rootfs_propagation: str
    """linux.rootfsPropagation; empty for the OCI runtime's default."""
    relabel: tuple[str, ...]
    """Host paths that must get the container's SELinux label."""


def check(config: v1.ContainerConfig, features: Features) -> None:
    """Raises InvalidArgument for mounts that contradict themselves, FailedPrecondition where the handler cannot.

    Looks at no file; `build` does.
    """
    for index, mount in enumerate(config.mounts):
        field = f"mounts[{index}]"
        check_container_path(f"{field}.container_path", mount.container_path)
        if mount.propagation not in v1.MountPropagation.values():
            raise InvalidArgument(f"{field}.propagation: there is no propagation {mount.propagation}")
        _check_source(field, mount)
        _check_read_only(field, mount, features)
        for option in mount.mount_options:
            if option not in _RESTRICTIONS:
                raise InvalidArgument(f'{field}.mount_options: "{option}" is none of {", ".join(_RESTRICTIONS)}')
        if (mount.uidMappings or mount.gidMappings) and not features.idmapped_mounts:
            raise FailedPrecondition(f'{field}.uidMappings: handler "{features.name}" has no id-mapped mounts here')
        if bool(mount.uidMappings) != bool(mount.gidMappings):
            raise InvalidArgument(f"{field}.uidMappings: uids and gids must both be mapped, or neither")


def check_container_path(field: str, path: str) -> None:
    """Raises InvalidArgument unless the path is absolute, below / and without `..`."""
    parts = path.split("/")
    if not path.startswith("/") or "\0" in path:
        raise InvalidArgument(f'{field}: "{path}" is no absolute path')
    if ".." in parts:
        raise InvalidArgument(f'{field}: "{path}" must not contain ".."')
    if not any(part not in ("", ".") for part in parts):
        raise InvalidArgument(f'{field}: "{path}" is the root of the container')


def _check_source(field: str, mount: v1.Mount) -> None:
    if mount.HasField("image") and mount.image.image:
        if mount.host_path:
            raise InvalidArgument(f"{field}.host_path: must be empty for an image", reason=IMAGE_VOLUME_REASON)
        if not mount.readonly:
            raise InvalidArgument(f"{field}.readonly: images can only be read", reason=IMAGE_VOLUME_REASON)
        if mount.propagation != v1.PROPAGATION_PRIVATE:
            raise InvalidArgument(f"{field}.propagation: must be private for an image", reason=IMAGE_VOLUME_REASON)
        if mount.image_sub_path.startswith("/") or ".." in mount.image_sub_path.split("/"):
            message = f'{field}.image_sub_path: "{mount.image_sub_path}" is no path inside the image'
            raise InvalidArgument(message, reason=IMAGE_VOLUME_REASON)
        return
    if mount.image_sub_path:
        raise InvalidArgument(f"{field}.image_sub_path: there is no image")
    if not mount.host_path.startswith("/") or "\0" in mount.host_path:
        raise InvalidArgument(f'{field}.host_path: "{mount.host_path}" is no absolute path')
    if ".." in mount.host_path.split("/"):
        raise InvalidArgument(f'{field}.host_path: "{mount.host_path}" must not contain ".."')


def _check_read_only(field: str, mount: v1.Mount, features: Features) -> None:
    if not mount.recursive_read_only:
        return
    if not mount.readonly:
        raise InvalidArgument(f"{field}.recursive_read_only: needs readonly")
    if mount.propagation != v1.PROPAGATION_PRIVATE:
        raise InvalidArgument(f"{field}.recursive_read_only: needs private propagation")
    if not features.recursive_read_only:
        message = f'{field}: handler "{features.name}" cannot mount recursively read-only here'
        raise FailedPrecondition(message, reason="RROUnsupported")


def build(container: ContainerInput, host: Host, features: Features, anonymous: Sequence[tuple[str, str]]) -> Mounts:
    """All mounts of a container. `anonymous` are pairs of container path and host path, for volumes of the image.

    Raises InvalidArgument where a host path is missing, or where its mount does not allow the propagation.
    """
    config = container.config
    placed: list[Document] = []
    for path, source in (*_sandbox_files(container), *anonymous):
        readonly = config.linux.security_context.readonly_rootfs and path in container.sandbox.files
        placed.append(_show(path, source, "rprivate", "ro" if readonly else "rw"))
    propagations = set()
    relabel = []
    for index, mount in enumerate(config.mounts):
        document = _volume(container, index, mount)
        placed.append(document)
        propagations.update({"rshared", "rslave"} & set(document["options"]))
        if mount.selinux_relabel:
            relabel.append(document["source"])
    relabel += container.sandbox.files.values()
    wanted = {clean(mount.container_path) for mount in config.mounts}
    defaults = [
        d for d in _defaults(container, host, features) if not any(_is_at_or_below(d["destination"], w) for w in wanted)
    ]
    placed.sort(key=lambda document: document["destination"].count("/"))
    return Mounts([*defaults, *placed], _rootfs_propagation(propagations), tuple(relabel))


def insert(mounts: list[Document], more: Sequence[Document]) -> None:
    """Adds mounts after all that are not deeper, in place of those at the same path."""
    for new in more:
        mounts[:] = [mount for mount in mounts if mount["destination"] != new["destination"]]
        depth = new["destination"].count("/")
        shallow = [i for i, mount in enumerate(mounts) if mount["destination"].count("/") <= depth]
        mounts.insert(shallow[-1] + 1 if shallow else 0, new)


def clean(path: str) -> str:
    """Without double slashes, single dots and a slash at the end. `path` is absolute and has no `..`."""
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def _sandbox_files(container: ContainerInput) -> Iterable[tuple[str, str]]:
    wanted = {clean(mount.container_path) for mount in container.config.mounts}
    for path, source in (*container.sandbox.files.items(), ("/dev/shm", container.sandbox.shm)):
        if path not in wanted:
            yield path, source


def _volume(container: ContainerInput, index: int, mount: v1.Mount) -> Document:
    field = f"mounts[{index}]"
    if mount.HasField("image") and mount.image.image:
        source = container.image_mounts[index]
        propagation = "rprivate"
    else:
        source = _resolve(field, mount.host_path)
        propagation = _propagation(field, mount, source, container.own_directories)
    access = "rro" if mount.recursive_read_only else "ro" if mount.readonly else "rw"
    document = _show(clean(mount.container_path), source, propagation, access, mount.mount_options)
    if mount.uidMappings and not mount.image.image:  # an image's layers are mapped already
        document["uidMappings"] = mapping_documents(_ranges(container, mount.uidMappings))
        document["gidMappings"] = mapping_documents(_ranges(container, mount.gidMappings))
    return document


def _ranges(container: ContainerInput, given: Sequence[v1.IDMapping]) -> list[IdMapping]:
    """What is mapped to what, in a form that crun makes a user namespace of its own for.

    For a mount with the very ranges of the container crun opens the user namespace of the container's first process,
    and where that one joins a PID namespace, it often does so before it is there (linux.c, has_same_mappings): EPERM.
    """
    ranges = list(mappings(given))
    first = ranges[0]
    if container.config.linux.security_context.namespace_options.pid == v1.CONTAINER or first.length < 2:
        return ranges
    rest = IdMapping(first.container_id + 1, first.host_id + 1, first.length - 1)
    return [IdMapping(first.container_id, first.host_id, 1), rest, *ranges[1:]]


def _resolve(field: str, path: str) -> str:
    """The real path. The protocol wants an error if there is none (Mount.host_path)."""
    try:
        return os.path.realpath(path, strict=True)
    except OSError as error:
        raise InvalidArgument(
            f'{field}.host_path: "{path}": {error.strerror}; create it, have the volume of a type that does, or have '
            "the daemon do it for all (runtime.create_host_paths)"
        ) from None


def _propagation(field: str, mount: v1.Mount, source: str, own_directories: Sequence[str]) -> str:
    if mount.propagation == v1.PROPAGATION_PRIVATE:
        return "rslave" if any(_is_at_or_below(own, source) for own in own_directories) else "rprivate"
    below = mount_of(source)
    if mount.propagation == v1.PROPAGATION_BIDIRECTIONAL:
        if not below.shared:
            raise InvalidArgument(
                f'{field}.propagation: "{source}" is on the mount "{below.mount_point}", not a shared one'
            )
        return "rshared"
    if not below.shared and not below.slave:
        message = (
            f'{field}.propagation: "{source}" is on the mount "{below.mount_point}", neither a shared nor a slave one'
        )
        raise InvalidArgument(message)
    return "rslave"


def _rootfs_propagation(propagations: set[str]) -> str:
    """What the container's root must be for mounts in it to propagate; the strongest wish counts."""
    return "rshared" if "rshared" in propagations else "rslave" if propagations else ""


def _defaults(container: ContainerInput, host: Host, features: Features) -> list[Document]:
    """The kernel's file systems, with containerd's options."""
    sandbox = container.sandbox
    privileged = container.config.linux.security_context.privileged
    access = "rw" if privileged else "ro"
    safe = ["nosuid", "noexec", "nodev"]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if not sandbox.gids or any(0 <= 5 - gid.container_id < gid.length for gid in sandbox.gids):
        pts.append("gid=5")  # tty; a gid that is not mapped cannot be given
    sysfs = _mount("/sys", "sysfs", "sysfs", [*safe, access])
    if sandbox.uids and "net" not in sandbox.namespaces:
        # sysfs shows a network namespace; the kernel mounts it only for its owner. So show the host's.
        recursive = "rro" if access == "ro" and features.recursive_read_only else access
        sysfs = _bind("/sys", "/sys", ["rbind", "rprivate", *safe, recursive])
    return [
        _mount("/proc", "proc", "proc", safe),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", pts),
        _mount("/dev/mqueue", "mqueue", "mqueue", safe),
        sysfs,
        _cgroup(host, privileged=privileged),
    ]


def _cgroup(host: Host, *, privileged: bool) -> Document:
    safe = ["nosuid", "noexec", "nodev", "relatime"]
    if privileged and host.v2:
        # Without a cgroup namespace a mount of cgroup2 would change the options of the host's (nsdelegate).
        return _bind("/sys/fs/cgroup", "/sys/fs/cgroup", ["rbind", "rprivate", *safe, "rw"])
    return _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*safe, "rw" if privileged else "ro"])


def _mount(destination: str, kind: str, source: str, options: Sequence[str]) -> Document:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def _bind(destination: str, source: str, options: Sequence[str]) -> Document:
    return _mount(destination, "bind", source, options)


def _show(destination: str, source: str, propagation: str, access: str, options: Iterable[str] = ()) -> Document:
    """A bind mount that is as restricted as its source: crun gives it no other options than those named here, and so
    would let a container write through a read-only mount of the host.
    """
    flags = _flags(source)
    if flags & os.ST_RDONLY and access == "rw":
        access = "ro"
    kept = [name for name, flag in _RESTRICTIONS.items() if flags & flag or name in options]
    return _bind(destination, source, ["rbind", propagation, access, *kept])


def _flags(path: str) -> int:
    """The flags of the mount that `path`, or what is there of it, lies on."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return os.statvfs(path).f_flag


def _is_at_or_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def image_source(field: str, root: str, sub_path: str) -> str:
    """The host path of a directory `sub_path` in an image mounted at `root`. No symbolic link in it leads outside.

    Raises InvalidArgument with the kubelet's word ImageVolumeMountFailed if there is no such directory.
    """
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = libc.openat2(
            directory, sub_path or ".", os.O_PATH, resolve=libc.RESOLVE_IN_ROOT | libc.RESOLVE_NO_MAGICLINKS
        )
        try:
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                raise NotADirectoryError(20, "not a directory", sub_path)
            return os.readlink(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
    except OSError as error:
        message = f'{field}.image_sub_path: "{sub_path}" in the image: {error.strerror}'
        raise InvalidArgument(message, reason=IMAGE_VOLUME_REASON) from None
    finally:
        os.close(directory)
