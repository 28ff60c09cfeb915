"""`podwright run`: the pods of a file, on this machine, until they end or the user has had enough."""

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

from podwright.cli.connection import connect
from podwright.cli.inventory import Inventory
from podwright.cli.logs import Printer, prefixes
from podwright.cli.main import INTERRUPTED
from podwright.cli.output import report
from podwright.cli.run_life import Interrupted, PodLife, Watcher
from podwright.client import Client
from podwright.cri import v1
from podwright.errors import AlreadyExists, InvalidArgument, PodwrightError
from podwright.pods.directory import DEFAULT_BASE
from podwright.pods.logfile import follow
from podwright.pods.read import PodFile, parse
from podwright.pods.schema import Container


def run(options: argparse.Namespace) -> int:
    """Runs all pods of a file; returns the first status of theirs that is not 0."""
    file = _read(options.file)
    for note in file.notes:
        report(f"note: {note}")
    with connect(options) as cri:
        _refuse_twice(cri, file)
        printer = Printer()
        followers = [_Follower(printer, {} if options.detach else heads) for heads in _heads(file)]
        lives = [
            PodLife(
                cri,
                pod,
                file,
                base=os.path.abspath(options.directory or DEFAULT_BASE),
                handler=options.runtime_handler,
                watcher=Watcher(report, follower.started, follower.ended),
            )
            for pod, follower in zip(file.pods, followers, strict=True)
        ]
        if options.detach:
            return _detached(lives)
        return _attended(lives, followers, remove=options.rm)


def _read(path: str) -> PodFile:
    try:
        if path == "-":
            return parse(sys.stdin.read(), "standard input")
        with open(path, encoding="utf-8") as file:
            return parse(file.read(), path)
    except OSError as error:
        raise InvalidArgument(f'file "{path}": {(error.strerror or "").lower()}') from None
    except UnicodeDecodeError:
        raise InvalidArgument(f'file "{path}" is not UTF-8') from None


def _refuse_twice(cri: Client, file: PodFile) -> None:
    there = {(pod.namespace, pod.name) for pod in Inventory.of(cri).pods if pod.ready}
    for pod in file.pods:
        name = (pod.metadata.namespace or "default", pod.metadata.name)
        if name in there:
            raise AlreadyExists(
                f'pod "{"/".join(name)}" is here already: `podwright rm -f {"/".join(name)}` removes it'
            )
        there.add(name)


def _detached(lives: Sequence[PodLife]) -> int:
    for life in lives:
        policy = life.pod.spec.restart_policy
        if policy in {"Always", "OnFailure"}:
            report(f"note: pod {life.name}: restartPolicy {policy}: nobody starts containers of a detached pod again")
    with _terminable():
        for life in lives:
            try:
                life.start()
            except BaseException:
                for begun in lives:
                    begun.stop()
                    begun.remove()
                raise
    for life in lives:
        print(life.id)
    return 0


@dataclass(slots=True)
class _Outcome:
    """What came of a pod: filled in by its thread."""

    status: int = 0
    error: PodwrightError | None = None


def _attended(lives: Sequence[PodLife], followers: "Sequence[_Follower]", *, remove: bool) -> int:
    outcomes = [_Outcome() for _ in lives]
    threads = [
        threading.Thread(target=_live, args=(life, outcome, follower, remove))
        for life, outcome, follower in zip(lives, outcomes, followers, strict=True)
    ]
    with _terminable():
        for thread in threads:
            thread.start()
        interrupted = not _joined(threads)
        if interrupted:
            report("stopping; once more to kill")
            for life in lives:
                life.interrupt()
            if not _joined(threads):
                for life in lives:
                    life.kill()
                _joined(threads)
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    return INTERRUPTED if interrupted else next((outcome.status for outcome in outcomes if outcome.status), 0)


def _live(life: PodLife, outcome: _Outcome, follower: "_Follower", remove: bool) -> None:
    """The thread of one pod. Whatever goes wrong, nothing is left of it."""
    gone = remove
    try:
        life.start()
        outcome.status = life.wait()
    except Interrupted:
        gone = True
    except PodwrightError as error:
        outcome.error, gone = error, True
    try:
        life.stop()
        follower.finish()
        if gone:
            life.remove()
    except PodwrightError as error:
        if outcome.error is None:
            outcome.error = error
        else:
            report(f"pod {life.name}, afterwards: {error}")


def _joined(threads: Sequence[threading.Thread]) -> bool:
    """Waits for the threads; False if the user interrupts that."""
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        return False
    return True


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass(slots=True)
class _Follower:
    """Prints what the containers of one pod write, from their start on."""

    printer: Printer
    heads: Mapping[str, str]
    """What stands before the lines of each container; those that are not here are not followed."""
    _running: dict[str, tuple[threading.Thread, threading.Event]] = field(default_factory=dict)

    def started(self, container: Container, status: v1.ContainerStatus) -> None:
        """Follows a container that has just been started."""
        if container.name in self.heads:
            over = threading.Event()
            arguments = (status, self.heads[container.name], over)
            thread = threading.Thread(target=self._follow, args=arguments, daemon=True)
            self._running[status.id] = thread, over
            thread.start()

    def ended(self, container_id: str) -> None:
        """Returns when all is printed that a container has written before it ended."""
        if container_id in self._running:
            thread, over = self._running.pop(container_id)
            over.set()
            thread.join()

    def finish(self) -> None:
        """The same for all containers."""
        for container_id in list(self._running):
            self.ended(container_id)

    def _follow(self, status: v1.ContainerStatus, head: str, over: threading.Event) -> None:
        try:
            for entry in follow(status.log_path, None, over.wait):
                self.printer.line(entry, head)
        except PodwrightError as error:
            report(f"log of {status.metadata.name}: {error}")


def _heads(file: PodFile) -> list[dict[str, str]]:
    """For each pod what stands before the lines of its containers; nothing if there is only one container in all."""
    names = [[item.name for item in [*pod.spec.init_containers, *pod.spec.containers]] for pod in file.pods]
    several = len(file.pods) > 1
    texts = prefixes(
        [
            f"{pod.metadata.name}/{one}" if several else one
            for pod, of_pod in zip(file.pods, names, strict=True)
            for one in of_pod
        ]
    )
    rest = iter(texts)
    return [{name: next(rest) for name in of_pod} for of_pod in names]
