"""A machine of its own for a test: mount, network and PID namespaces in which a daemon and its containers live and die.

The kernel removes all of it when process 1 of the PID namespace is killed; only cgroups and files outlive it, and
those are below names that no other test uses.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from podwright.kernel import cgroups

_PREPARE = """
set -e
mount --make-rshared /
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/netns
mkdir -p /var/lib/cni && mount --bind "$1" /var/lib/cni
ip link set lo up
exec catatonit -P
"""


class Node:
    """The namespaces, the directories and the daemon."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="podwright-test-"))
        self.directory.chmod(0o711)  # for users of user namespaces to pass through
        self.name = self.directory.name.removeprefix("podwright-test-")
        self.cgroup = f"/podwright-test-{self.name}"
        self.state = self.directory / "state"
        self.root = self.directory / "root"
        self.socket = self.directory / "podwright.sock"
        self.config = self.directory / "config.toml"
        self.cni = self.directory / "cni"
        self.cni_state = self.directory / "cni-state"
        self.cni_state.mkdir()
        self.environment: dict[str, str] = {}
        self._daemon: subprocess.Popen[bytes] | None = None
        self._boot()
        self.write_cni()
        self.write_config()

    def _boot(self) -> None:
        """Makes the namespaces."""
        command = [
            "unshare",
            "--mount",
            "--propagation=private",
            "--net",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
        ]
        prepare = ["sh", "-c", _PREPARE, "sh", str(self.cni_state)]
        self._outer = subprocess.Popen([*command, *prepare], start_new_session=True)
        self.holder = self._wait_for_holder()

    def _wait_for_holder(self) -> int:
        """Process 1 of the new PID namespace, by its number outside, once the preparations are done."""
        for _ in range(1000):
            with contextlib.suppress(OSError, IndexError):
                child = int(Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()[0])
                if os.path.basename(os.readlink(f"/proc/{child}/exe")) == "catatonit":
                    return child
            assert self._outer.poll() is None, "the namespaces could not be made"
            time.sleep(0.01)  # unshare tells nobody when it is done
        raise AssertionError("the namespaces did not come up")

    def write_config(self, text: str = "", *, log_level: str = "debug") -> None:
        """Writes the daemon's configuration; `text` is appended, and is for tables that are not there yet."""
        self.config.write_text(
            f"""
[endpoints]
runtime = "unix://{self.socket}"
[directories]
root = "{self.root}"
state = "{self.state}"
network_namespaces = "/run/netns"
[cgroup]
driver = "cgroupfs"
parent = "{self.cgroup}/{{id}}"
[network]
config_dir = "{self.cni}"
[log]
level = "{log_level}"
{text}
"""
        )

    def write_cni(self) -> None:
        """A bridge with port mappings, as most test clusters have."""
        self.cni.mkdir(exist_ok=True)
        bridge = {
            "type": "bridge",
            "bridge": "pw0",
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "10.89.0.0/16"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
        portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
        conflist = {"cniVersion": "1.0.0", "name": "test", "plugins": [bridge, portmap]}
        (self.cni / "10-test.conflist").write_text(json.dumps(conflist))

    def enter(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` inside."""
        return ["nsenter", "-t", str(self.holder), "-m", "-n", "-p", "--", *command]

    def run(self, *command: str, check: bool = True) -> str:
        """Runs a command inside and returns its output."""
        done = subprocess.run(
            self.enter(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout

    # the daemon

    @property
    def log(self) -> Path:
        """What the daemon has written."""
        return self.directory / "podwright.log"

    def start(self, *, survives: bool = True) -> None:
        """Starts the daemon and waits until its socket answers; without `survives` it may also die before."""
        ready, tell = os.pipe()
        command = [sys.executable, "-m", "podwright", "serve", "--config", str(self.config), "--ready-fd", str(tell)]
        with self.log.open("ab") as log:
            self._daemon = subprocess.Popen(
                self.enter(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[tell],
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **self.environment},  # starts as an installed one
                start_new_session=True,
            )
        os.close(tell)
        with os.fdopen(ready, "rb") as pipe:
            assert pipe.read(1) or not survives, f"the daemon did not start:\n{self.log.read_text()[-4000:]}"

    @property
    def daemon(self) -> int:
        """The daemon's process number, outside."""
        assert self._daemon is not None
        children = Path(f"/proc/{self._daemon.pid}/task/{self._daemon.pid}/children").read_text().split()
        return int(children[0])

    def open_files(self) -> list[str]:
        """What the daemon has open: paths, and such as `socket` and `pipe` without their numbers."""
        directory = f"/proc/{self.daemon}/fd"
        found = []
        for fd in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found.append(os.readlink(f"{directory}/{fd}").partition(":[")[0])
        return sorted(found)

    def kill(self) -> None:
        """kill -9 of the daemon."""
        assert self._daemon is not None
        with contextlib.suppress(IndexError, FileNotFoundError, ProcessLookupError):
            os.kill(self.daemon, signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """Ends the daemon as systemd would; returns its exit status."""
        with contextlib.suppress(IndexError, FileNotFoundError, ProcessLookupError):
            os.kill(self.daemon, signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Waits for the daemon's end."""
        assert self._daemon is not None
        status = self._daemon.wait(timeout=60)
        self._daemon = None
        return status

    @property
    def running(self) -> bool:
        """Whether the daemon runs."""
        return self._daemon is not None and self._daemon.poll() is None

    # what is there

    def mounts(self) -> list[str]:
        """Mount points below the daemon's directories, as its processes see them."""
        pid = self.daemon if self.running else self.holder
        lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        points = [line.split()[4] for line in lines]
        own = (str(self.state) + "/", str(self.root) + "/", "/run/netns/")
        return [point for point in points if point.startswith(own)]

    def cgroups(self) -> list[str]:
        """Cgroups of this test that exist, by their paths below the hierarchies' roots."""
        hierarchies = cgroups.detect()
        found: set[str] = set()
        for directory in hierarchies.directories(self.cgroup):
            for below, _, _ in os.walk(directory):
                found.add(self.cgroup + below.removeprefix(directory))
        return sorted(found - {self.cgroup})

    def processes(self) -> list[str]:
        """Command lines of all processes inside but process 1 and the daemon with what nsenter needs."""
        listing = self.run("ps", "-eo", "pid=,args=")
        lines = [line.strip().split(maxsplit=1) for line in listing.splitlines()]
        return [
            args for pid, args in lines if pid != "1" and "podwright serve" not in args and not args.startswith("ps ")
        ]

    def links(self) -> list[str]:
        """Network interfaces of the host side but lo and the bridge."""
        names = [link["ifname"] for link in json.loads(self.run("ip", "-j", "link"))]
        return [name for name in names if name not in ("lo", "pw0")]

    def reboot(self) -> None:
        """All processes and mounts go, cgroups and the state directory with them; what is on the disk stays."""
        self._power_off()
        shutil.rmtree(self.state)
        self._boot()

    def close(self) -> None:
        """Ends everything inside and removes what the kernel does not."""
        self._power_off()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _power_off(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.holder, signal.SIGKILL)
        self._outer.wait(timeout=60)
        if self._daemon is not None:
            self._daemon.wait(timeout=60)
            self._daemon = None
        hierarchies = cgroups.detect()
        hierarchies.kill(self.cgroup)
        hierarchies.wait_empty(self.cgroup, 10)
        hierarchies.remove(self.cgroup)


@contextlib.contextmanager
def node() -> Iterator[Node]:
    """A node for a `with` block."""
    made = Node()
    try:
        yield made
    finally:
        made.close()
