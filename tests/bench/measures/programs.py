"""What the OCI runtime and the network plugins take by themselves: no runtime that calls them can be quicker."""

import json
import os
import subprocess
import sys
from pathlib import Path

from bench.peers import Podwright, start_peer
from bench.pods import bring_up, new_pod
from bench.results import Quantity
from bench.run import Bench

TESTS = Path(__file__).parents[2]


def measure(bench: Bench) -> None:
    """On a machine of ours, without its daemon's part."""
    count = str(bench.choose(50, 10))
    peer = Podwright(bench.oci)
    try:
        start_peer(peer)
        pod = new_pod(peer)
        bring_up(pod)
        program = peer.machine.state / "programs" / bench.oci / bench.oci
        root = peer.machine.state / "runtimes" / bench.oci
        conflist = next(peer.machine.cni.iterdir())
        for arguments in (
            ["exec", str(program if program.parent.exists() else bench.oci), str(root), pod.containers[0], count],
            ["network", str(conflist), count],
        ):
            for title, values in _run(peer, arguments).items():
                bench.add(Quantity("programs alone", title, "ms"), peer, *values)
    finally:
        peer.close()


def _run(peer: Podwright, arguments: list[str]) -> dict[str, list[float]]:
    """In the daemon's own mount namespace, where crun works on hybrid cgroups."""
    namespaces = ["nsenter", "-t", str(peer.machine.daemon), "-m", "-n", "-p", "--"]
    command = [*namespaces, sys.executable, "-m", "bench.programs", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
    found: dict[str, list[float]] = json.loads(output)
    return found
