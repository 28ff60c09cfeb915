"""Hosts, sandboxes and containers for the tests of oci/, and a place to run what they describe."""

import contextlib
import dataclasses
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from podwright.cri import v1
from podwright.kernel import libc, mounts, namespaces
from podwright.kernel.cgroups import Cgroups
from podwright.kernel.namespaces import IdMapping, Kind
from podwright.oci import capabilities, documents, spec, validate
from podwright.oci.features import Features
from podwright.oci.host import Host
from podwright.oci.inputs import ContainerInput, SandboxView

V2 = Cgroups("v2", "/sys/fs/cgroup", {})
V1 = Cgroups("v1", None, {"memory": "/sys/fs/cgroup/memory", "cpu": "/sys/fs/cgroup/cpu"})

FEATURES = Features("crun", "crun", recursive_read_only=True, idmapped_mounts=True, user_namespaces=True)
OLD = Features("old", "runc", recursive_read_only=False, idmapped_mounts=False, user_namespaces=False)


def host(**changes: Any) -> Host:
    """A host with cgroup v2 that can do everything, but for the changes."""
    whole = Host(
        cgroups=V2,
        driver="cgroupfs",
        controllers=frozenset({"cpu", "cpuset", "memory", "pids", "hugetlb", "io"}),
        capabilities=frozenset(capabilities.NAMES),
        may_raise_limits=True,
        oom_score_adj=-999,
        hard_limits={},
        hugepage_sizes=frozenset({"2MB", "1GB"}),
        swap_accounting=True,
        seccomp=True,
        selinux=False,
        apparmor=False,
    )
    return dataclasses.replace(whole, **changes)


@dataclass(frozen=True)
class Image:
    """The configuration of an image."""

    entrypoint: Sequence[str] = ()
    cmd: Sequence[str] = ("sh",)
    env: Sequence[str] = ()
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    volumes: Sequence[str] = ()


def sandbox_config(**fields: Any) -> v1.PodSandboxConfig:
    """The least that a sandbox needs, and `fields`."""
    metadata = v1.PodSandboxMetadata(name="pod", namespace="test", uid="u1")
    return v1.PodSandboxConfig(**{"metadata": metadata, "hostname": "pod-host", **fields})


def container_config(**fields: Any) -> v1.ContainerConfig:
    """The least that a container needs, and `fields`."""
    defaults = {"metadata": v1.ContainerMetadata(name="c"), "image": v1.ImageSpec(image="busybox")}
    return v1.ContainerConfig(**{**defaults, **fields})


def secured(**fields: Any) -> v1.ContainerConfig:
    """A container with these fields in its security context."""
    security = v1.LinuxContainerSecurityContext(**fields)
    return container_config(linux=v1.LinuxContainerConfig(security_context=security))


def secured_sandbox(**fields: Any) -> v1.PodSandboxConfig:
    """A sandbox with these fields in its security context."""
    security = v1.LinuxSandboxSecurityContext(**fields)
    return sandbox_config(linux=v1.LinuxPodSandboxConfig(security_context=security))


def view(config: v1.PodSandboxConfig | None = None, **changes: Any) -> SandboxView:
    """A sandbox with all namespaces of its own, but for the changes."""
    fields: dict[str, Any] = {
        "id": "5" * 64,
        "config": config or sandbox_config(),
        "namespaces": {"net": "/pins/net", "ipc": "/pins/ipc", "uts": "/pins/uts"},
        "pid_namespace": "/proc/77/ns/pid",
        "cgroup_parent": "/kubepods/pod1",
        "shm": "/sandboxes/5/shm",
        "files": {"/etc/hosts": "/sandboxes/5/hosts", "/etc/resolv.conf": "/sandboxes/5/resolv.conf"},
    }
    return SandboxView(**{**fields, **changes})


def wanted(config: v1.ContainerConfig | None = None, rootfs: str = "/nowhere", **changes: Any) -> ContainerInput:
    """A container in such a sandbox."""
    fields: dict[str, Any] = {
        "id": "c" * 64,
        "config": config or container_config(),
        "sandbox": view(),
        "image": Image(),
        "rootfs": rootfs,
        "volumes": "/containers/c/volumes",
    }
    return ContainerInput(**{**fields, **changes})


HYBRID = "/sys/fs/cgroup/unified/cgroup.controllers"
"""crun refuses v1 beside v2 unless the latter has no controllers."""
APPLETS = """
sh cat ls id env mount umount grep sleep head stat mkdir mknod true touch echo chmod chown kill readlink unshare df od
"""


def privately(work: Callable[[], None]) -> None:
    """Runs `work` in a thread with a mount namespace of its own, from which nothing gets out."""

    def body() -> None:
        libc.unshare(libc.CLONE_FS | libc.CLONE_NEWNS)
        libc.mount(None, "/", None, libc.MS_PRIVATE | libc.MS_REC)
        if os.path.exists(HYBRID):
            mounts.bind("/dev/null", HYBRID)
        work()

    mounts.in_thread_of_its_own(body)


def make_rootfs(directory: Path) -> str:
    """A root file system of Debian's static busybox."""
    for name in ("bin", "etc", "tmp", "root"):
        (directory / name).mkdir(parents=True)
    subprocess.run(["cp", "/bin/busybox", directory / "bin/busybox"], check=True)
    for applet in APPLETS.split():
        os.link(directory / "bin/busybox", directory / "bin" / applet)
    (directory / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n")
    (directory / "etc/group").write_text("root:x:0:\nalice:x:1001:\nstaff:x:50:alice\n")
    return str(directory)


@dataclass
class Pod:
    """A sandbox on this host, in the mount namespace of the test, whose containers are run by one OCI runtime."""

    directory: Path
    runtime: str
    config: v1.PodSandboxConfig = field(default_factory=sandbox_config)
    uids: tuple[IdMapping, ...] = ()
    kinds: tuple[Kind, ...] = ("net", "ipc", "uts")
    host: Host = field(default_factory=lambda: Host.probe(driver="cgroupfs"))
    features: Features = FEATURES
    pid_namespace: str | None = None
    count: int = 0

    def __post_init__(self) -> None:
        self.parent = f"/podwright-oci-{os.getpid()}"
        self.pins: dict[Kind, str] = {kind: str(self.directory / kind) for kind in self.kinds}
        self.shm = self.directory / "shm"
        self.shm.mkdir()
        mounts.tmpfs(str(self.shm), size=8 << 20, mode=0o1777)
        namespaces.create(namespaces.Wanted(self.pins, self.config.hostname, {}, self.uids, self.uids))
        for name in ("hosts", "resolv.conf", "hostname"):
            (self.directory / name).write_text(f"{name} of the sandbox\n")

    def close(self) -> None:
        """Removes the pins and the cgroup."""
        for path in self.pins.values():
            namespaces.unpin(path)
        mounts.umount(str(self.shm))
        self.host.cgroups.remove(self.parent)

    @property
    def view(self) -> SandboxView:
        """The sandbox as its containers see it."""
        return view(
            self.config,
            namespaces=self.pins,
            pid_namespace=self.pid_namespace,
            cgroup_parent=self.parent,
            shm=str(self.shm),
            files={f"/etc/{name}": str(self.directory / name) for name in ("hosts", "resolv.conf", "hostname")},
            uids=self.uids,
            gids=self.uids,
        )

    def built(self, config: v1.ContainerConfig, rootfs: str, **changes: Any) -> spec.Built:
        """Validates and describes a container."""
        validate.sandbox(self.config, self.host, self.features)
        validate.container(config, self.config, self.features)
        self.count += 1
        return spec.build(
            wanted(config, rootfs, id=f"c{os.getpid()}x{self.count}", sandbox=self.view, **changes),
            self.host,
            self.features,
        )

    def output(self, config: v1.ContainerConfig, rootfs: str, **changes: Any) -> str:
        """What a container prints that must succeed."""
        done = self.run(self.built(config, rootfs, **changes).spec)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, document: documents.Document) -> subprocess.CompletedProcess[str]:
        """Runs a container to its end."""
        bundle = self.bundle(document)
        name = f"podwright-oci-{os.getpid()}-{self.count}"
        try:
            return self.call("run", "--bundle", bundle, name)
        finally:
            self.call("delete", "--force", name)

    def bundle(self, document: documents.Document) -> str:
        """A directory with the configuration."""
        bundle = self.directory / f"bundle-{self.count}"
        bundle.mkdir()
        (bundle / "config.json").write_bytes(documents.dump(document))
        return str(bundle)

    def call(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Runs the OCI runtime, with files for its output: containers would hold pipes open."""
        root = f"--root={self.directory}/state"
        with open(self.directory / "out", "w+") as out, open(self.directory / "err", "w+") as err:
            command = [self.runtime, root, *arguments]
            done = subprocess.run(command, input=stdin, stdout=out, stderr=err, text=True, timeout=60, check=False)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())

    @contextlib.contextmanager
    def running(self, document: documents.Document) -> Iterator[tuple[str, int]]:
        """A container while it runs: its name, and the pid of its first process."""
        self.count += 1
        name = f"podwright-oci-{os.getpid()}-{self.count}"
        created = self.call("create", "--bundle", self.bundle(document), name)
        try:
            assert created.returncode == 0, created.stdout + created.stderr
            started = self.call("start", name)
            assert started.returncode == 0, started.stderr
            yield name, int(json.loads(self.call("state", name).stdout)["pid"])
        finally:
            self.call("delete", "--force", name)


PodTest = Callable[[Pod, str], None]


class InPod(Protocol):
    """Runs a test with a sandbox, made with these fields, and a root file system, in a mount namespace of its own."""

    def __call__(self, test: PodTest, **fields: Any) -> None: ...


def shell(script: str, **fields: Any) -> v1.ContainerConfig:
    """A container that runs a script."""
    return container_config(command=["sh", "-c", script], **fields)


def with_security(config: v1.ContainerConfig, **fields: Any) -> v1.ContainerConfig:
    """The container with these fields in its security context."""
    config.linux.security_context.MergeFrom(v1.LinuxContainerSecurityContext(**fields))
    return config


def status_fields(text: str) -> Mapping[str, str]:
    """/proc/<pid>/status as a mapping."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
