"""What an API server is told of pods, and what becomes of it there: merges, other writers, objects of the same name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.member import NODE, Member, api_pod, condition, member

pytest.importorskip("lightkube")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Member]:
    with member(tmp_path) as made:
        made.start()
        made.until(lambda: made.api.get("nodes", NODE, ""))
        yield made


def is_ready(cluster: Member, name: str) -> bool:
    return condition(cluster.pod_status(name), "Ready").get("status") == "True"


def write(cluster: Member, name: str, *conditions: dict[str, Any]) -> None:
    """Writes conditions, as controllers of the cluster do."""
    cluster.api.patch("pods", name, {"status": {"conditions": list(conditions)}}, status=True)


def test_a_condition_that_has_come_true_says_no_more_why_it_was_not(cluster: Member) -> None:
    cluster.api.create("pods", api_pod("web"))
    cluster.until(lambda: is_ready(cluster, "web"))
    states = cluster.api.changes("pods", "web", 0)
    assert any("reason" in condition(item["status"], "Ready") for item in states), "it was ready from the start"
    for item in cluster.pod_status("web")["conditions"]:
        assert item["status"] == "True" and item.keys() == {"type", "status", "lastTransitionTime"}


def test_what_somebody_has_written_over_is_told_again(cluster: Member) -> None:
    """A cluster that does not hear of a node marks its pods as not ready; its node takes that back."""
    cluster.api.create("pods", api_pod("web"))
    cluster.until(lambda: is_ready(cluster, "web"))
    write(cluster, "web", {"type": "Ready", "status": "False", "reason": "NodeNotReady"})
    cluster.until(lambda: is_ready(cluster, "web"), "it stays not ready")
    assert "reason" not in condition(cluster.pod_status("web"), "Ready")


def test_conditions_of_others_stay_as_they_write_them(cluster: Member) -> None:
    gate = "example.com/in-balance"
    cluster.api.create("pods", api_pod("web", readinessGates=[{"conditionType": gate}]))
    cluster.until(lambda: condition(cluster.pod_status("web"), "Ready").get("reason") == "ReadinessGatesNotReady")
    write(cluster, "web", {"type": gate, "status": "False"})
    write(cluster, "web", {"type": gate, "status": "True", "message": "all is well"})
    cluster.until(lambda: is_ready(cluster, "web"), "the gate does not count")
    assert condition(cluster.pod_status("web"), gate)["message"] == "all is well"
    shown = cluster.shown()["web"]["status"]["conditions"]
    assert {item["type"]: item["status"] for item in shown}[gate] == "True"


def test_a_status_that_is_refused_holds_up_no_other(cluster: Member) -> None:
    path = "/api/v1/namespaces/default/pods/{}/status"
    cluster.api.forbidden.add(path.format("first"))
    cluster.api.create("pods", api_pod("first"))
    cluster.until(lambda: cluster.api.asked(path.format("first")))
    cluster.api.create("pods", api_pod("second"))
    cluster.until(lambda: is_ready(cluster, "second"), "another pod's status is not told")
    assert not is_ready(cluster, "first")
    cluster.api.forbidden.clear()
    cluster.until(lambda: is_ready(cluster, "first"), "it is not told later")


def test_a_pod_takes_the_name_of_another(cluster: Member) -> None:
    """The last words about the old one must not reach the new one, nor hold up anything."""
    cluster.api.create("pods", api_pod("web"))
    cluster.until(lambda: is_ready(cluster, "web"))
    cluster.api.delete("pods", "web", grace=0)
    again = cluster.api.create("pods", api_pod("web"))
    cluster.until(lambda: is_ready(cluster, "web"), "the second does not get ready")
    sandboxes = {item.config.metadata.uid for item in cluster.runtime.sandboxes.values()}
    assert sandboxes == {again["metadata"]["uid"]}


def test_two_addresses_of_one_type(cluster: Member) -> None:
    cluster.end()
    cluster.start("--node-ip=127.0.0.1,::1")
    both = [{"type": "InternalIP", "address": address} for address in ("127.0.0.1", "::1")]
    wanted = [*both, {"type": "Hostname", "address": NODE}]
    cluster.until(lambda: (cluster.api.get("nodes", NODE, "") or {})["status"]["addresses"] == wanted)
