"""The runtime, by what it answers: versions, conditions, cgroup driver, lists, the server for streams."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from podwright.client import Client
from podwright.client.control import Control
from podwright.cri import v1
from podwright.doctor.finding import Finding, State, fault, ok, warning
from podwright.doctor.machine import Machine
from podwright.errors import PodwrightError, Unimplemented

_PATIENCE = 5.0
"""Seconds, for a connection."""


def check(cri: Client, machine: Machine, status: v1.StatusResponse) -> Iterator[Finding]:
    """All of a runtime that answers."""
    config = told(status)
    yield from _conditions(status)
    yield _handlers(status)
    yield _cgroup_driver(cri, machine)
    yield _lists(cri)
    yield _streams(cri, str(config.get("streams", "")))
    yield from _own(cri, str(config.get("configFile", "")))


def told(status: v1.StatusResponse) -> Mapping[str, Any]:
    """What the runtime says of its configuration in the verbose answer: containerd and Podwright do, under one key."""
    try:
        config = json.loads(status.info["config"])
    except (KeyError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def versions(cri: Client) -> Finding:
    """Who answers, and which versions are spoken. Raises what the client does if nobody answers as one should."""
    who = cri.connect().version()
    spoken = ", ".join(f"{service} {version}" for service, version in cri.api_versions.items())
    return ok("runtime", f"{who.runtime_name} {who.runtime_version} at {cri.endpoints['RuntimeService']}: {spoken}")


def configuration(file: str) -> Finding:
    """The file of a Podwright daemon that runs, checked by the program that reads it."""
    if problem := _asked("config", "check", *([file] if file else [])):
        return fault("configuration", problem, "repair it: the daemon will not start again with this")
    return ok("configuration", f'"{file}" is in order' if file else "the defaults are in force")


def startable() -> Finding:
    """Whether Podwright's daemon would start with the usual configuration."""
    if problem := _asked("serve", "--check"):
        return fault("podwright serve", problem, "its daemon does not start before that is repaired")
    return ok("podwright serve", "nothing keeps the daemon from starting")


def _asked(command: str, *arguments: str) -> str:
    """What Podwright's daemon says is wrong; it is a program of its own, not to be imported here."""
    words = [sys.executable, "-m", "podwright", command, *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    message = done.stderr.strip().removeprefix(f"podwright {command}: ")
    return "" if done.returncode == 0 else message or f"{command} ended with status {done.returncode}"


def _conditions(status: v1.StatusResponse) -> Iterator[Finding]:
    told = {condition.type: condition for condition in status.status.conditions}
    for name, advice in (
        ("RuntimeReady", "repair what it says"),
        ("NetworkReady", "repair the network configuration, or start the network add-on"),
    ):
        condition = told.get(name)
        if condition is None:
            yield fault("conditions", f"{name} is not told: kubelets hold the node for not ready", "update the runtime")
        elif condition.status:
            yield ok("conditions", name)
        else:
            why = " ".join(filter(None, [condition.reason, condition.message]))
            yield fault("conditions", f"{name} is false: {why or 'no reason is given'}", advice)


def _handlers(status: v1.StatusResponse) -> Finding:
    names = [handler.name for handler in status.runtime_handlers if handler.name]
    return ok("handlers", ", ".join(names) if names else "the runtime does not tell them")


def _cgroup_driver(cri: Client, machine: Machine) -> Finding:
    try:
        driver = cri.runtime_config().linux.cgroup_driver
    except Unimplemented:
        return ok("cgroup driver", "the runtime does not tell it: kubelets must be configured with the same one")
    except PodwrightError as error:
        return fault("cgroup driver", f"RuntimeConfig fails: {error}", "look at the runtime's log")
    systemd = machine.exists("/run/systemd/system")
    if driver == v1.SYSTEMD and not systemd:
        return fault("cgroup driver", "systemd, which does not run here", "configure cgroupfs")
    if driver == v1.CGROUPFS and systemd:
        advice = "configure the driver systemd in runtime and kubelet"
        return warning("cgroup driver", "cgroupfs, beside systemd: two managers of one tree", advice)
    return ok("cgroup driver", "systemd" if driver == v1.SYSTEMD else "cgroupfs")


def _lists(cri: Client) -> Finding:
    try:
        pods, containers = len(cri.list_pod_sandbox().items), cri.list_containers().containers
    except PodwrightError as error:
        return fault("pods", f"cannot be listed: {error}", "look at the runtime's log")
    unknown = [container.id[:13] for container in containers if container.state == v1.CONTAINER_UNKNOWN]
    if unknown:
        advice = "remove them: `podwright rm -f ID`"
        return warning("pods", f"the runtime does not know how these containers are: {', '.join(unknown)}", advice)
    return ok("pods", f"{pods}, with {len(containers)} containers")


def _streams(cri: Client, url: str) -> Finding:
    """Only Podwright tells its URL; others do when asked to forward ports of a pod, which changes nothing."""
    ready = v1.PodSandboxFilter(state=v1.PodSandboxStateValue(state=v1.SANDBOX_READY))
    try:
        if not url:
            pods = cri.list_pod_sandbox(ready).items
            if not pods:
                return ok("streams", "not tried, for want of a ready pod")
            url = cri.port_forward(pods[0].id, []).url
        parts = urlsplit(url)
        place = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection(place, _PATIENCE).close()
    except Unimplemented:
        return ok("streams", "the runtime forwards no ports")
    except (PodwrightError, OSError, ValueError) as error:
        advice = "kubelets must reach the runtime's stream server: look at its address, and at firewalls"
        return fault("streams", f"exec, attach and port-forward fail: {error}", advice)
    return ok("streams", f"served at {parts.netloc}")


def _own(cri: Client, config_file: str) -> Iterator[Finding]:
    """What Podwright's daemon says of itself; nothing where it is another runtime."""
    with Control(cri.endpoints["RuntimeService"]) as daemon:
        try:
            found = daemon.check()
        except Unimplemented:
            return
        except PodwrightError as error:
            yield fault("daemon", f"cannot check itself: {error}", "look at its log")
            return
    yield configuration(config_file)
    for one in found:
        yield Finding(one.subject, cast("State", one.state), one.text, one.advice)
