"""A CNI plugin for tests: a real program that records its runs and fails, waits or babbles as it is told."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from podwright.network.config import VERSIONS
from podwright.testing import cni_plugin


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the plugin."""

    verb: str
    environment: dict[str, str]
    """Its CNI_* variables."""
    config: dict[str, Any]
    pid: int


class FakePlugin:
    """One plugin, installed in a directory. `on` in its methods is the how manieth run of the verb is meant; 0: all.

    Every ADD takes a reservation, failed ones too, and DEL gives it back: `held()` shows what leaks.
    """

    def __init__(self, directory: str, name: str = "fake", versions: tuple[str, ...] = VERSIONS) -> None:
        self.name = name
        self.path = os.path.join(directory, name)
        self._home = f"{self.path}.d"
        self._plan: dict[str, Any] = {"versions": versions, "rules": []}
        os.makedirs(f"{self._home}/held")
        self._write()
        with open(cni_plugin.__file__, encoding="utf-8") as source, open(self.path, "w", encoding="utf-8") as program:
            program.write(f"#!{sys.executable} -IS\n{source.read()}")
        os.chmod(self.path, 0o755)

    def fail(self, verb: str, *, on: int = 0, code: int = 100, msg: str = "as told", details: str = "") -> None:
        """Ends with an error object."""
        self._add(verb, on, error={"code": code, "msg": msg, "details": details})

    def babble(self, verb: str, text: str, *, on: int = 0, status: int = 0, stderr: str = "") -> None:
        """Prints `text` instead of a result, and ends with `status`."""
        self._add(verb, on, print=text, status=status, stderr=stderr)

    def hang(self, verb: str, *, on: int = 0, gate: str = "gate") -> None:
        """Waits, having reserved nothing yet, until `open_gate`; then goes on as usual."""
        self._add(verb, on, wait=gate)

    def open_gate(self, gate: str = "gate") -> None:
        """Lets those that wait there go on."""
        with open(f"{self._home}/{gate}", "w", encoding="utf-8"):
            pass

    def behave(self) -> None:
        """From now on everything goes well."""
        self._plan["rules"] = []
        self._write()

    def runs(self, *verbs: str) -> list[Run]:
        """All runs until now, or those of some verbs, in the order of their beginning."""
        try:
            with open(f"{self._home}/calls", encoding="utf-8") as calls:
                runs = [Run(**json.loads(line)) for line in calls if line.endswith("\n")]
        except FileNotFoundError:
            return []
        return [run for run in runs if not verbs or run.verb in verbs]

    async def wait_for(self, verb: str, count: int = 1) -> list[Run]:
        """The runs of a verb, as soon as there are `count`."""
        while len(runs := self.runs(verb)) < count:  # noqa: ASYNC110  another process's doing
            await asyncio.sleep(0.005)
        return runs

    def held(self) -> set[str]:
        """The ids of sandboxes with a reservation."""
        return {name.rpartition("-")[0] for name in os.listdir(f"{self._home}/held")}

    def _add(self, verb: str, on: int, **rule: object) -> None:
        self._plan["rules"].append({"verb": verb, "on": on, **rule})
        self._write()

    def _write(self) -> None:
        temporary = f"{self._home}/plan.new"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(self._plan, file)
        os.replace(temporary, f"{self._home}/plan.json")
