"""`podwright exec`, `attach` and `port-forward` as people type them, and crictl where it is installed."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

from support.cri import Pods, until
from support.streaming import Echo, within
from support.terminal import terminal

pytestmark = pytest.mark.root

CRICTL = os.environ.get("CRICTL") or shutil.which("crictl")
needs_crictl = pytest.mark.skipif(CRICTL is None, reason="crictl is neither on PATH nor named by CRICTL")


def podwright(pods: Pods, command: str, *arguments: str) -> list[str]:
    endpoint = f"unix://{pods.node.socket}"
    return pods.node.enter([sys.executable, "-m", "podwright", command, "-r", endpoint, *arguments])


def crictl(pods: Pods, *arguments: str) -> list[str]:
    assert CRICTL
    endpoint = f"unix://{pods.node.socket}"
    return pods.node.enter([CRICTL, "--config=/dev/null", "-r", endpoint, "-i", endpoint, *arguments])


def run(command: Sequence[str], data: bytes = b"") -> tuple[int, bytes, bytes]:
    done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def container(pods: Pods) -> str:
    return pods.start(pods.run_sandbox())


def test_exec_passes_streams_and_status_on(pods: Pods, container: str) -> None:
    assert run(podwright(pods, "exec", container, "--", "sh", "-c", "echo out; echo err >&2; exit 7")) == (
        7,
        b"out\n",
        b"err\n",
    )
    data = os.urandom(3 << 20)
    assert run(podwright(pods, "exec", "-i", container, "cat"), data) == (0, data, b"")
    status, out, err = run(podwright(pods, "exec", container, "--", "no-such-program"))
    assert (status, out) == (125, b"")
    assert b'"no-such-program" cannot be run in container' in err


def test_exec_reads_files_and_nothing(pods: Pods, container: str) -> None:
    command = podwright(pods, "exec", "-i", container, "cat")
    with open(__file__, "rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, check=True)
        file.seek(0)
        assert done.stdout == file.read()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert done.stdout == b""


def test_exec_with_a_time_limit_has_no_streams(pods: Pods, container: str) -> None:
    assert run(podwright(pods, "exec", "--timeout", "9", container, "echo", "hi")) == (0, b"hi\n", b"")
    status, _, err = run(podwright(pods, "exec", "--timeout", "9", "-i", container, "cat"))
    assert status == 125
    assert b"--timeout goes with neither -i nor -t" in err


def test_a_shell_at_a_terminal(pods: Pods, container: str) -> None:
    with terminal(podwright(pods, "exec", "-it", container, "sh")) as screen:
        screen.see(b"# ")
        screen.type(b"stty size\r")
        screen.see(b"30 100")
        screen.resize(132, 43)
        screen.type(b"sleep 0.5; stty size\r")
        screen.see(b"43 132")
        screen.type(b"sleep 1000\r")
        screen.see(b"sleep 1000\r\n")
        until(lambda: pods.exec(container, "ps -o args"), lambda text: "sleep 1000" in text.splitlines()[2:])
        screen.type(b"\x03")
        screen.type(b"exit $((40 + 2))\r")
        assert screen.end() == 42


def test_the_terminal_is_as_before_afterwards(pods: Pods, container: str) -> None:
    shell = ["sh", "-c", 'before=$(stty -g); "$@"; test "$before" = "$(stty -g)" && echo unchanged', "sh"]
    with terminal([*shell, *podwright(pods, "exec", "-it", container, "true")]) as screen:
        screen.see(b"unchanged")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signalled_exec_takes_its_command_along(pods: Pods, container: str, number: signal.Signals) -> None:
    process = subprocess.Popen(podwright(pods, "exec", container, "sh", "-c", "echo begun; sleep 6789"), stdout=-1)
    assert process.stdout
    assert process.stdout.readline() == b"begun\n"
    children = f"/proc/{process.pid}/task/{process.pid}/children"
    with open(children, encoding="ascii") as file:
        os.kill(int(file.read()), number)  # nsenter's child
    assert process.wait(timeout=30) == (130 if number == signal.SIGINT else -number)
    process.stdout.close()
    until(lambda: pods.exec(container, "ps -o args"), lambda text: "6789" not in text)


def test_attach_and_detach(pods: Pods) -> None:
    script = "while read line; do echo got $line; done"
    made = pods.start(pods.run_sandbox(), pods.container_config(script, stdin=True, tty=True))
    with terminal(podwright(pods, "attach", "-it", made)) as screen:
        screen.type(b"one\r")
        screen.see(b"got one")
        screen.type(b"\x10\x11")
        assert screen.end() == 0
    with terminal(podwright(pods, "attach", "-it", made)) as screen:
        screen.type(b"two\r")
        screen.see(b"got two")
        screen.type(b"\x04")
        assert screen.end() == 0
    assert pods.exited(made).exit_code == 0


def test_attach_passes_the_containers_status_on(pods: Pods) -> None:
    made = pods.start(pods.run_sandbox(), pods.container_config("read line; echo $line; exit 9", stdin=True))
    assert run(podwright(pods, "attach", "-i", made), b"hello\n") == (9, b"hello\n", b"")


def test_attach_returns_at_the_end_of_its_input(pods: Pods) -> None:
    script = "while read line; do echo got $line; done"
    made = pods.start(pods.run_sandbox(), pods.container_config(script, stdin=True))
    assert run(podwright(pods, "attach", "-i", made), b"hello\n") == (0, b"got hello\n", b"")


def received(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


@contextlib.contextmanager
def forwarding(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
            for child in file.read().split():
                os.kill(int(child), signal.SIGINT)
        process.communicate(timeout=30)


@pytest.fixture
def listening(pods: Pods) -> Iterator[str]:
    """A sandbox in which port 8080 echoes."""
    sandbox = pods.run_sandbox(pods.networked_config())
    echo = Echo(str(pods.proc(pods.start(sandbox)) / "ns/net"), "127.0.0.1", 8080)
    yield sandbox
    echo.close()


def test_port_forward(pods: Pods, listening: str) -> None:
    with forwarding(podwright(pods, "port-forward", listening, ":8080", "18081:9", "8080")) as process:
        assert process.stdout
        assert process.stderr
        lines = [process.stdout.readline().decode() for _ in range(3)]
        port = int(lines[0].split()[2])
        assert lines == [
            f"127.0.0.1 port {port} leads to port 8080\n",
            "127.0.0.1 port 18081 leads to port 9\n",
            "127.0.0.1 port 8080 leads to port 8080\n",
        ]
        data = os.urandom(1 << 20)
        assert within(pods.node, lambda: received(port, data)) == data
        assert within(pods.node, lambda: received(8080, data)) == data
        assert within(pods.node, lambda: received(18081, b"")) == b""
        assert b"connection refused" in process.stderr.readline()
        assert within(pods.node, lambda: received(port, b"still there")) == b"still there"


def test_port_forward_to_what_makes_no_sense(pods: Pods, listening: str) -> None:
    for ports in ("http", "0", "1:2:3", "70000", "-1"):
        status, _, err = run(podwright(pods, "port-forward", "--", listening, ports))
        assert status == 2
        assert b"is none of REMOTE, LOCAL:REMOTE and :REMOTE" in err
    status, _, err = run(podwright(pods, "port-forward", "--address", "192.0.2.1", listening, "80"))
    assert status == 1
    assert b"cannot listen on 192.0.2.1" in err


# crictl


TRANSPORTS = ["spdy", "websocket"]


@needs_crictl
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_crictl_exec(pods: Pods, container: str, transport: str) -> None:
    command = crictl(pods, "exec", "--transport", transport, "-i", container, "sh", "-c", "cat; echo err >&2")
    assert run(command, b"hello\n") == (0, b"hello\n", b"err\n")
    status, _, err = run(crictl(pods, "exec", "--transport", transport, container, "sh", "-c", "exit 7"))
    assert status == 1
    assert b"exit code 7" in err


@needs_crictl
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_crictl_exec_at_a_terminal(pods: Pods, container: str, transport: str) -> None:
    with terminal(crictl(pods, "exec", "--transport", transport, "-it", container, "sh")) as screen:
        screen.see(b"# ")
        screen.type(b"stty size; tty\r")
        screen.see(b"30 100")
        screen.see(b"/dev/pts/")
        screen.type(b"exit\r")
        assert screen.end() == 0


@needs_crictl
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_crictl_attach(pods: Pods, transport: str) -> None:
    made = pods.start(pods.run_sandbox(), pods.container_config("read line; echo got $line", stdin=True))
    command = crictl(pods, "attach", "--transport", transport, "-i", made)
    assert run(command, b"hello\n")[:2] == (0, b"got hello\n")
    script = "while read line; do echo got $line; done"
    endless = pods.start(pods.run_sandbox(), pods.container_config(script, stdin=True))
    command = crictl(pods, "attach", "--transport", transport, "-i", endless)
    assert run(command, b"hello\n")[:2] == (0, b"got hello\n")


@needs_crictl
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_crictl_port_forward(pods: Pods, listening: str, transport: str) -> None:
    with forwarding(crictl(pods, "port-forward", "--transport", transport, listening, "18080:8080")) as process:
        assert process.stdout
        assert process.stdout.readline().startswith(b"Forwarding from")
        data = os.urandom(1 << 20)
        for _ in range(2):
            assert within(pods.node, lambda: received(18080, data)) == data
