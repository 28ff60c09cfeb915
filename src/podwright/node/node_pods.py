"""Pods as the node knows them, whichever source they are from; and how a manifest becomes one.

A pod from a file gets what an API server would have given it: a uid (made of the node's name, the file and what it
says, so that a changed file is another pod), a namespace, and a name that ends in the node's, as the kubelet does
(pkg/kubelet/config/common.go).
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from podwright.clock import now_ns
from podwright.errors import InvalidArgument
from podwright.node.times import rfc3339
from podwright.pods import read
from podwright.pods.schema import Pod

SOURCE, HASH, SEEN, MIRROR = (
    *("kubernetes.io/config.source", "kubernetes.io/config.hash", "kubernetes.io/config.seen"),
    "kubernetes.io/config.mirror",
)
DEFAULT_NAMESPACE: Final = "default"

Source = Literal["file", "api"]


@dataclass(frozen=True, slots=True)
class NodePod:
    """A pod that this node was given."""

    pod: Pod
    document: dict[str, Any]
    """The same as the API has it, for those who ask."""
    source: Source
    problem: str = ""
    """What is wrong with it, so that it cannot be run; then `pod` has only metadata."""

    @property
    def uid(self) -> str:
        return self.pod.metadata.uid

    @property
    def name(self) -> str:
        return self.pod.metadata.name

    @property
    def namespace(self) -> str:
        return self.pod.metadata.namespace

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def deleted(self) -> bool:
        """Whether it is to go."""
        return self.pod.metadata.deletion_timestamp is not None

    @property
    def grace(self) -> int:
        """Seconds that its containers have to end."""
        own = self.pod.metadata.deletion_grace_period_seconds
        return self.pod.spec.termination_grace_period_seconds if own is None else own


def from_manifest(document: dict[str, Any], path: str, node: str) -> NodePod:
    """A pod of the manifest at `path`. What is wrong with its specification is noted in it.

    Raises InvalidArgument if it is no pod, or has no name to note it under.
    """
    if document.get("kind") != "Pod" or document.get("apiVersion") != "v1":
        raise InvalidArgument(
            f'apiVersion and kind are "{document.get("apiVersion")}" and "{document.get("kind")}"; '
            "only v1 Pod can be run from a manifest"
        )
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str) or not name:
        raise InvalidArgument("metadata.name: is missing")
    text = json.dumps(document, sort_keys=True, default=str)
    uid = hashlib.md5(f"{node}\0{path}\0{text}".encode(), usedforsecurity=False).hexdigest()
    annotations = metadata.get("annotations") or {}
    spec = document.get("spec")
    given = {
        **document,
        "metadata": {
            **metadata,
            "name": f"{name}-{node}",
            "namespace": metadata.get("namespace") or DEFAULT_NAMESPACE,
            "uid": metadata.get("uid") or uid,
            "annotations": {
                **(annotations if isinstance(annotations, dict) else {}),
                HASH: uid,
                SOURCE: "file",
                SEEN: rfc3339(now_ns()),
            },
        },
        "spec": {**spec, "nodeName": node} if isinstance(spec, dict) else spec,
    }
    return _typed(given, "file")


def from_api(document: dict[str, Any]) -> NodePod:
    """A pod that an API server gave; fields that are newer than this program are passed over."""
    metadata = document["metadata"]
    given = {
        **document,
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **metadata,
            "annotations": {**metadata.get("annotations", {}), SOURCE: "api", SEEN: rfc3339(now_ns())},
        },
    }
    return _typed(given, "api")


def _typed(document: dict[str, Any], source: Source) -> NodePod:
    try:
        known = read.without_unknown(document, Pod) if source == "api" else document
        pod = read.convert(known, Pod)
    except InvalidArgument as error:
        return NodePod(_only_metadata(document), document, source, problem=str(error))
    return NodePod(pod, document, source)


def _only_metadata(document: dict[str, Any]) -> Pod:
    metadata = {key: document["metadata"].get(key) for key in ("name", "namespace", "uid")}
    metadata["annotations"] = {key: str(value) for key, value in document["metadata"]["annotations"].items()}
    for key in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        metadata[key] = document["metadata"].get(key)
    container = {"name": "invalid", "image": "invalid"}
    bare = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    try:
        return msgspec.convert(bare, Pod)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"metadata: {error}") from None
