"""`podwright metrics`: what kubelets pass on as cAdvisor's metrics, in the text format of Prometheus."""

import argparse
import collections
from collections.abc import Iterable, Iterator, Mapping

from podwright.cli.connection import connect
from podwright.cli.inventory import Inventory
from podwright.cli.messages import plain
from podwright.cli.output import structured
from podwright.cri import v1

_TYPES = {v1.COUNTER: "counter", v1.GAUGE: "gauge"}


def metrics(options: argparse.Namespace) -> int:
    """Prints the samples of the named pods, or of all."""
    with connect(options) as cri:
        inventory = Inventory.of(cri)
        wanted = {inventory.pod(name).id for name in options.names}
        pods = [pod for pod in cri.list_pod_sandbox_metrics().pod_metrics if not wanted or pod.pod_sandbox_id in wanted]
        descriptors = {one.name: one for one in cri.list_metric_descriptors().descriptors}
    if options.output != "text":
        structured({"podMetrics": [plain(pod) for pod in pods]}, options.output)
        return 0
    for line in _lines(pods, descriptors):
        print(line)
    return 0


def _lines(pods: Iterable[v1.PodSandboxMetrics], descriptors: Mapping[str, v1.MetricDescriptor]) -> Iterator[str]:
    """All samples of a metric are together, as the format asks for."""
    samples: dict[str, list[v1.Metric]] = collections.defaultdict(list)
    for pod in pods:
        for sample in (*pod.metrics, *(one for container in pod.container_metrics for one in container.metrics)):
            samples[sample.name].append(sample)
    for name, of_name in sorted(samples.items()):
        described = descriptors.get(name, v1.MetricDescriptor())
        help_text = described.help.replace("\\", "\\\\").replace("\n", "\\n")
        yield f"# HELP {name} {help_text}"
        yield f"# TYPE {name} {_TYPES.get(of_name[0].metric_type, 'untyped')}"
        for sample in of_name:
            labels = ",".join(
                f"{key}={_quoted(value)}" for key, value in zip(described.label_keys, sample.label_values, strict=False)
            )
            yield f"{name}{{{labels}}} {sample.value.value}"


def _quoted(value: str) -> str:
    """Only these three are escaped."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
