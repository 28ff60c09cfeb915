"""What configMap, secret, downwardAPI and projected volumes hold, as files with their modes. Writes nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.pods.facts import Facts
from podwright.pods.objects import Objects
from podwright.pods.schema import DownwardFile, KeyToPath, ProjectedSource, TokenSource, Volume


@dataclass(frozen=True, slots=True)
class File:
    """A file of a volume."""

    data: bytes
    mode: int


Payload = dict[str, File]
"""Files by their path in the volume."""


def payload(volume: Volume, objects: Objects, facts: Facts, where: str) -> Payload | None:
    """The files of a volume; None if it is of another kind. Raises InvalidArgument that names the field."""
    if (config_map := volume.config_map) is not None:
        where = f"{where}.configMap"
        keys = _present(objects.config_maps, "configmap", config_map.name, where, optional=config_map.optional)
        return _files(keys, config_map.items, config_map.default_mode, where, optional=config_map.optional)
    if (secret := volume.secret) is not None:
        where = f"{where}.secret"
        keys = _present(objects.secrets, "secret", secret.secret_name, where, optional=secret.optional)
        return _files(keys, secret.items, secret.default_mode, where, optional=secret.optional)
    if volume.downward_api is not None:
        return _downward(volume.downward_api.items, volume.downward_api.default_mode, facts, f"{where}.downwardAPI")
    if volume.projected is not None:
        result: Payload = {}
        for index, source in enumerate(volume.projected.sources):
            path = f"{where}.projected.sources[{index}]"
            result |= _projected(source, volume.projected.default_mode, objects, facts, path)
        return result
    return None


def _projected(source: ProjectedSource, mode: int, objects: Objects, facts: Facts, where: str) -> Payload:
    for kind, those, wanted in (
        ("configmap", objects.config_maps, source.config_map),
        ("secret", objects.secrets, source.secret),
    ):
        if wanted is not None:
            keys = _present(those, kind, wanted.name, where, optional=wanted.optional)
            return _files(keys, wanted.items, mode, where, optional=wanted.optional)
    if source.downward_api is not None:
        return _downward(source.downward_api.items, mode, facts, f"{where}.downwardAPI")
    if source.service_account_token is not None:
        return _token(source.service_account_token, mode, objects, facts, f"{where}.serviceAccountToken")
    raise InvalidArgument(f"{where}: names no source that is served")


def _token(wanted: TokenSource, mode: int, objects: Objects, facts: Facts, where: str) -> Payload:
    token = objects.tokens.get((wanted.audience, wanted.expiration_seconds))
    if token is None:
        raise FailedPrecondition(f"{where}: there is no API server to give a token")
    if facts.pod.spec.security_context.fs_group is not None:  # the group may read it, others must not
        mode = 0o600
    return {_inside(wanted.path, f"{where}.path"): File(token.encode(), mode)}


def _downward(items: Iterable[DownwardFile], mode: int, facts: Facts, where: str) -> Payload:
    result = {}
    for index, item in enumerate(items):
        path = f"{where}.items[{index}]"
        if item.field_ref is not None:
            text = facts.field(item.field_ref.field_path, f"{path}.fieldRef.fieldPath")
        elif item.resource_field_ref is not None:
            text = facts.resource(item.resource_field_ref, "", f"{path}.resourceFieldRef")
        else:
            raise InvalidArgument(f"{path}: names neither fieldRef nor resourceFieldRef")
        result[_inside(item.path, f"{path}.path")] = File(text.encode(), _mode(item.mode, mode))
    return result


def _present(
    those: Mapping[str, Mapping[str, bytes]], kind: str, name: str, where: str, *, optional: bool
) -> Mapping[str, bytes]:
    if name not in those and not optional:
        raise InvalidArgument(f'{where}: {kind} "{name}" not found')
    return those.get(name, {})


def _files(keys: Mapping[str, bytes], items: list[KeyToPath], mode: int, where: str, *, optional: bool) -> Payload:
    """All keys as files, or those of `items` under other names."""
    if not items:
        return {key: File(data, mode) for key, data in keys.items()}
    result = {}
    for index, item in enumerate(items):
        if item.key in keys:
            path = _inside(item.path, f"{where}.items[{index}].path")
            result[path] = File(keys[item.key], _mode(item.mode, mode))
        elif not optional:
            raise InvalidArgument(f'{where}.items[{index}].key: there is no key "{item.key}"')
    return result


def _mode(own: int | None, of_volume: int) -> int:
    return of_volume if own is None else own


def _inside(path: str, where: str) -> str:
    if not path or path.startswith(("/", "..")) or ".." in path.split("/"):
        raise InvalidArgument(f'{where}: "{path}" leads out of the volume')
    return path
