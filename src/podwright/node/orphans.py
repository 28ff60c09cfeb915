"""Pods that run and that nobody names: what is to be known of them, from what the runtime has kept.

Only those that a kubelet has made; what people run by `podwright run` or crictl on the same runtime is theirs.
"""

import msgspec

from podwright.node.node_pods import SOURCE, NodePod
from podwright.node.observed import SeenPod
from podwright.pods.schema import Pod

_GRACE = "io.kubernetes.pod.terminationGracePeriod"


def pod(seen: SeenPod) -> NodePod | None:
    """The pod, as far as it can be told; None if no kubelet made it."""
    sandbox = seen.sandbox
    if sandbox is None or sandbox.annotations.get(SOURCE) not in {"file", "api", "http"}:
        return None
    names = list(dict.fromkeys(container.name for container in seen.containers)) or ["unknown"]
    graces = [container.status.annotations.get(_GRACE, "") for container in seen.containers]
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": seen.name,
            "namespace": seen.namespace,
            "uid": seen.uid,
            "labels": dict(sandbox.labels),
            "annotations": dict(sandbox.annotations),
        },
        "spec": {
            "containers": [{"name": name, "image": "unknown"} for name in names],
            "terminationGracePeriodSeconds": next((int(text) for text in graces if text.isdigit()), 30),
        },
    }
    source = "api" if sandbox.annotations[SOURCE] == "api" else "file"
    return NodePod(msgspec.convert(document, Pod), document, source)  # type: ignore[arg-type]
