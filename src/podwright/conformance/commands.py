"""ExecSync, as probes use it."""

import time

from podwright.conformance.bench import Bench
from podwright.conformance.checks import check, expect, refused, same
from podwright.errors import Code


@check("kubelet: exec probes and handlers")
def output_and_code(bench: Bench) -> None:
    """ExecSync gives both streams and the exit code, apart."""
    container = bench.start(bench.pod())
    done = bench.cri.exec_sync(container, ["sh", "-c", "echo out; echo err >&2; exit 3"])
    same((done.stdout, done.stderr, done.exit_code), (b"out\n", b"err\n", 3), "the answer")


@check("kubelet: only DEADLINE_EXCEEDED counts as a probe that timed out")
def timeout(bench: Bench) -> None:
    """ExecSync ends at its timeout with DEADLINE_EXCEEDED, and nothing of the command is left."""
    container = bench.start(bench.pod())
    began = time.monotonic()
    with refused("a command that takes longer than its timeout", Code.DEADLINE_EXCEEDED):
        bench.cri.exec_sync(container, ["sh", "-c", "sleep 8765"], timeout=1)
    took = time.monotonic() - began
    expect(took < 10, f"it took {took:.1f} s")
    bench.wait("the command is gone", lambda: "sleep 8765" not in bench.shell(container, "ps -o args | grep -v grep"))


@check("kubernetes#92057: probes that start daemons")
def background_children(bench: Bench) -> None:
    """ExecSync returns although a child of the command goes on and holds its output open."""
    container = bench.start(bench.pod())
    began = time.monotonic()
    done = bench.cri.exec_sync(container, ["sh", "-c", "echo done; sleep 60 & exit 0"], timeout=30)
    took = time.monotonic() - began
    same((done.stdout, done.exit_code), (b"done\n", 0), "the answer")
    expect(took < 20, f"it took {took:.1f} s")


@check("CVE-2022-1708, CVE-2022-31030")
def output_is_bounded(bench: Bench) -> None:
    """ExecSync keeps 16 MiB of output at most, and succeeds."""
    container = bench.start(bench.pod())
    done = bench.cri.exec_sync(container, ["sh", "-c", "head -c 20000000 /dev/zero"], timeout=60)
    same(done.exit_code, 0, "exit code")
    expect(len(done.stdout) <= 16 << 20, f"{len(done.stdout)} bytes came")


@check("kubelet: a probe of a container that has ended")
def only_running_ones(bench: Bench) -> None:
    """ExecSync in a container that does not run is refused."""
    container = bench.create(bench.pod())
    with refused("a command in a container that was not started"):
        bench.cri.exec_sync(container, ["true"])
    with refused("a command in a container that does not exist", Code.NOT_FOUND):
        bench.cri.exec_sync("0" * 64, ["true"])


@check("kubernetes#124743")
def commands_that_do_not_exist(bench: Bench) -> None:
    """A command that does not exist is a failure, not exit code 0."""
    container = bench.start(bench.pod())
    try:
        code = bench.cri.exec_sync(container, ["/no/such/command"]).exit_code
    except Exception:  # noqa: BLE001  runtimes differ in how they say it
        return
    expect(code != 0, "exit code is 0")
