"""The network with Debian's own plugins, on a private host: namespaces of its own for network and mounts.

The host is a thread, and all that was made in it ends with it.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from podwright.errors import FailedPrecondition, Internal, PodwrightError, ResourceExhausted
from podwright.kernel import libc, mounts, namespaces
from podwright.kernel.run import prepare_loop
from podwright.network.attachments import Network
from podwright.network.config import Pace, Settings
from podwright.network.request import AttachRequest, PortMapping
from podwright.state.store import Store
from podwright.testing.cni import FakePlugin

pytestmark = pytest.mark.root

PLUGINS = "/usr/lib/cni"
BRIDGE = {
    "type": "bridge",
    "bridge": "cni0",
    "isGateway": True,
    "ipMasq": True,
    "hairpinMode": True,
    "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "10.88.0.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    },
}
PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}}


class Host:
    """The private host; its methods are for its thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config_dir = root / "net.d"
        (root / "bin").mkdir()
        self.settings = Settings(str(self.config_dir), (str(root / "bin"), PLUGINS), pace=Pace(retry_first=0.05))

    def configure(self, *plugins: dict[str, Any], **keys: Any) -> None:
        self.config_dir.mkdir(exist_ok=True)
        document = {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins or (BRIDGE, PORTMAP), **keys}
        (self.config_dir / "10-pods.conflist").write_text(json.dumps(document))

    @contextlib.asynccontextmanager
    async def daemon(self, *live: str) -> AsyncIterator[Network]:
        store = Store(str(self.root / "state.db"))
        network = Network(store, self.settings)
        try:
            await network.start(set(live))
            yield network
        finally:
            await network.close()
            store.close()

    def pod(self, sandbox_id: str, **fields: Any) -> AttachRequest:
        """A pod with a new network namespace."""
        netns = f"/run/netns/{sandbox_id}"
        namespaces.create(namespaces.Wanted({"net": netns}))
        return AttachRequest(sandbox_id, netns, sandbox_id, "default", f"uid-{sandbox_id}", **fields)

    def killed(self, failpoint: str, request: AttachRequest) -> None:
        """A daemon that attaches the pod and dies there by SIGKILL."""
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(self.root), request.sandbox_id, request.netns],
            env={**os.environ, "PODWRIGHT_FAILPOINT": failpoint},
            check=False,
        )
        assert child.returncode == -signal.SIGKILL

    def leases(self) -> set[str]:
        """Addresses that host-local has given away."""
        try:
            return {name for name in os.listdir("/var/lib/cni/networks/pods") if name[0].isdigit()}
        except FileNotFoundError:
            return set()

    def port_rules(self) -> list[str]:
        """portmap's rules that belong to a pod."""
        rules = subprocess.run(["iptables-save", "-t", "nat"], check=True, capture_output=True, text=True).stdout
        return [rule for rule in rules.splitlines() if "CNI-DN-" in rule]

    def veths(self) -> list[str]:
        return [name for name in interfaces() if name.startswith("veth")]

    def assert_clean(self) -> None:
        assert self.leases() == set()
        assert self.port_rules() == []
        assert self.veths() == []

    async def until_clean(self) -> None:
        """For what the daemon does in the background."""
        async with asyncio.timeout(30):
            while self.leases() or self.port_rules():
                await asyncio.sleep(0.02)


CHILD = """
import asyncio, sys
from podwright.network.attachments import Network
from podwright.network.config import Settings
from podwright.network.request import AttachRequest, PortMapping
from podwright.state.store import Store
root, sandbox_id, netns = sys.argv[1:]
async def main():
    settings = Settings(root + "/net.d", (root + "/bin", "/usr/lib/cni"))
    request = AttachRequest(sandbox_id, netns, "web", "default", "u-1", port_mappings=[PortMapping(80, 8080)])
    await Network(Store(root + "/state.db"), settings).attach(request)
asyncio.run(main())
"""


def on_private_host(root: Path, work: Callable[[Host], Coroutine[Any, Any, None]]) -> None:
    """Runs `work` on an event loop in a thread that has the namespaces."""

    async def within_time() -> None:
        prepare_loop()
        async with asyncio.timeout(100):
            await work(Host(root))

    def thread() -> None:
        libc.unshare(libc.CLONE_NEWNET | libc.CLONE_NEWNS)
        libc.mount(None, "/", None, libc.MS_REC | libc.MS_PRIVATE)
        for directory in ("/run", "/var/lib/cni"):
            os.makedirs(directory, exist_ok=True)
            mounts.tmpfs(directory, size=16 << 20, mode=0o755)
        os.mkdir("/run/netns")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        asyncio.run(within_time())

    mounts.in_thread_of_its_own(thread)


def interfaces(netns: str = "/proc/thread-self/ns/net") -> list[str]:
    """Names of the network interfaces there."""

    def look() -> list[str]:
        namespaces.join(netns, "net")
        return [name for _, name in socket.if_nameindex()]

    return mounts.in_thread_of_its_own(look)


@contextlib.asynccontextmanager
async def serving(request: AttachRequest, port: int = 80) -> AsyncIterator[None]:
    """A server in the pod, which says the pod's name."""

    def listen() -> socket.socket:
        namespaces.join(request.netns, "net")
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request.name.encode())
        writer.close()

    server = await asyncio.start_server(answer, sock=mounts.in_thread_of_its_own(listen))
    try:
        yield
    finally:
        server.close()


async def ask(address: str, port: int = 80) -> str:
    """What the server there says to a client on the host."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 10)
    try:
        return (await asyncio.wait_for(reader.read(), 10)).decode()
    finally:
        writer.close()


async def ask_patiently(address: str) -> str:
    """The same while the host's own address of IPv6 is still being checked for duplicates by the kernel."""
    while True:
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(ask(address), 1)


def test_pod_and_its_host_port_are_reachable_and_go(tmp_path: Path) -> None:
    async def work(host: Host) -> None:
        host.configure()
        async with host.daemon() as network:
            assert network.status().ready
            web = host.pod("web", port_mappings=[PortMapping(80, 8080), PortMapping(80, 0)])
            other = host.pod("other")
            attachment = await network.attach(web)
            await network.attach(other)
            (address,) = attachment.ips
            assert address.startswith("10.88.0.")
            assert {interface.name for interface in attachment.interfaces} >= {"cni0", "eth0"}
            assert interfaces(web.netns) == ["lo", "eth0"]
            async with serving(web):
                assert await ask(address) == "web"
                assert await ask("127.0.0.1", 8080) == "web"
            await network.detach("web")
            assert len(host.leases()) == 1
            assert interfaces(web.netns) == ["lo"]
            with pytest.raises(ConnectionRefusedError):
                await ask("127.0.0.1", 8080)
            await network.detach("other")
            host.assert_clean()

    on_private_host(tmp_path, work)


def test_both_families(tmp_path: Path) -> None:
    async def work(host: Host) -> None:
        ranges = [[{"subnet": "fd00:88::/64"}], [{"subnet": "10.88.0.0/24"}]]
        host.configure({**BRIDGE, "ipam": {"type": "host-local", "ranges": ranges}})
        async with host.daemon() as network:
            web = host.pod("web")
            attachment = await network.attach(web)
            first, second = attachment.ips
            assert first.startswith("fd00:88::")
            assert second.startswith("10.88.0.")
            async with serving(web):
                assert await ask(second) == "web"
                assert await ask_patiently(first) == "web"
            await network.detach("web")
            host.assert_clean()

    on_private_host(tmp_path, work)


def test_old_result_form(tmp_path: Path) -> None:
    async def work(host: Host) -> None:
        host.configure(BRIDGE, cniVersion="0.2.0")
        async with host.daemon() as network:
            attachment = await network.attach(host.pod("web"))
            assert "ip4" in attachment.result
            assert set(attachment.ips) == host.leases()
        async with host.daemon("web") as network:
            assert network.get("web") == attachment
            await network.detach("web")
            host.assert_clean()

    on_private_host(tmp_path, work)


def test_check_notices_a_missing_interface(tmp_path: Path) -> None:
    async def work(host: Host) -> None:
        host.configure(BRIDGE)  # portmap 1.1.1 fails at CHECK of a pod without IPv6
        async with host.daemon() as network:
            web = host.pod("web")
            await network.attach(web)
            await network.check("web")
            await run("ip", "link", "delete", host.veths()[0])
            with pytest.raises(Internal, match=r'sandbox "web": network "pods".*plugin "bridge", CHECK'):
                await network.check("web")
            await network.detach("web")
            host.assert_clean()

    on_private_host(tmp_path, work)


async def run(*argv: str) -> None:
    process = await asyncio.create_subprocess_exec(*argv)
    assert await process.wait() == 0


def test_failed_add_gives_everything_back(tmp_path: Path) -> None:
    async def work(host: Host) -> None:
        host.configure(BRIDGE, PORTMAP, {"type": "last"})
        last = FakePlugin(str(tmp_path / "bin"), "last")
        last.fail("ADD", msg="out of luck")
        async with host.daemon() as network:
            web = host.pod("web", port_mappings=[PortMapping(80, 8080)])
            with pytest.raises(Internal, match='plugin "last", ADD: out of luck'):
                await network.attach(web)
            host.assert_clean()
        (run,) = last.runs("ADD")
        assert run.config["prevResult"]["ips"]

    on_private_host(tmp_path, work)


@pytest.mark.parametrize("failpoint", ["kill@network.add", "kill@after:network.add"])
@pytest.mark.parametrize("vanished", [False, True])
def test_daemon_killed_round_add(tmp_path: Path, failpoint: str, *, vanished: bool) -> None:
    async def work(host: Host) -> None:
        host.configure()
        web = host.pod("web")
        await asyncio.to_thread(host.killed, failpoint, web)
        assert len(host.leases()) == ("after" in failpoint)
        assert bool(host.port_rules()) == ("after" in failpoint)
        if vanished:
            namespaces.unpin(web.netns)
        async with host.daemon():
            await host.until_clean()

    on_private_host(tmp_path, work)


@pytest.mark.parametrize("pin", ["gone", "left as a file"])
def test_namespace_may_have_vanished(tmp_path: Path, pin: str) -> None:
    async def work(host: Host) -> None:
        host.configure()
        async with host.daemon() as network:
            web = host.pod("web", port_mappings=[PortMapping(80, 8080)])
            await network.attach(web)
            assert host.port_rules()
            if pin == "gone":
                namespaces.unpin(web.netns)
            else:
                mounts.umount(web.netns)
            await network.detach("web")
            assert host.leases() == set()
            assert host.port_rules() == []

    on_private_host(tmp_path, work)


def test_after_a_reboot_addresses_are_given_back(tmp_path: Path) -> None:
    """host-local keeps them on the disk; namespaces and interfaces have gone by themselves."""

    async def work(host: Host) -> None:
        host.configure()
        async with host.daemon() as network:
            for number in range(5):
                pod = host.pod(f"pod{number}")
                await network.attach(pod)
                namespaces.unpin(pod.netns)
        assert len(host.leases()) == 5
        async with host.daemon():
            await host.until_clean()

    on_private_host(tmp_path, work)


def test_exhausted_range_is_told_and_heals(tmp_path: Path) -> None:
    async def work(host: Host) -> None:
        host.configure({**BRIDGE, "ipam": {"type": "host-local", "subnet": "10.88.0.0/30"}})
        async with host.daemon() as network:
            await network.attach(host.pod("first"))
            with pytest.raises(ResourceExhausted, match=r'sandbox "second": network "pods".*plugin "bridge", ADD'):
                await network.attach(host.pod("second"))
            assert len(host.leases()) == 1
            await network.detach("first")
            await network.attach(host.pod("third"))
            await network.detach("third")
            host.assert_clean()

    on_private_host(tmp_path, work)


def test_configuration_directory_may_be_made_again(tmp_path: Path) -> None:
    async def work(host: Host) -> None:
        async with host.daemon() as network:
            assert not network.status().ready
            host.configure()
            assert network.status().ready
            await network.attach(host.pod("first"))
            (host.config_dir / "10-pods.conflist").unlink()
            host.config_dir.rmdir()
            assert str(host.config_dir) in network.status().message
            with pytest.raises(PodwrightError, match="there is no"):
                await network.attach(host.pod("second"))
            await network.detach("first")
            host.configure()
            assert network.status().ready
            await network.attach(host.pod("third"))
            await network.detach("third")
            host.assert_clean()

    on_private_host(tmp_path, work)


def test_versions_are_negotiated(tmp_path: Path) -> None:
    """Debian's plugins 1.1.1 speak 1.0.0 at most."""

    async def work(host: Host) -> None:
        async with host.daemon() as network:
            host.configure(cniVersion="0.4.0", cniVersions=["0.4.0", "1.0.0", "1.1.0"])
            attachment = await network.attach(host.pod("web"))
            assert attachment.result["cniVersion"] == "1.0.0"
            await network.detach("web")
            host.configure(cniVersion="1.1.0")
            words = 'written for CNI 1.1.0, but plugin "bridge" speaks'
            with pytest.raises(FailedPrecondition, match=words):
                await network.attach(host.pod("late"))
            async with asyncio.timeout(10):
                while words not in network.status().message:
                    await asyncio.sleep(0.01)
            host.assert_clean()

    on_private_host(tmp_path, work)


@pytest.mark.slow
def test_fifty_at_once(tmp_path: Path) -> None:
    async def work(host: Host) -> None:
        host.configure()
        async with host.daemon() as network:
            pods = [host.pod(f"pod{n}", port_mappings=[PortMapping(80, 9000 + n)]) for n in range(50)]
            attachments = await asyncio.gather(*map(network.attach, pods))
            assert len({attachment.ips for attachment in attachments}) == 50
            assert len(host.leases()) == 50
            async with serving(pods[49]):
                assert await ask("127.0.0.1", 9049) == "pod49"
            await asyncio.gather(*(network.detach(pod.sandbox_id) for pod in pods))
            host.assert_clean()

    on_private_host(tmp_path, work)
