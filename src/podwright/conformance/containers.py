"""Containers: states and times, ends and their reasons, stopping, names."""

import time

from podwright.conformance.bench import SLEEP, Bench
from podwright.conformance.checks import check, expect, refused, same
from podwright.cri import v1
from podwright.errors import Code


@check("kubelet: container states and times; api.proto, ContainerStatus")
def life(bench: Bench) -> None:
    """A container is CREATED, RUNNING, EXITED, with the times of each, in order."""
    pod = bench.pod()
    container = bench.create(pod)
    status = bench.status(container)
    same(status.state, v1.CONTAINER_CREATED, "state after CreateContainer")
    expect(status.created_at > 0, "created_at is not set")
    same((status.started_at, status.finished_at), (0, 0), "times of a container that was not started")
    bench.cri.start_container(container)
    status = bench.status(container)
    same(status.state, v1.CONTAINER_RUNNING, "state after StartContainer")
    expect(status.started_at >= status.created_at, "started_at is before created_at")
    bench.cri.stop_container(container, timeout=10)
    status = bench.status(container)
    same(status.state, v1.CONTAINER_EXITED, "state after StopContainer")
    expect(status.finished_at >= status.started_at, "finished_at is before started_at")


@check("kubelet: needs them, and image GC compares image_id with Image.id")
def status_names_the_image(bench: Bench) -> None:
    """ContainerStatus has image, image_ref and image_id; the last is the id of the image."""
    status = bench.status(bench.create(bench.pod()))
    expect(status.image.image, "image is empty")
    expect(status.image_ref, "image_ref is empty")
    same(status.image_id, bench.cri.image_status(bench.image).image.id, "image_id")


@check("kubelet: shows exit code and reason to users")
def exit_codes(bench: Bench) -> None:
    """Exit codes are the command's; reasons are Completed and Error."""
    pod = bench.pod()
    for code, reason in ((0, "Completed"), (42, "Error")):
        status = bench.run(pod, "sh", "-c", f"exit {code}", name=f"exit-{code}")
        same((status.exit_code, status.reason), (code, reason), "exit code and reason")


@check("api.proto, ContainerStatus.reason: MUST be OOMKilled")
def killed_for_memory(bench: Bench) -> None:
    """A container that takes more memory than its limit ends as OOMKilled."""
    config = bench.container_config("tail", "/dev/zero", name="greedy")
    config.linux.resources.memory_limit_in_bytes = 20 << 20
    container = bench.cri.create_container(bench.pod(), config, sandbox_config=bench.pod_config()).container_id
    bench.cri.start_container(container)
    bench.wait("the kernel kills it", lambda: bench.status(container).state == v1.CONTAINER_EXITED)
    same(bench.status(container).reason, "OOMKilled", "reason")


@check("api.proto, StopContainer: a grace period before the kill")
def grace_period(bench: Bench) -> None:
    """StopContainer waits for the grace period, then kills with code 137; with 0 it kills at once."""
    deaf = ("sh", "-c", "trap '' TERM; while true; do sleep 0.1; done")
    pod = bench.pod()
    container = bench.start(pod, *deaf, name="deaf")
    began = time.monotonic()
    bench.cri.stop_container(container, timeout=2)
    took = time.monotonic() - began
    expect(1.5 < took < 10, f"StopContainer with 2 seconds of grace took {took:.1f} s")
    same(bench.status(container).exit_code, 137, "exit code")
    container = bench.start(pod, *deaf, name="deaf-at-once")
    began = time.monotonic()
    bench.cri.stop_container(container, timeout=0)
    took = time.monotonic() - began
    expect(took < 2, f"StopContainer without grace took {took:.1f} s")


@check("api.proto, StopContainer, RemoveContainer: idempotent, and must not fail for a missing container")
def stop_and_remove_are_idempotent(bench: Bench) -> None:
    """StopContainer and RemoveContainer may be repeated, and succeed where there is nothing."""
    container = bench.start(bench.pod())
    for _ in range(2):
        bench.cri.stop_container(container, timeout=1)
    for _ in range(2):
        bench.cri.remove_container(container)
    bench.cri.stop_container("0" * 64)
    bench.cri.remove_container("0" * 64)


@check("api.proto, RemoveContainer: a running one is forcibly removed")
def running_ones_are_removed(bench: Bench) -> None:
    """RemoveContainer removes a container that runs."""
    container = bench.start(bench.pod())
    bench.cri.remove_container(container)
    with refused("ContainerStatus of a removed container", Code.NOT_FOUND):
        bench.cri.container_status(container)


@check("kubelet: a container starts once")
def starts_once(bench: Bench) -> None:
    """StartContainer of a container that runs, or has run, is refused."""
    pod = bench.pod()
    container = bench.start(pod)
    with refused("StartContainer of a running container"):
        bench.cri.start_container(container)
    bench.cri.stop_container(container, timeout=1)
    with refused("StartContainer of an exited container"):
        bench.cri.start_container(container)


@check("kubelet: takes any code but NotFound for a failure of the runtime")
def missing_is_not_found(bench: Bench) -> None:
    """ContainerStatus of a container that does not exist is NOT_FOUND."""
    with refused("ContainerStatus of a container that does not exist", Code.NOT_FOUND):
        bench.cri.container_status("0" * 64)


@check("kubelet: a pod needs a ready sandbox")
def no_container_in_a_stopped_sandbox(bench: Bench) -> None:
    """CreateContainer in a stopped sandbox is refused."""
    pod = bench.pod()
    bench.cri.stop_pod_sandbox(pod)
    with refused("CreateContainer in a stopped sandbox"):
        bench.create(pod)


@check("kubelet: pulls by the answer")
def image_must_be_there(bench: Bench) -> None:
    """CreateContainer of an image that is not on the node is refused, and leaves no container."""
    pod = bench.pod()
    with refused("CreateContainer of a missing image"):
        bench.create(pod, image=v1.ImageSpec(image="example.invalid/none:1"))
    expect(not bench.listed(pod), "a container is left")


@check("kubelet: reports CreateContainerError or RunContainerError, and nothing may stay behind")
def command_must_exist(bench: Bench) -> None:
    """A command that does not exist is refused by CreateContainer or StartContainer."""
    pod = bench.pod()
    with refused("a container with a command that does not exist"):
        bench.start(pod, "/no/such/command")


@check("Kubernetes: command replaces the entry point, args the command of the image; env in $()")
def arguments_and_environment(bench: Bench) -> None:
    """Command, args, environment and working directory reach the process."""
    envs = [v1.KeyValue(key="GREETING", value=b"hello world"), v1.KeyValue(key="EMPTY", value=b"")]
    script = 'echo "$GREETING|$EMPTY|$1|$(pwd)"'
    status = bench.run(bench.pod(), "sh", "-c", args=[script, "sh", "one two"], envs=envs, working_dir="/tmp")
    same(bench.log(status)[0].partition(" F ")[2], "hello world||one two|/tmp", "what the process sees")


@check("api.proto, Mount")
def volumes(bench: Bench) -> None:
    """Mounts show host directories, read-only ones cannot be written, and the status has just those asked for."""
    source = bench.directory / "volume"
    source.mkdir()
    (source / "file").write_text("from the host")
    mounts = [
        v1.Mount(container_path="/rw", host_path=str(source)),
        v1.Mount(container_path="/ro", host_path=str(source), readonly=True),
    ]
    container = bench.start(bench.pod(), mounts=mounts)
    same(bench.shell(container, "cat /rw/file"), "from the host", "the file")
    same(bench.shell(container, "echo x 2>/dev/null >/ro/new || echo refused"), "refused\n", "a write to /ro")
    bench.shell(container, "echo back >/rw/new")
    same((source / "new").read_text(), "back\n", "what the container wrote")
    same([m.container_path for m in bench.status(container).mounts], ["/rw", "/ro"], "mounts in the status")


@check("kubelet: memory for secrets, liveness of a whole pod")
def whole_tree_dies(bench: Bench) -> None:
    """StopContainer ends all that a container has started, daemons of its own too."""
    pod = bench.pod()
    container = bench.start(pod, "sh", "-c", "setsid sleep 7654 & exec " + " ".join(SLEEP[:2]) + f' "{SLEEP[2]}"')
    bench.cri.stop_container(container, timeout=1)
    witness = bench.start(pod, name="witness")
    expect("sleep 7654" not in bench.shell(witness, "ps -o args"), "a process of a stopped container is there")
