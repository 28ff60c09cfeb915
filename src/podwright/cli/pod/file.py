"""Reading files for `podwright run`: YAML documents into typed pods, config maps and secrets.

What is wrong is refused with the document and the field that it is in, before anything is made.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec
import yaml

from podwright.cli.pod.schema import ConfigMap, Pod, Secret
from podwright.errors import InvalidArgument

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123, as Kubernetes names containers
_SUBDOMAIN: Final = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

Document = TypeVar("Document", Pod, ConfigMap, Secret)


@dataclass(frozen=True, slots=True)
class PodFile:
    """What a file holds."""

    pods: list[Pod] = field(default_factory=list)
    config_maps: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    secrets: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Fields that are understood, but not served."""


def parse(text: str, name: str) -> PodFile:
    """Reads the text of the file called `name`. Raises InvalidArgument."""
    read = PodFile()
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise InvalidArgument(f"{name}: not YAML: {' '.join(str(error).split())}") from None
    for number, document in enumerate(_flattened(documents), 1):
        _add(read, _without_nulls(document), f"{name}, document {number}")
    if not read.pods:
        raise InvalidArgument(f"{name}: there is no pod in it")
    return read


def _flattened(documents: list[object]) -> Iterator[object]:
    """The documents, with the items of lists in place of the lists; empty ones are passed over."""
    for document in documents:
        if isinstance(document, dict) and document.get("kind") == "List" and isinstance(document.get("items"), list):
            yield from document["items"]
        elif document is not None:
            yield document


def _add(read: PodFile, document: object, where: str) -> None:
    if not isinstance(document, dict):
        raise InvalidArgument(f"{where}: is not a mapping")
    kind = document.get("kind")
    match kind:
        case "Pod":
            pod = _convert(document, Pod, where)
            _check(pod, where)
            read.pods.append(pod)
            read.notes.extend(f"{where}: {path} is not served by `podwright run`" for path in _unserved(pod, ""))
        case "ConfigMap":
            config_map = _convert(document, ConfigMap, where)
            data = {key: value.encode() for key, value in config_map.data.items()} | config_map.binary_data
            read.config_maps[config_map.metadata.name] = data
        case "Secret":
            secret = _convert(document, Secret, where)
            data = secret.data | {key: value.encode() for key, value in secret.string_data.items()}
            read.secrets[secret.metadata.name] = data
        case _:
            raise InvalidArgument(f'{where}: kind is "{kind}"; only Pod, ConfigMap, Secret and List can be run here')


def _convert(document: object, kind: type[Document], where: str) -> Document:
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        path = path.strip("`").lstrip(".") or "it"
        raise InvalidArgument(f"{where}: {path}: {problem[:1].lower()}{problem[1:]}") from None


def _without_nulls(value: object) -> object:
    """A field that is null is a field that is absent."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _check(pod: Pod, where: str) -> None:
    """What types cannot say: names, and that they are used once."""
    if not _SUBDOMAIN.fullmatch(pod.metadata.name):
        raise InvalidArgument(f'{where}: metadata.name: "{pod.metadata.name}" is no name: use a-z, 0-9, - and .')
    spec, seen = pod.spec, set()
    for path, container in [
        *((f"spec.initContainers[{index}]", item) for index, item in enumerate(spec.init_containers)),
        *((f"spec.containers[{index}]", item) for index, item in enumerate(spec.containers)),
    ]:
        if not _LABEL.fullmatch(container.name):
            raise InvalidArgument(f'{where}: {path}.name: "{container.name}" is no name: use a-z, 0-9 and -')
        if container.name in seen:
            raise InvalidArgument(f'{where}: {path}.name: "{container.name}" is there twice')
        seen.add(container.name)
    for index, container in enumerate(spec.init_containers):
        if container.restart_policy not in {None, "Always"}:
            raise InvalidArgument(
                f"{where}: spec.initContainers[{index}].restartPolicy: only Always, which makes it a sidecar"
            )
    volumes = [volume.name for volume in spec.volumes]
    for index, name in enumerate(volumes):
        if not _LABEL.fullmatch(name):
            raise InvalidArgument(f'{where}: spec.volumes[{index}].name: "{name}" is no name: use a-z, 0-9 and -')
        if name in volumes[:index]:
            raise InvalidArgument(f'{where}: spec.volumes[{index}].name: "{name}" is there twice')


def _unserved(value: object, path: str) -> Iterator[str]:
    """The paths of fields that are set and that the schema marks as unserved."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unserved(item, f"{path}[{index}]")
    elif isinstance(value, msgspec.Struct):
        for known in msgspec.structs.fields(value):
            below, item = f"{path}.{known.encode_name}".lstrip("."), getattr(value, known.name)
            if item is not None and _is_unserved(known.type):
                yield below
            else:
                yield from _unserved(item, below)


def _is_unserved(kind: object) -> bool:
    return any(getattr(meta, "extra", None) == {"unserved": True} for meta in getattr(kind, "__metadata__", ()))
