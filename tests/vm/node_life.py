"""Runs in the virtual machine: a node with a static pod on cgroup v2, for one cgroup driver.

    python3 node_life.py systemd|cgroupfs

Ends with status 0 if the pod's cgroups are where they should be, limit what they should, and go with the pod.
"""

import glob
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from pod_life import (  # type: ignore[import-not-found]  # beside it in the machine
    CGROUPS,
    HERE,
    MEGABYTE,
    SOCKET,
    daemon,
    load_busybox,
    wait_for,
)

MANIFESTS = Path("/run/manifests")
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "memory", "emptyDir": {"medium": "Memory"}}],
        "containers": [
            {
                "name": "main",
                "image": "localhost/busybox:1",
                "command": ["sleep", "1000"],
                "resources": {
                    "requests": {"cpu": "100m", "memory": "32Mi"},
                    "limits": {"cpu": "500m", "memory": "64Mi"},
                },
                "volumeMounts": [{"name": "memory", "mountPath": "/memory"}],
            }
        ],
    },
}


def shown() -> dict[str, Any]:
    """The pod as the node shows it; empty if it does not."""
    try:
        with urllib.request.urlopen("http://127.0.0.1:10255/pods", timeout=10) as answer:
            items: list[dict[str, Any]] = json.load(answer)["items"]
    except OSError:
        return {}
    return items[0] if items else {}


def main() -> None:
    """Puts a pod there, looks at its cgroups, and takes it away."""
    (driver,) = sys.argv[1:]
    MANIFESTS.mkdir()
    (MANIFESTS / "web.json").write_text(json.dumps(POD))
    environment = {**os.environ, "PYTHONPATH": f"{HERE}/src:{HERE}/libraries"}
    command = [sys.executable, "-m", "podwright", "node", f"--container-runtime-endpoint=unix://{SOCKET}"]
    command += [f"--pod-manifest-path={MANIFESTS}", "--read-only-port=10255", "--port=0", "--hostname-override=n1"]
    with daemon(driver, "crun"):
        load_busybox()
        node = subprocess.Popen(command, env=environment)
        try:
            wait_for("the pod", lambda: shown().get("status", {}).get("phase") == "Running")
            name = f"pod{shown()['metadata']['uid']}"
            own = {
                "systemd": f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-{name}.slice",
                "cgroupfs": f"kubepods/burstable/{name}",
            }[driver]
            limits = {file: (CGROUPS / own / file).read_text().strip() for file in ("memory.max", "cpu.max")}
            assert limits == {"memory.max": str(64 * MEGABYTE), "cpu.max": "50000 100000"}, limits
            assert (CGROUPS / own / "cpu.weight").read_text().strip() != "100"
            (container,) = [path for path in glob.glob(f"{CGROUPS}/{own}/*/") if len(path) > 100]
            assert (Path(container) / "memory.max").read_text().strip() == str(64 * MEGABYTE)
            (MANIFESTS / "web.json").unlink()
            wait_for("the pod's end", lambda: not shown())
            assert not (CGROUPS / own).exists(), "the pod's cgroup is left"
            assert not os.listdir("/var/lib/kubelet/pods")
        finally:
            node.terminate()
            node.wait()
    print(f"node with {driver}: as it should be")


if __name__ == "__main__":
    main()
