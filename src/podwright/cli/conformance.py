"""`podwright conformance`: does the runtime do what kubelets and the protocol ask of it?"""

import argparse
import sys
from collections.abc import Sequence

from podwright.cli.about import cgroup_driver
from podwright.cli.connection import connect
from podwright.cli.output import Column, coloured, report, structured, table
from podwright.cli.pull import pull_image
from podwright.conformance.run import Result, chosen, run
from podwright.cri import v1
from podwright.errors import NotFound

_COLOURS = {"passed": "32", "failed": "1;31", "skipped": "33"}


def conformance(options: argparse.Namespace) -> int:
    """Runs the checks; the status is 1 if one has failed."""
    checks = chosen(options.words)
    if not checks:
        raise NotFound(f"no check has one of these words: {' '.join(options.words)}")
    if options.list:
        table(checks, (Column("AREA", lambda check: check.area), Column("CHECK", lambda check: check.name)))
        return 0
    results: list[Result] = []
    with connect(options) as cri:
        version = cri.version()
        if not cri.image_status(options.image).HasField("image"):
            pull_image(cri, options.image, quiet=False)
        parent = options.cgroup_parent or ("system.slice" if cgroup_driver(cri) == "systemd" else "")
        report(f"{version.runtime_name} {version.runtime_version}, {len(checks)} checks")
        for result in run(cri, checks, options.image, parent):
            results.append(result)
            if options.output == "table":
                _print(result)
    _end(results, version, options.output)
    return 1 if any(result.outcome == "failed" for result in results) else 0


def _print(result: Result) -> None:
    state = coloured(f"{result.outcome:7}", _COLOURS[result.outcome])
    print(f"{state}  {result.check.area}: {result.check.name} ({result.seconds:.1f} s)", flush=True)
    if result.message:
        print(f"         {result.message}")
    if result.outcome == "failed":
        print(f"         asked for by {result.check.rule}")


def _end(results: Sequence[Result], version: v1.VersionResponse, form: str) -> None:
    counts = {outcome: sum(result.outcome == outcome for result in results) for outcome in _COLOURS}
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    if form == "table":
        print(summary, file=sys.stderr)
        return
    plain = [
        {
            "area": result.check.area,
            "check": result.check.name,
            "rule": result.check.rule,
            "outcome": result.outcome,
            "message": result.message,
            "seconds": round(result.seconds, 3),
        }
        for result in results
    ]
    runtime = {"name": version.runtime_name, "version": version.runtime_version}
    structured({"runtime": runtime, **counts, "results": plain}, form)
