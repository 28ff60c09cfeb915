"""The Stream* RPCs of lists give just what the lists give."""

import itertools

import pytest

from podwright.cri import v1
from support.cri import Pods

pytestmark = pytest.mark.root


def test_sandboxes_and_containers(pods: Pods) -> None:
    assert list(pods.cri.stream_pod_sandboxes()) == []
    assert list(pods.cri.stream_containers()) == []
    big = {"big": "x" * 400_000}
    made = [pods.run_sandbox(pods.sandbox_config(annotations=big, labels={"n": str(n)})) for n in range(4)]
    containers = [pods.create(sandbox, annotations=big) for sandbox in made]

    sandboxes = [list(portion.pod_sandboxes) for portion in pods.cri.stream_pod_sandboxes()]
    assert len(sandboxes) > 1
    assert list(itertools.chain(*sandboxes)) == list(pods.cri.list_pod_sandbox().items)
    streamed = [list(portion.containers) for portion in pods.cri.stream_containers()]
    assert len(streamed) > 1
    assert list(itertools.chain(*streamed)) == list(pods.cri.list_containers().containers)

    (portion,) = pods.cri.stream_pod_sandboxes(v1.PodSandboxFilter(label_selector={"n": "2"}))
    assert [item.id for item in portion.pod_sandboxes] == [made[2]]
    (only,) = pods.cri.stream_containers(v1.ContainerFilter(pod_sandbox_id=made[1]))
    assert [item.id for item in only.containers] == [containers[1]]


def test_images(pods: Pods) -> None:
    streamed = [image for portion in pods.cri.stream_images() for image in portion.images]
    assert streamed == list(pods.cri.list_images().images)
    assert streamed
    wanted = v1.ImageFilter(image=v1.ImageSpec(image="test.local/none:1"))
    assert list(pods.cri.stream_images(wanted)) == []
