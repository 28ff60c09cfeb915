"""The shapes of the Kubernetes API, by lightkube's models, which are made of the official OpenAPI document."""

from typing import Any

import msgspec

MERGE_KEYS = {
    "conditions": "type",
    "addresses": "type",
    "podIPs": "ip",
    "hostIPs": "ip",
    "ports": "containerPort",
    "containers": "name",
}
"""x-kubernetes-patch-merge-key of the OpenAPI, for the lists that a node patches."""


def check(value: Any, kind: Any, path: str) -> None:
    """Whether a document is what a model of lightkube, hence the OpenAPI, says. Raises ValueError."""
    arguments: list[Any] = [*getattr(kind, "__args__", ())]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if not isinstance(value, dict):
            raise ValueError(f"{path}: is not an object")
        known = {known.encode_name: known.type for known in msgspec.structs.fields(kind)}
        for key, item in value.items():
            if key not in known:
                raise ValueError(f"{path}.{key}: there is no such field")
            if item is not None:
                check(item, known[key], f"{path}.{key}")
        return
    origin = getattr(kind, "__origin__", None)
    if origin is list:
        if not isinstance(value, list):
            raise ValueError(f"{path}: is not a list")
        for index, item in enumerate(value):
            check(item, arguments[0], f"{path}[{index}]")
    elif type(None) in arguments:
        check(value, next(argument for argument in arguments if argument is not type(None)), path)
    elif kind in {int, bool} and type(value) is not kind:
        raise ValueError(f"{path}: {value!r} is no {kind.__name__}")
    elif kind is str and not isinstance(value, str):
        raise ValueError(f"{path}: {value!r} is no string")


def merge(old: Any, patch: Any, key: str = "") -> Any:
    """Strategic merge: mappings by key, lists that have a merge key by that, other lists as a whole."""
    if isinstance(old, dict) and isinstance(patch, dict):
        result = dict(old)
        for name, item in patch.items():
            if item is None:
                result.pop(name, None)
            else:
                result[name] = merge(result.get(name), item, name)
        return result
    if isinstance(old, list) and isinstance(patch, list) and key in MERGE_KEYS:
        by = MERGE_KEYS[key]
        if {"$patch": "replace"} in patch:
            return [item for item in patch if "$patch" not in item]
        items = {item[by]: item for item in old}
        for item in patch:
            items[item[by]] = merge(items.get(item[by]), item)
        return list(items.values())
    return _without_nulls(patch)


def _without_nulls(patch: Any) -> Any:
    """What a patch makes where there was nothing: directives become items, as in the real one."""
    if isinstance(patch, dict):
        return {name: _without_nulls(item) for name, item in patch.items() if item is not None}
    if isinstance(patch, list):
        return [_without_nulls(item) for item in patch]
    return patch
