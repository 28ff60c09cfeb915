"""The program behind testing/cni.py: a CNI plugin that does as it is told, and reserves files instead of addresses.

Standard library only; copied to where plugins are, beside a directory `<name>.d` with `plan.json` (what to do
differently), `calls` (a JSON line for each run) and `held/` (a file for each attachment).
"""

import contextlib
import fcntl
import json
import os
import sys
import time
from typing import Any

HOME = sys.argv[0] + ".d"


def main() -> int:
    """One run."""
    verb = os.environ.get("CNI_COMMAND", "")
    text = sys.stdin.read()
    config = json.loads(text) if text else {}
    with open(f"{HOME}/plan.json", encoding="utf-8") as file:
        plan = json.load(file)
    number = record(verb, config)
    rules = (rule for rule in plan["rules"] if rule["verb"] == verb and rule["on"] in (0, number))
    rule: dict[str, Any] = next(rules, {})
    if "wait" in rule:
        while not os.path.exists(f"{HOME}/{rule['wait']}"):
            time.sleep(0.005)
    if verb == "VERSION":
        print(json.dumps({"cniVersion": "1.0.0", "supportedVersions": plan["versions"]}))
        return 0
    if config.get("cniVersion") not in plan["versions"]:
        return fail({"code": 1, "msg": "incompatible CNI versions"})
    if verb == "ADD":
        hold()
    if "print" in rule:
        sys.stdout.write(rule["print"])
        sys.stderr.write(rule["stderr"])
        return int(rule["status"])
    if "error" in rule:
        return fail(rule["error"])
    return serve(verb, config)


def record(verb: str, config: dict[str, Any]) -> int:
    """Notes the run; returns how many of this verb there have been, this one included."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("CNI_")}
    with open(f"{HOME}/calls", "a+", encoding="utf-8") as calls:
        fcntl.flock(calls, fcntl.LOCK_EX)
        calls.seek(0)
        earlier = [json.loads(line)["verb"] for line in calls].count(verb)
        calls.write(json.dumps({"verb": verb, "environment": environment, "config": config, "pid": os.getpid()}) + "\n")
    return earlier + 1


def serve(verb: str, config: dict[str, Any]) -> int:
    """What a good plugin does."""
    if verb == "ADD":
        print(json.dumps(config.get("prevResult") or result(config)))
    elif verb == "DEL":
        with contextlib.suppress(FileNotFoundError):
            os.unlink(reservation())
    elif verb == "CHECK" and not os.path.exists(reservation()):
        return fail({"code": 100, "msg": "no reservation"})
    elif verb == "GC":
        valid = {f"{entry['containerID']}-{entry['ifname']}" for entry in config["cni.dev/valid-attachments"]}
        for name in set(os.listdir(f"{HOME}/held")) - valid:
            os.unlink(f"{HOME}/held/{name}")
    return 0


def result(config: dict[str, Any]) -> dict[str, Any]:
    """An ADD result in the form of the configuration's version."""
    addresses = config.get("addresses", ["10.1.0.2/24"])
    version = config["cniVersion"]
    if version in ("0.1.0", "0.2.0"):
        families = {"ip6" if ":" in address else "ip4": {"ip": address} for address in addresses}
        return {"cniVersion": version, **families}
    interface = {"name": os.environ["CNI_IFNAME"], "sandbox": os.environ["CNI_NETNS"]}
    ips = [{"address": address, "interface": 0} for address in addresses]
    return {"cniVersion": version, "interfaces": [interface], "ips": ips}


def reservation() -> str:
    """The file that stands for the attachment's resources."""
    return f"{HOME}/held/{os.environ['CNI_CONTAINERID']}-{os.environ['CNI_IFNAME']}"


def hold() -> None:
    """Takes the attachment's resources."""
    with open(reservation(), "w", encoding="utf-8"):
        pass


def fail(error: dict[str, Any]) -> int:
    """The error object of the specification."""
    print(json.dumps({"cniVersion": "1.0.0", **error}))
    return 1


if __name__ == "__main__":
    sys.exit(main())
