"""ExecSync: output, exit codes, limits, and that nothing is left of a command whose time is over."""

import concurrent.futures
import time

import grpc
import pytest

from podwright.cri import v1
from podwright.cri.methods import METHODS
from podwright.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument
from podwright.kernel import cgroups
from support.cri import Pods, host_network, secured, until

pytestmark = pytest.mark.root

CAP = (16 << 20) - 1024
"""Of both streams together."""


@pytest.fixture(params=["crun", "runc"])
def container(pods: Pods, request: pytest.FixtureRequest) -> str:
    return pods.start(pods.run_sandbox(handler=request.param))


def strays(pods: Pods, mark: str) -> list[str]:
    return [process for process in pods.node.processes() if mark in process]


def test_exit_code_and_both_streams(pods: Pods, container: str) -> None:
    done = pods.cri.exec_sync(container, ["sh", "-c", "echo out; printf '\\377\\0' >&2; exit 7"], timeout=10)
    assert (done.exit_code, done.stdout, done.stderr) == (7, b"out\n", b"\xff\0")
    done = pods.cri.exec_sync(container, ["sh", "-c", "kill -9 $$"])
    assert done.exit_code == 137


def test_words_are_words(pods: Pods, container: str) -> None:
    done = pods.cri.exec_sync(container, ["printf", "%s|", "a b", "$HOME", "'", '"', "", "ä"])
    assert done.stdout.decode() == "a b|$HOME|'|\"||ä|"


def test_it_is_the_container_s_user_directory_and_environment(pods: Pods) -> None:
    container = pods.start(
        pods.run_sandbox(),
        pods.container_config(
            working_dir="/tmp",
            envs=[v1.KeyValue(key="COLOUR", value=b"green")],
            linux=secured(run_as_user=v1.Int64Value(value=1000), supplemental_groups=[77]),
        ),
    )
    assert pods.exec(container, "id -u; id -G; pwd; echo $COLOUR") == "1000\n1001 50 77\n/tmp\ngreen\n"


@pytest.mark.parametrize(
    ("out", "err", "kept"),
    [(17 << 20, 100, (CAP - 100, 100)), (100, 17 << 20, (100, CAP - 100)), (17 << 20, 17 << 20, (CAP // 2, CAP // 2))],
)
def test_an_answer_fits_into_a_kubelet_s_largest_message(
    pods: Pods, container: str, out: int, err: int, kept: tuple[int, int]
) -> None:
    script = f"head -c {out} /dev/zero & head -c {err} /dev/zero >&2; wait; exit 9"
    method = METHODS["ExecSync"]
    request = v1.ExecSyncRequest(container_id=container, cmd=["sh", "-c", script], timeout=60)
    options = [("grpc.max_receive_message_length", 16 << 20)]
    with grpc.insecure_channel(f"unix:{pods.node.socket}", options) as channel:
        call = channel.unary_unary(
            method.path("v1"), v1.ExecSyncRequest.SerializeToString, v1.ExecSyncResponse.FromString
        )
        done = call(request, timeout=60)
    assert (len(done.stdout), len(done.stderr), done.exit_code) == (*kept, 9)


def test_a_timeout_kills_the_whole_tree(pods: Pods, container: str) -> None:
    script = "setsid sleep 76543 & (setsid sh -c 'sleep 76543; true' &); env -i sleep 76543 & sleep 76543"
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"timed out after 1 s"):
        pods.cri.exec_sync(container, ["sh", "-c", script], timeout=1)
    assert 1 <= time.monotonic() - began < 8
    assert strays(pods, "76543") == []
    assert pods.status(container).state == v1.CONTAINER_RUNNING


def test_a_command_that_ignores_signals_is_killed_too(pods: Pods, container: str) -> None:
    with pytest.raises(DeadlineExceeded):
        pods.cri.exec_sync(container, ["sh", "-c", "trap '' TERM INT HUP; while true; do sleep 0.54; done"], timeout=1)
    assert strays(pods, "0.54") == []


def test_a_command_that_cannot_die_does_not_hold_the_answer_up(pods: Pods) -> None:
    """As one that waits for a dead NFS server: on cgroup v1, one that is frozen."""
    container = pods.start(pods.run_sandbox())
    hierarchies, cgroup = cgroups.detect(), pods.info(container)["cgroup"]
    with concurrent.futures.ThreadPoolExecutor() as threads:
        call = threads.submit(pods.cri.exec_sync, container, ["sleep", "76542"], timeout=2, deadline=30)
        until(lambda: strays(pods, "sleep 76542"), bool)
        hierarchies.freeze(cgroup, frozen=True)
        try:
            with pytest.raises(DeadlineExceeded, match="timed out after 2 s"):
                call.result()
        finally:
            hierarchies.freeze(cgroup, frozen=False)
    until(lambda: strays(pods, "sleep 76542"), lambda left: not left)
    assert pods.exec(container, "echo alive") == "alive\n"


def test_the_caller_leaves(pods: Pods, container: str) -> None:
    with pytest.raises(DeadlineExceeded):
        pods.cri.exec_sync(container, ["sh", "-c", "setsid sleep 65432 & sleep 65432"], deadline=1)
    until(lambda: strays(pods, "65432"), lambda found: not found)


def test_a_child_that_goes_on_does_not_hold_the_answer_up(pods: Pods, container: str) -> None:
    began = time.monotonic()
    done = pods.cri.exec_sync(container, ["sh", "-c", "sleep 54321 & echo done"], timeout=30)
    assert (done.stdout, done.exit_code) == (b"done\n", 0)
    assert time.monotonic() - began < 5
    assert len(strays(pods, "54321")) == 1


def test_children_of_a_command_that_ended_do_not_count_as_its_timeout(pods: Pods, container: str) -> None:
    assert pods.exec(container, "sleep 43210 >/dev/null 2>&1 & echo quick", timeout=1) == "quick\n"


@pytest.mark.parametrize("pid", [v1.POD, v1.NODE])
def test_in_a_shared_pid_namespace_others_are_left_alone(pods: Pods, pid: v1.NamespaceMode) -> None:
    sandbox_id = pods.run_sandbox(
        pods.sandbox_config(linux=v1.LinuxPodSandboxConfig(security_context=host_network(pid=pid)))
    )
    linux = secured(namespace_options=v1.NamespaceOption(pid=pid))
    other = pods.start(sandbox_id, pods.container_config(linux=linux))
    container = pods.start(sandbox_id, pods.container_config(linux=linux))
    with pytest.raises(DeadlineExceeded):
        pods.cri.exec_sync(container, ["sh", "-c", "setsid sleep 32109 & sleep 32109"], timeout=1)
    assert strays(pods, "32109") == []
    assert {pods.status(one).state for one in (other, container)} == {v1.CONTAINER_RUNNING}


def test_only_in_running_containers(pods: Pods) -> None:
    sandbox_id = pods.run_sandbox()
    created = pods.create(sandbox_id)
    ended = pods.start(sandbox_id, "exit 0")
    pods.exited(ended)
    for container, state in ((created, "created"), (ended, "exited")):
        with pytest.raises(FailedPrecondition, match=f"is {state}: commands need a running one"):
            pods.cri.exec_sync(container, ["true"])


def test_the_container_ends_meanwhile(pods: Pods, container: str) -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(pods.cri.exec_sync, container, ["sh", "-c", "sleep 21098; true"])
        until(lambda: strays(pods, "21098"), lambda found: found)
        pods.cri.stop_container(container, timeout=0)
        assert running.result(20).exit_code == 137


@pytest.mark.parametrize("command", [["no-such-program"], ["/etc/passwd"], ["/no/such/file"]])
def test_a_command_that_cannot_be_run(pods: Pods, container: str, command: list[str]) -> None:
    with pytest.raises(InvalidArgument, match=rf"cmd.*{command[0]}"):
        pods.cri.exec_sync(container, command)


def test_bad_requests(pods: Pods, container: str) -> None:
    with pytest.raises(InvalidArgument, match="cmd"):
        pods.cri.exec_sync(container, [])
    with pytest.raises(InvalidArgument, match="cmd"):
        pods.cri.exec_sync(container, [""])
    with pytest.raises(InvalidArgument, match=r"cmd\[1\]: has a NUL"):
        pods.cri.exec_sync(container, ["echo", "a\0b"])
    with pytest.raises(InvalidArgument, match="timeout is negative"):
        pods.cri.exec_sync(container, ["true"], timeout=-1)


def test_many_at_once(pods: Pods, container: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        outputs = pool.map(lambda n: pods.exec(container, f"echo {n}; sleep 0.2", timeout=60), range(40))
        assert list(outputs) == [f"{n}\n" for n in range(40)]
