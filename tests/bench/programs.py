"""Runs on the machine of a runtime: what the programs take that both runtimes call, called by nobody but this.

`python -m bench.programs exec PROGRAM ROOT CONTAINER COUNT` or `… network CONFLIST COUNT`; prints the samples in
milliseconds as JSON, by title.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PLUGINS = "/usr/lib/cni"

Samples = dict[str, list[float]]


def _run(command: Sequence[str], text: str = "", environment: Mapping[str, str] | None = None) -> bytes:
    environment = {**os.environ, **(environment or {})}
    done = subprocess.run(command, input=text.encode(), env=environment, capture_output=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout!r} {done.stderr!r}"
    return done.stdout


def execute(program: str, root: str, container: str, count: int) -> Samples:
    """The OCI runtime's exec of `true`."""
    samples: Samples = {"exec of true": [], "CPU of exec of true": []}
    for _ in range(count):
        begun, cpu = time.perf_counter(), _cpu_ms()
        _run([program, f"--root={root}", "exec", container, "true"])
        samples["exec of true"].append((time.perf_counter() - begun) * 1000)
        samples["CPU of exec of true"].append(_cpu_ms() - cpu)
    return samples


def _cpu_ms() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def network(conflist: str, count: int) -> Samples:
    """A chain of network plugins: ADD, then DEL in the opposite order."""
    document = json.loads(Path(conflist).read_text())
    samples: Samples = {"network plugins, ADD": [], "network plugins, DEL": []}
    for number in range(count):
        name = f"alone-{number}"
        _run(["ip", "netns", "add", name])
        result: Any = None
        begun = time.perf_counter()
        for plugin in document["plugins"]:
            result = json.loads(_call("ADD", name, document, plugin, result))
        samples["network plugins, ADD"].append((time.perf_counter() - begun) * 1000)
        begun = time.perf_counter()
        for plugin in reversed(document["plugins"]):
            _call("DEL", name, document, plugin, result)
        samples["network plugins, DEL"].append((time.perf_counter() - begun) * 1000)
        _run(["ip", "netns", "delete", name])
    return samples


def _call(verb: str, name: str, document: Mapping[str, Any], plugin: Mapping[str, Any], previous: Any) -> bytes:
    config = {key: value for key, value in plugin.items() if key != "capabilities"}
    config |= {"cniVersion": document["cniVersion"], "name": document["name"]}
    if previous is not None:
        config["prevResult"] = previous
    environment = {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": name,
        "CNI_NETNS": f"/run/netns/{name}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": PLUGINS,
    }
    return _run([f"{PLUGINS}/{plugin['type']}"], json.dumps(config), environment)


def main() -> None:
    """The command line."""
    match sys.argv[1:]:
        case ["exec", program, root, container, count]:
            samples = execute(program, root, container, int(count))
        case ["network", conflist, count]:
            samples = network(conflist, int(count))
        case _:
            sys.exit(__doc__)
    print(json.dumps(samples))


if __name__ == "__main__":
    main()
