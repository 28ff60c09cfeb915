"""What containers write: the log format of the CRI, rotation, stdin and terminals."""

import os
import socket
import stat
import time
from pathlib import Path

import pytest

from podwright.cri import v1
from podwright.errors import FailedPrecondition
from podwright.wire import cri_log
from podwright.wire.cri_log import Record
from support.cri import Pods, secured, until

pytestmark = pytest.mark.root


@pytest.fixture
def sandbox(pods: Pods) -> str:
    return pods.run_sandbox()


def records(log: Path) -> list[Record]:
    found = [cri_log.parse(line) for line in log.read_bytes().splitlines()]
    assert all(isinstance(record, Record) for record in found)
    return [record for record in found if isinstance(record, Record)]


def log_of(pods: Pods, container_id: str) -> Path:
    return Path(pods.status(container_id).log_path)


def test_every_line_with_its_time_and_stream(pods: Pods, sandbox: str) -> None:
    began = time.time_ns()
    container_id = pods.start(sandbox, "echo one; echo two >&2; printf '\\377ä\\n\\n'")
    pods.exited(container_id)
    found = records(log_of(pods, container_id))
    by_stream = {name: [r.text for r in found if r.stream == name] for name in ("stdout", "stderr")}
    assert by_stream == {"stdout": [b"one", b"\xff\xc3\xa4", b""], "stderr": [b"two"]}
    assert all(began <= record.time_ns <= time.time_ns() for record in found)
    assert [record.time_ns for record in found] == sorted(record.time_ns for record in found)


def test_a_line_without_an_end_and_one_that_is_long(pods: Pods, sandbox: str) -> None:
    script = "head -c 100000 /dev/zero | tr '\\0' x; echo; printf 'no newline'"
    container_id = pods.start(sandbox, script)
    pods.exited(container_id)
    reader = cri_log.LogReader()
    lines = [*reader.receive(log_of(pods, container_id).read_bytes()), *reader.finish()]
    assert [line.text for line in lines] == [b"x" * 100000, b"no newline"]
    tags = [record.full for record in records(log_of(pods, container_id))]
    assert not tags[0], "a long line comes in pieces"
    assert not tags[-1], "a line without an end is a piece"


def test_the_log_is_the_node_s_to_read(pods: Pods, sandbox: str) -> None:
    config = pods.container_config("echo x", log_path="c/0.log")
    container_id = pods.start(sandbox, config)
    pods.exited(container_id)
    log = log_of(pods, container_id)
    assert log.parent.name == "c"
    assert stat.S_IMODE(log.stat().st_mode) == 0o640
    pods.cri.remove_container(container_id)
    assert log.exists(), "logs are removed by who rotates them"


def test_no_log_is_asked_for(pods: Pods, sandbox: str) -> None:
    container_id = pods.start(sandbox, pods.container_config("yes | head -n 100000; exit 6", log_path=""))
    status = pods.exited(container_id)
    assert (status.log_path, status.exit_code) == ("", 6)
    with pytest.raises(FailedPrecondition):
        pods.cri.reopen_container_log(container_id)


def test_a_second_attempt_appends(pods: Pods, sandbox: str) -> None:
    config = pods.container_config("echo first", log_path="c.log")
    first = pods.start(sandbox, config)
    pods.exited(first)
    config.metadata.attempt = 1
    config.command[2] = "echo second"
    second = pods.start(sandbox, config)
    pods.exited(second)
    assert pods.output(second) == "first\nsecond\n"


def test_rotation_loses_nothing(pods: Pods, sandbox: str) -> None:
    script = "i=0; until [ -e /tmp/stop ]; do echo $i; i=$((i+1)); done; echo end; exec sleep 1000"
    container_id = pods.start(sandbox, script)
    log = log_of(pods, container_id)
    rotated = []
    for number in range(5):
        rotated.append(log.rename(f"{log}.{number}"))
        pods.cri.reopen_container_log(container_id)
        assert log.exists(), "it is there when the call returns"
        assert stat.S_IMODE(log.stat().st_mode) == 0o640
        until(log.stat, lambda status: status.st_size > 0)
    pods.exec(container_id, "touch /tmp/stop")
    pods.says(container_id, "end")
    reader = cri_log.LogReader()  # a line may begin in one file and end in the next
    lines = [line for part in (*rotated, log) for line in reader.receive(part.read_bytes())]
    texts = [line.text for line in lines]
    assert texts == [*(str(n).encode() for n in range(len(texts) - 1)), b"end"]


def test_only_the_log_of_a_running_container_is_reopened(pods: Pods, sandbox: str) -> None:
    created = pods.create(sandbox)
    ended = pods.start(sandbox, "exit 0")
    pods.exited(ended)
    for container_id in (created, ended):
        log = log_of(pods, container_id)
        log.rename(f"{log}.1")
        with pytest.raises(FailedPrecondition, match="is not running: its log cannot be reopened"):
            pods.cri.reopen_container_log(container_id)
        assert not log.exists()


def attach(pods: Pods, container_id: str) -> socket.socket:
    """A connection to the container's stdio, as conmon gives it."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    directory = os.open(f"/proc/{pods.node.daemon}/root{pods.node.state}/containers/{container_id}", os.O_PATH)
    try:
        connection.connect(f"/proc/self/fd/{directory}/attach")
    finally:
        os.close(directory)
    return connection


def test_without_stdin_a_reader_is_at_the_end_at_once(pods: Pods, sandbox: str) -> None:
    assert pods.run(sandbox, "cat; echo end") == (0, "end\n")


def test_stdin_stays_open_until_it_is_closed(pods: Pods, sandbox: str) -> None:
    container_id = pods.start(sandbox, pods.container_config("read line; echo got $line; cat", stdin=True))
    with attach(pods, container_id) as connection:
        connection.send(b"hello\n")
        pods.says(container_id, "got hello")
    with attach(pods, container_id) as connection:
        connection.send(b"again\n")
        pods.says(container_id, "again")
    assert pods.status(container_id).state == v1.CONTAINER_RUNNING


def test_stdin_once_ends_with_the_first_who_attached(pods: Pods, sandbox: str) -> None:
    container_id = pods.start(sandbox, pods.container_config("cat; echo end", stdin=True, stdin_once=True))
    assert pods.status(container_id).state == v1.CONTAINER_RUNNING
    with attach(pods, container_id) as connection:
        connection.send(b"hello\n")
        pods.says(container_id, "hello")
    assert pods.exited(container_id).exit_code == 0
    assert pods.output(container_id) == "hello\nend\n"


@pytest.mark.parametrize("handler", ["crun", "runc"])
def test_a_terminal(pods: Pods, handler: str) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && echo $TERM; tty; echo err >&2; ls -l /dev/console | cut -c1"
    linux = secured()
    container_id = pods.start(
        pods.run_sandbox(handler=handler), pods.container_config(script, tty=True, stdin=True, linux=linux)
    )
    assert pods.exited(container_id).exit_code == 0
    found = records(log_of(pods, container_id))
    assert {record.stream for record in found} == {"stdout"}
    assert [record.text.rstrip(b"\r") for record in found] == [b"xterm", b"/dev/pts/0", b"err", b"c"]


def test_a_flood_is_written_whole(pods: Pods, sandbox: str) -> None:
    container_id = pods.start(sandbox, "yes 0123456789 | head -n 300000")
    pods.exited(container_id)
    lines = cri_log.LogReader().receive(log_of(pods, container_id).read_bytes())
    assert len(lines) == 300000
    assert {line.text for line in lines if isinstance(line, cri_log.Line)} == {b"0123456789"}


def test_a_log_that_was_not_rotated_is_kept(pods: Pods, sandbox: str) -> None:
    container_id = pods.start(sandbox, "echo one; exec sleep 1000")
    pods.says(container_id, "one")
    pods.cri.reopen_container_log(container_id)
    assert pods.output(container_id) == "one\n"
