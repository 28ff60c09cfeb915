"""Reading manifests: YAML or JSON documents into typed pods, config maps and secrets.

What is wrong is refused with the document and the field that it is in, before anything is made.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, get_args, get_origin

import msgspec
import yaml

from podwright.errors import InvalidArgument
from podwright.pods.check import check
from podwright.pods.objects import Objects
from podwright.pods.schema import ONLY_NODE, UNSERVED, ConfigMap, Pod, Secret

Document = TypeVar("Document", Pod, ConfigMap, Secret)

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast


@dataclass(frozen=True, slots=True)
class PodFile:
    """What a file holds."""

    pods: list[Pod] = field(default_factory=list)
    config_maps: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    secrets: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Fields that are understood, but not served."""

    @property
    def objects(self) -> Objects:
        """What its pods can refer to."""
        return Objects(self.config_maps, self.secrets)


def parse(text: str, name: str) -> PodFile:
    """Reads the text of the file called `name` for `podwright run`. Raises InvalidArgument."""
    read = PodFile()
    for where, document in documents(text, name):
        _add(read, document, where)
    if not read.pods:
        raise InvalidArgument(f"{name}: there is no pod in it")
    return read


def documents(text: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    """The documents of a file, with the items of lists in place of lists, each with where it is.

    Raises InvalidArgument.
    """
    try:
        found = list(yaml.load_all(text, _Loader))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: dates that there are not
        raise InvalidArgument(f"{name}: not YAML: {' '.join(str(error).split())}") from None
    result = []
    for number, document in enumerate(_flattened(found), 1):
        where = f"{name}, document {number}"
        if not isinstance(document, dict):
            raise InvalidArgument(f"{where}: is not a mapping")
        result.append((where, document))
    return result


def convert(document: object, kind: type[Document]) -> Document:
    """Reads one document, checking types and what types cannot say. Raises InvalidArgument that names the field."""
    try:
        value = msgspec.convert(_without_nulls(document), kind)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        path = path.strip("`").lstrip(".") or "it"
        raise InvalidArgument(f"{path}: {problem[:1].lower()}{problem[1:]}") from None
    if isinstance(value, Pod):
        check(value)
    return value


def without_unknown(document: object, kind: object) -> object:
    """The document without the fields that `kind` does not have: those of a newer API than this program's."""
    if get_origin(kind) is not None and isinstance(document, (dict, list)):
        kinds = [argument for argument in get_args(kind) if _is_struct(argument) or get_origin(argument) is not None]
        if not kinds:
            return document
        if get_origin(kind) is list:
            return [without_unknown(item, kinds[0]) for item in document]
        if get_origin(kind) is dict:
            return document
        return without_unknown(document, kinds[0])
    if not (_is_struct(kind) and isinstance(document, dict)):
        return document
    known = {known.encode_name: known.type for known in msgspec.structs.fields(kind)}  # type: ignore[arg-type]
    return {key: without_unknown(item, known[key]) for key, item in document.items() if key in known}


def unserved(value: object, *, by_node: bool, path: str = "") -> Iterator[str]:
    """The paths of fields that are set and mean something that is not done, by the node agent or by `run`."""
    marks = [UNSERVED] if by_node else [UNSERVED, ONLY_NODE]
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from unserved(item, by_node=by_node, path=f"{path}[{index}]")
    elif isinstance(value, msgspec.Struct):
        for known in msgspec.structs.fields(value):
            below, item = f"{path}.{known.encode_name}".lstrip("."), getattr(value, known.name)
            if item not in _UNSET and any(mark in marks for mark in getattr(known.type, "__metadata__", ())):
                yield below
            else:
                yield from unserved(item, by_node=by_node, path=below)


_UNSET: Final[tuple[object, ...]] = (None, [], {}, "")


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _flattened(found: list[object]) -> Iterator[object]:
    for document in found:
        if isinstance(document, dict) and document.get("kind") == "List" and isinstance(document.get("items"), list):
            yield from document["items"]
        elif document is not None:
            yield document


def _add(read: PodFile, document: dict[str, Any], where: str) -> None:
    try:
        match document.get("kind"):
            case "Pod":
                pod = convert(document, Pod)
                read.pods.append(pod)
                left_out = unserved(pod, by_node=False)
                read.notes.extend(f"{where}: {path} is not served by `podwright run`" for path in left_out)
                return
            case "ConfigMap":
                config_map = convert(document, ConfigMap)
                read.config_maps[config_map.metadata.name] = config_map.keys()
                return
            case "Secret":
                secret = convert(document, Secret)
                read.secrets[secret.metadata.name] = secret.keys()
                return
    except InvalidArgument as error:
        raise InvalidArgument(f"{where}: {error}") from None
    kind = document.get("kind")
    raise InvalidArgument(f'{where}: kind is "{kind}"; only Pod, ConfigMap, Secret and List can be run here')


def _without_nulls(value: object) -> object:
    """A field that is null is a field that is absent."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
