"""`podwright doctor`: what makes pods fail on this node."""

import argparse
from dataclasses import asdict
from typing import Final

from podwright.cli.connection import connect
from podwright.cli.output import coloured, structured
from podwright.doctor.examine import examine
from podwright.doctor.finding import Finding
from podwright.doctor.machine import Machine

_PATIENCE: Final = 20.0
"""Seconds; a runtime that takes longer for a plain call is not well."""
_COLOURS: Final = {"ok": "32", "warning": "33", "fault": "1;31"}


def doctor(options: argparse.Namespace) -> int:
    """Prints a line for each check as it is made; the status is 1 if there is a fault."""
    found: list[Finding] = []
    for finding in examine(lambda: connect(options, timeout=_PATIENCE), Machine()):
        found.append(finding)
        if options.output == "table" and (finding.state != "ok" or not options.quiet):
            _print(finding)
    if options.output != "table":
        structured({"findings": [asdict(finding) for finding in found]}, options.output)
    return 1 if any(finding.state == "fault" for finding in found) else 0


def _print(finding: Finding) -> None:
    print(f"{coloured(f'{finding.state:7}', _COLOURS[finding.state])}  {finding.subject}: {finding.text}", flush=True)
    if finding.advice:
        print(f"         {finding.advice}", flush=True)
