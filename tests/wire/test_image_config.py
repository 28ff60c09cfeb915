"""Configurations of images: what they say of containers, and for which machine they are."""

import json
from typing import Any

import pytest

from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.wire import manifest
from podwright.wire.manifest import ImageConfig
from podwright.wire.platform import of_machine

AMD64 = of_machine("x86_64", ())


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def test_a_configuration_is_read() -> None:
    document = {
        "architecture": "arm",
        "variant": "v7",
        "os": "linux",
        "created": "2026-01-02T03:04:05Z",
        "config": {
            "Entrypoint": ["/entry", "--now"],
            "Cmd": ["serve"],
            "Env": ["PATH=/bin", "A=ä=b"],
            "User": "1000:app",
            "WorkingDir": "/srv",
            "StopSignal": "SIGQUIT",
            "Volumes": {"/var/lib": {}, "/data": {}},
            "Labels": {"a": "1", "b": ""},
            "ExposedPorts": {"80/tcp": {}},
            "Healthcheck": {"Test": ["NONE"]},
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(1), digest(2)]},
        "history": [{"created_by": "COPY"}],
    }
    assert manifest.parse_config(json.dumps(document).encode()) == ImageConfig(
        entrypoint=("/entry", "--now"),
        cmd=("serve",),
        env=("PATH=/bin", "A=ä=b"),
        user="1000:app",
        working_dir="/srv",
        stop_signal="SIGQUIT",
        volumes=("/data", "/var/lib"),
        labels={"a": "1", "b": ""},
        architecture="arm",
        variant="v7",
        os="linux",
        diff_ids=(digest(1), digest(2)),
    )


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"config": None, "rootfs": None},
        {"config": {"Entrypoint": None, "Cmd": None, "Env": None, "User": None, "Volumes": None, "Labels": None}},
        {"config": {"Cmd": [], "Labels": {}}, "rootfs": {"diff_ids": []}},
    ],
)
def test_what_is_missing_is_empty(document: dict[str, Any]) -> None:
    assert manifest.parse_config(json.dumps(document).encode()) == ImageConfig()


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"config": []}, "'config' of the document is no object"),
        ({"config": {"Cmd": "sh"}}, "'Cmd' of the document is no list"),
        ({"config": {"Env": ["A=b", 1]}}, "'Env' of the document is no collection of strings"),
        ({"config": {"Entrypoint": [None]}}, "'Entrypoint' of the document is no collection of strings"),
        ({"config": {"User": 1000}}, "'User' of the document is no string"),
        ({"config": {"Volumes": ["/data"]}}, "'Volumes' of the document is no object"),
        ({"config": {"Labels": {"a": None}}}, "'Labels' of the document is no collection of strings"),
        ({"os": {}}, "'os' of the document is no string"),
        ({"rootfs": []}, "'rootfs' of the document is no object"),
        ({"rootfs": {"diff_ids": digest(0)}}, "'diff_ids' of the document is no list"),
        ({"rootfs": {"diff_ids": [digest(0), "../../etc"]}}, "'../../etc' is no digest"),
    ],
)
def test_wrong_configurations_are_refused(document: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        manifest.parse_config(json.dumps(document).encode())


@pytest.mark.parametrize(
    "config",
    [
        ImageConfig(architecture="amd64", os="linux"),
        ImageConfig(architecture="amd64"),
        ImageConfig(architecture="386", os="linux"),
        ImageConfig(architecture="x86_64", os="Linux", variant="1"),
        ImageConfig(),  # it does not say
    ],
)
def test_images_for_this_machine_pass(config: ImageConfig) -> None:
    manifest.check_platform(config, AMD64)


@pytest.mark.parametrize(
    ("config", "platform"),
    [
        (ImageConfig(architecture="arm64", os="linux"), "linux/arm64/v8"),
        (ImageConfig(architecture="amd64", os="windows"), "windows/amd64/v1"),
        (ImageConfig(architecture="amd64", os="linux", variant="v3"), "linux/amd64/v3"),
    ],
)
def test_images_for_other_machines_are_refused(config: ImageConfig, platform: str) -> None:
    with pytest.raises(FailedPrecondition, match=f"the image is for {platform}, this machine is linux/amd64/v1"):
        manifest.check_platform(config, AMD64)
