"""The environment of a container: literal values, config maps, secrets, fields of the pod and of its resources."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from podwright.cli.pod import quantity
from podwright.cli.pod.file import PodFile
from podwright.cli.pod.schema import Container, EnvFrom, EnvSource, KeySelector, Pod, ResourceSelector
from podwright.errors import InvalidArgument

_REFERENCE: Final = re.compile(rb"\$\$|\$\(([^()]*)\)")
_SUBSCRIPT: Final = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_NAME: Final = re.compile(r"[^=\x00]+")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a pod may ask about itself once its sandbox is there."""

    pod: Pod
    namespace: str
    uid: str
    node: str
    addresses: tuple[str, ...] = ()


def environment(container: Container, file: PodFile, facts: Facts, where: str) -> dict[str, bytes]:
    """The variables by name. Raises InvalidArgument that names the field below `where`."""
    result: dict[str, bytes] = {}
    for index, source in enumerate(container.env_from):
        for key, value in _all_keys(source, file, f"{where}.envFrom[{index}]").items():
            result[source.prefix + key] = value
    for index, variable in enumerate(container.env):
        path = f"{where}.env[{index}]"
        if not _NAME.fullmatch(variable.name):
            raise InvalidArgument(f'{path}.name: "{variable.name}" is no name of a variable')
        if variable.value_from is None:
            result[variable.name] = expand(variable.value.encode(), result)
            continue
        found = _lookup(variable.value_from, container, file, facts, f"{path}.valueFrom")
        if found is not None:
            result[variable.name] = found
    return result


def expand(text: bytes, variables: Mapping[str, bytes]) -> bytes:
    """Replaces $(NAME) by the variable's value where there is one; $$ stands for a dollar sign."""

    def replaced(match: re.Match[bytes]) -> bytes:
        if match[0] == b"$$":
            return b"$"
        return variables.get(match[1].decode(errors="replace"), match[0])

    return _REFERENCE.sub(replaced, text)


def _all_keys(source: EnvFrom, file: PodFile, where: str) -> Mapping[str, bytes]:
    for kind, objects, reference in (
        ("config map", file.config_maps, source.config_map_ref),
        ("secret", file.secrets, source.secret_ref),
    ):
        if reference is not None:
            if reference.name in objects:
                return objects[reference.name]
            if reference.optional:
                return {}
            raise InvalidArgument(f'{where}: {kind} "{reference.name}" is not in the file')
    raise InvalidArgument(f"{where}: names neither configMapRef nor secretRef")


def _lookup(source: EnvSource, container: Container, file: PodFile, facts: Facts, where: str) -> bytes | None:
    if source.config_map_key_ref is not None:
        return _key("config map", file.config_maps, source.config_map_key_ref, where)
    if source.secret_key_ref is not None:
        return _key("secret", file.secrets, source.secret_key_ref, where)
    if source.field_ref is not None:
        return _field(source.field_ref.field_path, facts, f"{where}.fieldRef.fieldPath").encode()
    if source.resource_field_ref is not None:
        return _resource(source.resource_field_ref, container, facts, f"{where}.resourceFieldRef").encode()
    raise InvalidArgument(f"{where}: names no source that `podwright run` serves")


def _key(kind: str, objects: Mapping[str, Mapping[str, bytes]], selector: KeySelector, where: str) -> bytes | None:
    if selector.name in objects and selector.key in objects[selector.name]:
        return objects[selector.name][selector.key]
    if selector.optional:
        return None
    missing = f'has no key "{selector.key}"' if selector.name in objects else "is not in the file"
    raise InvalidArgument(f'{where}: {kind} "{selector.name}" {missing}')


def _field(path: str, facts: Facts, where: str) -> str:
    metadata, spec = facts.pod.metadata, facts.pod.spec
    if found := _SUBSCRIPT.fullmatch(path):
        return (metadata.labels if found[1] == "labels" else metadata.annotations).get(found[2], "")
    match path:
        case "metadata.name":
            return metadata.name
        case "metadata.namespace":
            return facts.namespace
        case "metadata.uid":
            return facts.uid
        case "spec.nodeName":
            return facts.node
        case "spec.serviceAccountName":
            return spec.service_account_name or "default"
        case "status.podIP":
            return facts.addresses[0] if facts.addresses else ""
        case "status.podIPs":
            return ",".join(facts.addresses)
    raise InvalidArgument(f'{where}: "{path}" is no field that a container may ask for here')


def _resource(selector: ResourceSelector, container: Container, facts: Facts, where: str) -> str:
    everyone = [*facts.pod.spec.init_containers, *facts.pod.spec.containers]
    named = {other.name: other for other in everyone}
    about = named.get(selector.container_name or container.name)
    if about is None:
        raise InvalidArgument(f'{where}.containerName: there is no container "{selector.container_name}"')
    kind, _, name = selector.resource.partition(".")
    amounts = {"limits": about.resources.limits, "requests": about.resources.requests}.get(kind, {})
    if name not in amounts:
        raise InvalidArgument(f'{where}.resource: container "{about.name}" sets no {selector.resource}')
    divisor = quantity.parse(selector.divisor, f"{where}.divisor") or 1
    return str(math.ceil(quantity.parse(amounts[name], f"{where}.resource") / divisor))
