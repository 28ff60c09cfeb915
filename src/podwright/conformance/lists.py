"""Lists, their filters, and the same in portions."""

from podwright.conformance.bench import Bench
from podwright.conformance.checks import check, expect, optional, same
from podwright.cri import v1


@check("kubelet: every second, by state, label and id")
def filters_of_containers(bench: Bench) -> None:
    """ListContainers: all conditions of the filter must be met; ids may be cut short."""
    pod = bench.pod()
    one, two = bench.start(pod, name="one"), bench.create(pod, name="two")
    running = v1.ContainerStateValue(state=v1.CONTAINER_RUNNING)
    for wanted, found in (
        (v1.ContainerFilter(pod_sandbox_id=pod), {one, two}),
        (v1.ContainerFilter(id=one), {one}),
        (v1.ContainerFilter(id=one[:13]), {one}),
        (v1.ContainerFilter(pod_sandbox_id=pod, state=running), {one}),
        (v1.ContainerFilter(pod_sandbox_id=pod, label_selector={"conformance": "two"}), {two}),
        (v1.ContainerFilter(pod_sandbox_id=pod, state=running, label_selector={"conformance": "two"}), set()),
        (v1.ContainerFilter(pod_sandbox_id=pod, label_selector={"conformance": "no"}), set()),
    ):
        same({c.id for c in bench.cri.list_containers(wanted).containers}, found, f"the list for {{{wanted}}}")


@check("kubelet: every second, by state, label and id")
def filters_of_sandboxes(bench: Bench) -> None:
    """ListPodSandbox: all conditions of the filter must be met; ids may be cut short."""
    config = bench.pod_config()
    pod, other = bench.pod(config), bench.pod()
    labels = dict(config.labels)
    ready = v1.PodSandboxStateValue(state=v1.SANDBOX_READY)
    stopped = v1.PodSandboxStateValue(state=v1.SANDBOX_NOTREADY)
    for wanted, found in (
        (v1.PodSandboxFilter(id=pod), {pod}),
        (v1.PodSandboxFilter(id=pod[:13]), {pod}),
        (v1.PodSandboxFilter(label_selector=labels), {pod}),
        (v1.PodSandboxFilter(label_selector=labels, state=ready), {pod}),
        (v1.PodSandboxFilter(label_selector=labels, state=stopped), set()),
        (v1.PodSandboxFilter(id=other, label_selector=labels), set()),
    ):
        same({s.id for s in bench.cri.list_pod_sandbox(wanted).items}, found, f"the list for {{{wanted}}}")


@check("kubelet: reads labels and annotations back, and needs the image (nil would panic)")
def items_are_whole(bench: Bench) -> None:
    """Items of both lists have metadata, times, labels and annotations; containers have their image too."""
    config = bench.pod_config(annotations={"of": "pod"})
    pod = bench.pod(config)
    container = bench.create(pod, annotations={"of": "container"})
    (listed,) = bench.listed(pod)
    same(listed.id, container, "id")
    same(listed.pod_sandbox_id, pod, "pod_sandbox_id")
    same(listed.metadata.name, "main", "metadata.name")
    same(dict(listed.annotations), {"of": "container"}, "annotations")
    expect(listed.created_at > 0 and listed.image.image and listed.image_ref, f"the item is not whole: {listed}")
    (sandbox,) = bench.cri.list_pod_sandbox(v1.PodSandboxFilter(id=pod)).items
    same(sandbox.metadata, config.metadata, "metadata of the sandbox")
    same(dict(sandbox.annotations), {"of": "pod"}, "annotations of the sandbox")
    expect(sandbox.created_at > 0, "created_at of the sandbox is not set")


@check("KEP-5825: the same as the list, in portions")
def portions(bench: Bench) -> None:
    """StreamPodSandboxes and StreamContainers give what the lists give."""
    pod = bench.pod()
    bench.create(pod)
    with optional():
        streamed = [c for part in bench.cri.stream_containers() for c in part.containers]
    same({c.id for c in streamed}, {c.id for c in bench.cri.list_containers().containers}, "the containers")
    sandboxes = [s for part in bench.cri.stream_pod_sandboxes() for s in part.pod_sandboxes]
    same({s.id for s in sandboxes}, {s.id for s in bench.cri.list_pod_sandbox().items}, "the sandboxes")
