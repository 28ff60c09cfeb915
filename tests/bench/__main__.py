"""`make bench`: runs the measures and writes what they find.

Results go to DIRECTORY/benchmarks.json, the table into DIRECTORY/benchmarks.md between its markers, the plot to
DIRECTORY/benchmarks.svg. --report makes the latter two anew from the first without measuring.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from bench import report
from bench.measures import MEASURES
from bench.peers import Containerd, Podwright, checkout
from bench.results import Results, machine
from bench.run import Bench


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Podwright and containerd side by side.")
    parser.add_argument("--quick", action="store_true", help="a run of some minutes, with few samples")
    parser.add_argument("--only", action="append", choices=MEASURES, metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--oci", choices=("crun", "runc"), default="crun", help="the OCI runtime of both")
    parser.add_argument("--against", type=Path, help="another checkout of Podwright, in place of containerd")
    parser.add_argument("--report", action="store_true", help="measure nothing, show what the last run has found")
    parser.add_argument("--output", type=Path, help="directory; docs, or build/bench with --quick and --only")
    options = parser.parse_args()
    whole = not (options.quick or options.only or options.against)
    output: Path = options.output or Path("docs" if whole or options.report else "build/bench")
    if options.report:
        report.write(Results.read(output / "benchmarks.json"), output)
        return 0
    if os.geteuid() != 0:
        parser.error("root is needed: real pods are made")
    other = checkout(options.against.resolve()) if options.against else Containerd
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)  # as the runtimes have precedence (peers.py)
    bench = Bench(options.oci, options.quick, [Podwright, other])
    bench.results.about.update(machine(), oci=options.oci, quick=options.quick)
    for name in options.only or MEASURES:
        begun = time.monotonic()
        bench.say(f"{name} …")
        MEASURES[name](bench)
        bench.say(f"{name}: {time.monotonic() - begun:.0f} s")
    output.mkdir(parents=True, exist_ok=True)
    bench.results.write(output / "benchmarks.json")
    report.write(bench.results, output)
    print(report.tables(bench.results))
    return 0


def _leave(number: int, _: object) -> NoReturn:
    """So that the machines are taken down; a shell ignores SIGINT for what it runs in the background."""
    sys.exit(128 + number)


sys.exit(main())
