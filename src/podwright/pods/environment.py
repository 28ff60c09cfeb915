"""The environment of a container: literal values, config maps, secrets, fields of the pod and of its resources."""

import re
from collections.abc import Mapping
from typing import Final

from podwright.errors import InvalidArgument
from podwright.pods.facts import Facts
from podwright.pods.objects import Objects
from podwright.pods.schema import Container, EnvFrom, EnvSource, KeySelector

_REFERENCE: Final = re.compile(rb"\$\$|\$\(([^()]*)\)")


def environment(container: Container, objects: Objects, facts: Facts, where: str) -> dict[str, bytes]:
    """The variables by name. Raises InvalidArgument that names the field below `where`."""
    result: dict[str, bytes] = {}
    for name, text in objects.services.items():
        result[name] = text.encode()
    for index, source in enumerate(container.env_from):
        for key, value in _all_keys(source, objects, f"{where}.envFrom[{index}]").items():
            result[source.prefix + key] = value
    for index, variable in enumerate(container.env):
        path = f"{where}.env[{index}]"
        if variable.value_from is None:
            result[variable.name] = expand(variable.value.encode(), result)
            continue
        found = _lookup(variable.value_from, container, objects, facts, f"{path}.valueFrom")
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


def _all_keys(source: EnvFrom, objects: Objects, where: str) -> Mapping[str, bytes]:
    for kind, those, reference in (
        ("configmap", objects.config_maps, source.config_map_ref),
        ("secret", objects.secrets, source.secret_ref),
    ):
        if reference is not None:
            if reference.name in those:
                return those[reference.name]
            if reference.optional:
                return {}
            raise InvalidArgument(f'{where}: {kind} "{reference.name}" not found')
    raise InvalidArgument(f"{where}: names neither configMapRef nor secretRef")


def _lookup(source: EnvSource, container: Container, objects: Objects, facts: Facts, where: str) -> bytes | None:
    if source.config_map_key_ref is not None:
        return _key("configmap", objects.config_maps, source.config_map_key_ref, where)
    if source.secret_key_ref is not None:
        return _key("secret", objects.secrets, source.secret_key_ref, where)
    if source.field_ref is not None:
        return facts.field(source.field_ref.field_path, f"{where}.fieldRef.fieldPath").encode()
    if source.resource_field_ref is not None:
        return facts.resource(source.resource_field_ref, container.name, f"{where}.resourceFieldRef").encode()
    raise InvalidArgument(f"{where}: names no source that is served")


def _key(kind: str, those: Mapping[str, Mapping[str, bytes]], selector: KeySelector, where: str) -> bytes | None:
    if selector.name in those and selector.key in those[selector.name]:
        return those[selector.name][selector.key]
    if selector.optional:
        return None
    missing = f'has no key "{selector.key}"' if selector.name in those else "not found"
    raise InvalidArgument(f'{where}: {kind} "{selector.name}" {missing}')
