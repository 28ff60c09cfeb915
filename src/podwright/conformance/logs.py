"""Logs: the format that kubelets read, and rotation."""

import re
from pathlib import Path

from podwright.conformance.bench import Bench
from podwright.conformance.checks import check, expect, refused, same

_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d) (stdout|stderr) ([PF]) (.*)")


@check("kubelet: pkg/kubelet/kuberuntime/logs")
def format_of_lines(bench: Bench) -> None:
    """Lines have a time, a stream and the mark of a full line; the log's path is that of the configuration."""
    status = bench.run(bench.pod(), "sh", "-c", "echo out; echo err >&2; printf unfinished", log_path="a/b.log")
    same(status.log_path, str(bench.directory / "logs/a/b.log"), "log_path")
    found = [_LINE.fullmatch(line) for line in bench.log(status)]
    expect(all(found), f"the lines are {bench.log(status)!r}")
    parts = {(match[2], match[4]) for match in found if match}
    expect({("stdout", "out"), ("stderr", "err"), ("stdout", "unfinished")} <= parts, f"the lines are {parts}")


@check("kubelet: joins lines marked P with what follows")
def long_lines(bench: Bench) -> None:
    """A line longer than a portion comes in several, all but the last marked P, and is whole when they are joined."""
    status = bench.run(bench.pod(), "sh", "-c", "head -c 50000 /dev/zero | tr '\\0' x; echo")
    matches = [_LINE.fullmatch(line) for line in bench.log(status)]
    same("".join(match[4] for match in matches if match), "x" * 50000, "the line")


@check("kubelet: rotates by renaming and ReopenContainerLog")
def rotation(bench: Bench) -> None:
    """After the file is renamed and ReopenContainerLog, lines go to a new file, and none is lost."""
    container = bench.start(bench.pod(), "sh", "-c", "i=0; while true; do echo $i; i=$((i+1)); sleep 0.01; done")
    path = Path(bench.status(container).log_path)
    bench.wait("the log grows", lambda: path.exists() and path.stat().st_size > 1000)
    old = path.with_suffix(".old")
    path.rename(old)
    bench.cri.reopen_container_log(container)
    expect(path.exists(), "there is no new file when ReopenContainerLog returns")
    bench.wait("the new log grows", lambda: path.stat().st_size > 1000)
    bench.cri.stop_container(container)
    text = old.read_text() + path.read_text()
    numbers = [int(match[4]) for line in text.splitlines() if (match := _LINE.fullmatch(line))]
    same(numbers, list(range(len(numbers))), "the numbers in both files")


@check("kubelet: skips the rotation of a container that has ended")
def only_running_ones(bench: Bench) -> None:
    """ReopenContainerLog of a container that has exited is refused, and makes no file."""
    status = bench.run(bench.pod(), "true")
    Path(status.log_path).unlink(missing_ok=True)
    with refused("ReopenContainerLog of an exited container"):
        bench.cri.reopen_container_log(status.id)
    expect(not Path(status.log_path).exists(), "a new log was made")
