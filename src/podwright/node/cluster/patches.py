"""Strategic merge patches of a status that leave nothing behind of the status before. Pure.

Such a patch only adds: a field that is to go must be null in it, and a list that has a merge key keeps its items
unless the patch says that it replaces them (sig-api-machinery/strategic-merge-patch.md). What others have written is
not in the patch and stays.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from podwright.node.status import OWN_CONDITIONS

Document = dict[str, Any]

_MAY_GO: Final = ("reason", "message", "podIP")
_BY_KEY: Final = ("podIPs", "hostIPs")


def pod_status(status: Mapping[str, Any], there: Mapping[str, Any]) -> Document:
    """The patch that makes a pod's status this one, where `there` is; but for conditions that are not the node's."""
    lists = {name: _whole(status, there, name) for name in _BY_KEY}
    return {**dict.fromkeys(_MAY_GO), **status, **lists, "conditions": _conditions(status.get("conditions", ()))}


def node_status(status: Mapping[str, Any], there: Mapping[str, Any]) -> Document:
    """The patch that makes a node's status this one; two addresses may have one type, which is their merge key."""
    return {**status, "addresses": _whole(status, there, "addresses")}


def own(status: Mapping[str, Any]) -> Document:
    """What of a pod's status the node has written."""
    conditions = [item for item in status.get("conditions") or () if item["type"] in OWN_CONDITIONS]
    return {**status, "conditions": sorted(conditions, key=lambda item: item["type"])}


def _whole(status: Mapping[str, Any], there: Mapping[str, Any], name: str) -> list[Document]:
    """The list, in place of what is there; where there is nothing the directive would become an item."""
    items = [*status.get(name, ())]
    return [{"$patch": "replace"}, *items] if there.get(name) else items


def _conditions(items: Iterable[Mapping[str, Any]]) -> list[Document]:
    return [{"reason": None, "message": None, **item} for item in items if item["type"] in OWN_CONDITIONS]
