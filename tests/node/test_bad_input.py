"""What is wrong with manifests, flags and configuration is said, and disturbs nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from podwright.node import configuration
from podwright.node.main import main
from support.member import Member, api_pod, member


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    """A node without a cluster that runs a good pod."""
    with member(tmp_path_factory.mktemp("bad")) as made:
        manifests = made.directory / "manifests"
        manifests.mkdir()
        (manifests / "good.yaml").write_text(yaml.safe_dump(api_pod("good")))
        made.start(f"--pod-manifest-path={manifests}", joins=False)
        made.until(lambda: made.shown().get("good", {}).get("status", {}).get("phase") == "Running")
        yield made


def put(alone: Member, name: str, text: str | bytes) -> None:
    temporary = alone.directory / name
    temporary.write_bytes(text if isinstance(text, bytes) else text.encode())
    temporary.rename(alone.directory / "manifests" / f"{name}.yaml")


def is_undisturbed(alone: Member) -> None:
    """The good pod is as it was, and the node has met no defect."""
    (container,) = alone.shown()["good"]["status"]["containerStatuses"]
    assert container["restartCount"] == 0 and "running" in container["state"]
    assert "this is a defect" not in alone.log.read_text()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("broken", "a: [b", "not YAML"),
        ("text", "just words", "is not a mapping"),
        ("list", "- 1\n- 2\n", "is not a mapping"),
        ("kind", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n", "only v1 Pod can be run"),
        ("nameless", "apiVersion: v1\nkind: Pod\nspec: {}\n", "metadata.name: is missing"),
        ("binary", b"\xff\xfe\x00", "is not UTF-8"),
        (
            "bomb",
            "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nkind: Pod\napiVersion: v1\n",
            "metadata.name",
        ),
        ("tag", "!!python/object/apply:os.system ['true']\n", "not YAML"),
        ("date", "a: 2026-99-99\n", "not YAML"),
    ],
)
def test_files_that_are_no_pods(alone: Member, name: str, text: str | bytes, said: str) -> None:
    put(alone, name, text)
    alone.until(
        lambda: any(f"{name}.yaml" in line and said in line for line in alone.log.read_text().splitlines()), said
    )
    is_undisturbed(alone)


def spec_of(**changes: Any) -> dict[str, Any]:
    return {"containers": [{"name": "main", "image": "busybox:1", **changes}]}


@pytest.mark.parametrize(
    ("name", "spec", "said"),
    [
        ("misspelt", {"contaners": []}, "object contains unknown field `contaners`"),
        ("misspelt2", spec_of(imagePullPolizy="Always"), "spec.containers[0]: object contains unknown field"),
        ("empty", {"containers": []}, "spec.containers: expected `array` of length >= 1"),
        ("typed", spec_of(command="sh -c true"), "spec.containers[0].command: expected `array`, got `str`"),
        ("twice", {"containers": [spec_of()["containers"][0]] * 2}, 'spec.containers[1].name: "main" is there twice'),
        ("imageless", spec_of(image=" "), "spec.containers[0].image: is empty"),
        ("policy", {**spec_of(), "restartPolicy": "Sometimes"}, "spec.restartPolicy"),
        ("volumeless", spec_of(volumeMounts=[{"name": "v", "mountPath": "/v"}]), 'there is no volume "v"'),
        ("quantity", spec_of(resources={"limits": {"memory": "12 apples"}}), "is no quantity"),
        ("above", spec_of(resources={"limits": {"cpu": 1}, "requests": {"cpu": 2}}), "more than its limit"),
        ("probe", spec_of(livenessProbe={"periodSeconds": 1}), "livenessProbe: has no actions"),
        ("probes", spec_of(livenessProbe={"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}), "has 2 actions"),
        ("hook", {"initContainers": [{"name": "i", "image": "b", "lifecycle": {}}], **spec_of()}, "for sidecars"),
        ("port", spec_of(ports=[{"containerPort": 99999}]), "spec.containers[0].ports[0].containerPort"),
        ("scalar", "nothing", "spec: expected `object`, got `str`"),
    ],
)
def test_specifications_that_are_wrong(alone: Member, name: str, spec: Any, said: str) -> None:
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    put(alone, name, yaml.safe_dump(document))
    alone.until(lambda: alone.shown().get(name, {}).get("status"), "the pod is not shown")
    status = alone.shown()[name]["status"]
    assert status["phase"] == "Failed" and status["reason"] == "InvalidPod"
    assert said in status["message"]
    is_undisturbed(alone)


def test_pods_that_are_impossible_here(alone: Member) -> None:
    put(alone, "huge", yaml.safe_dump(api_pod("huge", **spec_of(resources={"requests": {"memory": "900Ti"}}))))
    put(alone, "ports", yaml.safe_dump(api_pod("ports", hostNetwork=True, **spec_of(ports=[{"containerPort": 81}]))))
    alone.until(lambda: alone.shown().get("ports", {}).get("status", {}).get("phase") == "Running")
    put(alone, "ports2", yaml.safe_dump(api_pod("ports2", hostNetwork=True, **spec_of(ports=[{"containerPort": 81}]))))
    alone.until(lambda: alone.shown().get("huge", {}).get("status", {}).get("reason") == "OutOfmemory")
    alone.until(lambda: alone.shown().get("ports2", {}).get("status", {}).get("reason") == "NodePorts")
    assert "requested" in alone.shown()["huge"]["status"]["message"]
    is_undisturbed(alone)


def test_a_file_that_is_being_edited_does_not_end_its_pod(alone: Member) -> None:
    put(alone, "edited", yaml.safe_dump(api_pod("edited")))
    alone.until(lambda: alone.shown().get("edited", {}).get("status", {}).get("phase") == "Running")
    put(alone, "edited", "apiVersion: v1\nkind: [Po")
    alone.until(lambda: "edited.yaml" in alone.log.read_text().rpartition("not YAML")[0], "the file is not looked at")
    assert alone.shown()["edited"]["status"]["phase"] == "Running"


def test_two_files_with_one_pod(alone: Member) -> None:
    put(alone, "same-1", yaml.safe_dump(api_pod("same")))
    put(alone, "same-2", yaml.safe_dump(api_pod("same")))
    alone.until(lambda: "pod default/same-n1 is in another file too" in alone.log.read_text())
    alone.until(lambda: alone.shown().get("same", {}).get("status", {}).get("phase") == "Running")


def test_fields_that_are_not_served_are_told(alone: Member) -> None:
    put(alone, "users", yaml.safe_dump(api_pod("users", hostUsers=False)))
    alone.until(lambda: "NotServed: spec.hostUsers is not served by this node" in alone.log.read_text())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Pod\napiVersion: v1\n", 'kind is not "KubeletConfiguration"'),
        ("kind: KubeletConfiguration\napiVersion: v2\n", "apiVersion is not"),
        ("{kind: KubeletConfiguration, apiVersion: kubelet.config.k8s.io/v1beta1, maxPods: many}", "maxPods"),
        (
            "{kind: KubeletConfiguration, apiVersion: kubelet.config.k8s.io/v1beta1, syncFrequency: soon}",
            "syncFrequency",
        ),
        (
            "{kind: KubeletConfiguration, apiVersion: kubelet.config.k8s.io/v1beta1, cgroupDriver: magic}",
            "cgroupDriver",
        ),
        ("[", "not YAML"),
    ],
)
def test_wrong_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    path = tmp_path / "kubelet.yaml"
    path.write_text(text)
    assert main(["node", f"--config={path}"]) == 2
    error = capsys.readouterr().err
    assert said in error and str(path) in error


def test_wrong_flags(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["node", f"--config={tmp_path}/none"]) == 2
    assert "no such file" in capsys.readouterr().err
    assert main(["node", "--sync-frequency=often"]) == 2
    assert 'syncFrequency: "often" is no duration' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["node", "--no-such-flag"])
    assert "unrecognized arguments" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["node", "--node-labels=nonsense"])
    capsys.readouterr()
    allowed = "node.kubernetes.io/a=b,x.kubelet.kubernetes.io/a=b,topology.kubernetes.io/zone=z,example.com/a=b"
    assert main(["node", f"--node-labels={allowed},node-role.kubernetes.io/worker="]) == 2
    told = capsys.readouterr().err
    assert "unknown 'kubernetes.io' or 'k8s.io' labels: node-role.kubernetes.io/worker. A node may" in told


def test_unknown_fields_of_a_configuration_are_named() -> None:
    text = (
        "{kind: KubeletConfiguration, apiVersion: kubelet.config.k8s.io/v1beta1, maxPods: 7, cpuManagerPolicy: static}"
    )
    read, ignored = configuration.parse(text, "it")
    assert ignored == ["cpuManagerPolicy"]
    assert read.max_pods == 7
