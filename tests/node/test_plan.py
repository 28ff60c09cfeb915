"""What is to be done about a pod: a table of situations."""

from typing import Any

import pytest

from podwright.cri import v1
from podwright.node.observed import SeenContainer, SeenPod
from podwright.node.plan import HASH, Circumstances, Unhealthy, content_hash, plan
from podwright.pods.read import convert
from podwright.pods.schema import Container, Pod

NOW = 1_000_000.0


def pod(policy: str = "Always", inits: list[dict[str, Any]] | None = None, mains: list[str] | None = None) -> Pod:
    spec = {
        "restartPolicy": policy,
        "initContainers": [{"image": "i:1", **item} for item in inits or []],
        "containers": [{"name": name, "image": "i:1"} for name in mains or ["main"]],
    }
    return convert({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}, Pod)


def sandbox(*, ready: bool = True, attempt: int = 0, ip: str = "10.0.0.1") -> v1.PodSandboxStatus:
    return v1.PodSandboxStatus(
        id=f"s{attempt}",
        metadata=v1.PodSandboxMetadata(name="p", attempt=attempt),
        state=v1.SANDBOX_READY if ready else v1.SANDBOX_NOTREADY,
        network=v1.PodSandboxNetworkStatus(ip=ip),
        created_at=attempt + 1,
    )


def container(
    name: str, state: str = "running", *, code: int = 0, attempt: int = 0, of: str = "s0", changed: bool = False
) -> SeenContainer:
    states = {"running": v1.CONTAINER_RUNNING, "exited": v1.CONTAINER_EXITED, "created": v1.CONTAINER_CREATED}
    known = content_hash(Container(name=name, image="i:1"))
    return SeenContainer(
        of,
        v1.ContainerStatus(
            id=f"{name}-{attempt}",
            metadata=v1.ContainerMetadata(name=name, attempt=attempt),
            state=states[state],
            exit_code=code,
            created_at=attempt + 1,
            finished_at=int(NOW * 1e9),
            annotations={HASH: "other" if changed else known},
        ),
    )


def seen(*containers: SeenContainer, sandboxes: tuple[v1.PodSandboxStatus, ...] = (sandbox(),)) -> SeenPod:
    return SeenPod("u", "p", "default", sandboxes, containers)


def decided(wanted: Pod, there: SeenPod, **circumstances: Any) -> dict[str, Any]:
    """The plan in short: only what is to be done."""
    at = Circumstances(now=NOW, due=circumstances.pop("due", lambda _name, ended: ended), **circumstances)
    made = plan(wanted, there, at)
    short: dict[str, Any] = {
        "end": made.end,
        "sandbox": made.sandbox_attempt,
        "stop": [stop.container.id for stop in made.stop],
        "start": [f"{start.container.name}-{start.attempt}" for start in made.start],
        "wait": sorted(made.waiting),
    }
    return {key: value for key, value in short.items() if value is not False and value is not None and value != []}


SIDECAR = {"name": "side", "restartPolicy": "Always"}
INIT = [{"name": "one"}, {"name": "two"}]


@pytest.mark.parametrize(
    ("wanted", "there", "steps"),
    [
        # the sandbox
        (pod(), SeenPod("u"), {"sandbox": 0, "start": ["main-0"]}),
        (pod(inits=INIT), SeenPod("u"), {"sandbox": 0, "start": ["one-0"]}),
        (pod(mains=["a", "b"]), seen(), {"start": ["a-0", "b-0"]}),
        (pod(), seen(container("main")), {}),
        (
            pod(),
            seen(container("main", "exited", code=137), sandboxes=(sandbox(ready=False),)),
            {"end": True, "sandbox": 1, "start": ["main-1"]},
        ),
        (pod("Never"), seen(container("main", "exited"), sandboxes=(sandbox(ready=False),)), {"end": True}),
        (pod("OnFailure"), seen(container("main", "exited"), sandboxes=(sandbox(ready=False),)), {"end": True}),
        (pod("Never"), seen(sandboxes=(sandbox(ready=False),)), {"end": True, "sandbox": 1, "start": ["main-0"]}),
        (pod(), seen(sandboxes=(sandbox(ip=""),)), {"end": True, "sandbox": 1, "start": ["main-0"]}),
        # restart policies
        (pod(), seen(container("main", "exited")), {"start": ["main-1"]}),
        (pod("OnFailure"), seen(container("main", "exited", code=1)), {"start": ["main-1"]}),
        (pod("OnFailure"), seen(container("main", "exited")), {"end": True}),
        (pod("Never"), seen(container("main", "exited", code=1)), {"end": True}),
        (pod("Never", mains=["a", "b"]), seen(container("a", "exited"), container("b")), {}),
        (pod("Never"), seen(container("main", "created")), {"start": ["main-1"]}),
        # another specification
        (pod(), seen(container("main", changed=True)), {"stop": ["main-0"], "start": ["main-1"]}),
        # init containers
        (pod(inits=INIT), seen(), {"start": ["one-0"]}),
        (pod(inits=INIT), seen(container("one")), {}),
        (pod(inits=INIT), seen(container("one", "exited")), {"start": ["two-0"]}),
        (pod(inits=INIT), seen(container("one", "exited"), container("two", "exited")), {"start": ["main-0"]}),
        (pod(inits=INIT), seen(container("one", "exited", code=1)), {"start": ["one-1"]}),
        (pod("Never", inits=INIT), seen(container("one", "exited", code=1)), {"end": True}),
        (pod(inits=INIT), seen(container("main")), {}),  # it has begun long ago; garbage was collected
        (
            pod(inits=INIT),  # what another sandbox has initialised does not count
            seen(container("one", "exited", of="s0"), sandboxes=(sandbox(attempt=1), sandbox(ready=False))),
            {"start": ["one-1"]},
        ),
        # sidecars
        (pod(inits=[SIDECAR]), seen(), {"start": ["side-0"]}),
        (pod(inits=[SIDECAR]), seen(container("side")), {"start": ["main-0"]}),
        (pod(inits=[SIDECAR]), seen(container("side", "exited"), container("main")), {"start": ["side-1"]}),
        (pod("Never", inits=[SIDECAR]), seen(container("side"), container("main", "exited")), {"end": True}),
    ],
)
def test_plan(wanted: Pod, there: SeenPod, steps: dict[str, Any]) -> None:
    assert decided(wanted, there) == steps


def test_back_off_is_waited_for() -> None:
    there = seen(container("main", "exited", code=1))
    assert decided(pod(), there, due=lambda _name, ended: ended + 10) == {"wait": ["main"]}


def test_an_unhealthy_container_is_stopped_first() -> None:
    there = seen(container("main"))
    assert decided(pod(), there, unhealthy={"main-0": Unhealthy("failed liveness probe")}) == {"stop": ["main-0"]}
    never = decided(pod("Never"), there, unhealthy={"main-0": Unhealthy("failed liveness probe")})
    assert never == {"stop": ["main-0"], "end": True}


def test_a_probe_may_have_a_grace_period_of_its_own() -> None:
    for own in (None, 3):
        at = Circumstances(NOW, lambda _name, ended: ended, unhealthy={"main-0": Unhealthy("failed", own)})
        assert [stop.grace for stop in plan(pod(), seen(container("main")), at).stop] == [own]


def test_an_ephemeral_container_starts_once_and_as_soon_as_it_can() -> None:
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    spec = {"containers": [{"name": "main", "image": "i:1"}], "initContainers": [{"name": "init", "image": "i:1"}]}
    debugged = convert({**document, "spec": {**spec, "ephemeralContainers": [{"name": "debug", "image": "i:1"}]}}, Pod)
    assert decided(debugged, seen(container("init"))) == {"start": ["debug-0"]}
    assert decided(debugged, seen(container("init"), container("debug", "exited"))) == {}


def test_a_sidecar_holds_the_others_up_until_it_has_started() -> None:
    there = seen(container("side"))
    assert decided(pod(inits=[SIDECAR]), there, started=lambda _seen, _wanted: False) == {}
