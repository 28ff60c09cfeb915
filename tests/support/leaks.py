"""Everything that a daemon may leave on a node, to be compared with what was there before."""

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from support.node import Node

Snapshot = Mapping[str, frozenset[str]]

TABLES = ("sandbox", "container", "resource", "attachment")


def snapshot(node: Node) -> Snapshot:
    """What is there now, by kind."""
    links, rules = _network(node)
    return {
        "mounts": frozenset(_mounts(node)),
        "cgroups": frozenset(node.cgroups()),
        "processes": frozenset(node.processes()),
        "links": frozenset(links),
        "rules": frozenset(rules),
        "files": frozenset(_files(node)),
        "rows": frozenset(_rows(node)),
    }


def leaks(node: Node, before: Snapshot, *, seconds: float = 15) -> dict[str, list[str]]:
    """What is there and was not before. What is still going away is given `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        now = snapshot(node)
        found = {kind: sorted(now[kind] - before[kind]) for kind in now if now[kind] - before[kind]}
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _mounts(node: Node) -> Iterator[str]:
    """In the daemon's mount namespace and in the node's, since mounts may get from one to the other."""
    for who, pid in (("daemon", node.daemon if node.running else None), ("node", node.holder)):
        if pid is not None:
            for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
                yield f"{who}: {line.split()[4]}"


def _network(node: Node) -> tuple[Sequence[str], Sequence[str]]:
    """Interfaces, and the rules that port mappings and masquerading have made."""
    links, rules = node.run("sh", "-c", "ip -j link; echo; iptables-save -t nat").split("\n", 1)
    return (
        [link["ifname"] for link in json.loads(links)],
        [line for line in rules.splitlines() if line.startswith("-A")],
    )


def _files(node: Node) -> Iterator[str]:
    """Below the daemon's directories and those of network plugins; not images, the database, and locks."""
    root = Path(f"/proc/{node.holder}/root")
    ours = Path(f"/proc/{node.daemon}/root") if node.running else root
    for base in (ours / str(node.state)[1:], ours / str(node.root)[1:], root / "run/netns", root / "var/lib/cni"):
        for below, directories, files in os.walk(base):
            shown = "/" + below.split("/root/", 1)[1]
            directories[:] = [name for name in directories if name != "images"]
            for name in (*directories, *files):
                if not name.startswith(("state.db", "last_reserved_ip")) and name != "lock":
                    yield f"{shown}/{name}"


def _rows(node: Node) -> Iterator[str]:
    with sqlite3.connect(f"file:{node.root}/state.db?mode=ro", uri=True) as database:
        for table in TABLES:
            for row in database.execute(f"SELECT * FROM {table}"):
                yield f"{table}: {row[0]} {row[1]!r:.80}"
    database.close()
