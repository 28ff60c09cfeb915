"""Manifests and indexes: those of real images, those that lie, and whatever JSON there is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.wire import manifest
from podwright.wire.manifest import Descriptor, ImageConfig, Index, Manifest
from podwright.wire.platform import Platform, accepted, of_machine

# In full: what the module calls them proves nothing.
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DIGEST = "sha256:" + "0" * 64


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def described(number: int, media_type: str = OCI_LAYER, **changes: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(number), "size": number, **changes}


def image(**changes: Any) -> dict[str, Any]:
    """A manifest of two layers; changes to None leave a field out."""
    whole = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": described(1, OCI_CONFIG),
        "layers": [described(2), described(3)],
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not None}


def index(*manifests: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An index; changes to None leave a field out."""
    whole = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(manifests), **changes}
    return {key: value for key, value in whole.items() if value is not None}


def offer(number: int, platform: str | None, media_type: str = OCI_MANIFEST) -> dict[str, Any]:
    if platform is None:
        return described(number, media_type)
    fields = zip(("os", "architecture", "variant"), platform.split("/"), strict=False)
    return described(number, media_type, platform={"os.version": "", **dict(fields)})


def read(document: object, media_type: str = "") -> Index | Manifest:
    return manifest.parse(json.dumps(document).encode(), media_type)


def read_index(document: object) -> Index:
    found = read(document)
    assert isinstance(found, Index)
    return found


# ---- manifests


def test_what_a_registry_is_asked_for() -> None:
    assert set(manifest.ACCEPT) == {OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST}


def test_a_manifest_is_read() -> None:
    assert read(image()) == Manifest(
        Descriptor(OCI_CONFIG, digest(1), 1),
        (Descriptor(OCI_LAYER, digest(2), 2), Descriptor(OCI_LAYER, digest(3), 3)),
        "",
    )


@pytest.mark.parametrize(
    ("document", "media_type", "is_image"),
    [
        (image(), OCI_MANIFEST, True),
        (image(mediaType=None), f"{OCI_MANIFEST}; charset=utf-8", True),
        (image(mediaType=None, schemaVersion=None), "text/plain", True),  # as a simple web server sends it
        (
            image(
                mediaType=DOCKER_MANIFEST,
                config=described(1, DOCKER_CONFIG),
                layers=[described(2, DOCKER_LAYER, urls=["https://example.com/foreign"])],
            ),
            DOCKER_MANIFEST,
            True,
        ),
        (image(layers=None), "", True),
        (image(layers=[described(2, size=(1 << 63) - 1), described(3, size=0)]), "", True),
        (image(layers=[described(2)] * 500), "", True),
        (
            image(
                artifactType="application/vnd.example.model",
                config=described(2, "application/vnd.oci.empty.v1+json"),
                subject=described(4, OCI_MANIFEST),
            ),
            OCI_MANIFEST,
            False,
        ),
        (image(config=described(1, "application/vnd.cncf.helm.config.v1+json")), "", False),
    ],
)
def test_images_are_told_from_artifacts(document: dict[str, Any], media_type: str, is_image: bool) -> None:
    found = read(document, media_type)
    assert isinstance(found, Manifest)
    assert found.is_image == is_image
    assert found.artifact_type == document.get("artifactType", "")
    assert len(found.layers) == len(document.get("layers", ()))


def test_an_index_is_read() -> None:
    named = described(2, DOCKER_MANIFEST, annotations={"org.opencontainers.image.ref.name": "latest"})
    assert read_index(index(offer(1, "linux/arm/v7"), named)) == Index(
        (
            Descriptor(OCI_MANIFEST, digest(1), 1, Platform("linux", "arm", "v7")),
            Descriptor(DOCKER_MANIFEST, digest(2), 2, None, {"org.opencontainers.image.ref.name": "latest"}),
        )
    )


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        (index(), ""),
        (index(mediaType=None), OCI_INDEX),
        (index(mediaType=None), ""),
        (index(mediaType=DOCKER_LIST), DOCKER_LIST),
        (index(manifests=None), ""),
        ({"schemaVersion": 2}, DOCKER_LIST),
    ],
)
def test_an_index_may_be_empty(document: dict[str, Any], media_type: str) -> None:
    assert read(document, media_type) == Index(())


BOTH = "is an index and a manifest at once"


@pytest.mark.parametrize(
    ("document", "media_type", "why"),
    [
        # CVE-2021-41190
        pytest.param(image(manifests=[described(2)]), "", BOTH, id="manifests in an image"),
        pytest.param(index(described(2), layers=[]), "", BOTH, id="layers in an index"),
        pytest.param(index(described(2), config=described(1)), "", BOTH, id="a configuration in an index"),
        pytest.param(image(mediaType=OCI_INDEX), "", BOTH, id="an image that says it is an index"),
        pytest.param(index(mediaType=OCI_MANIFEST), "", BOTH, id="an index that says it is an image"),
        pytest.param(image(), DOCKER_LIST, BOTH, id="an image announced as an index"),
        pytest.param(image(), f"{OCI_INDEX} ;charset=utf-8", BOTH, id="the same, with a parameter"),
        pytest.param(index(described(2)), DOCKER_MANIFEST, BOTH, id="an index announced as an image"),
        pytest.param(index(mediaType=None), OCI_MANIFEST, BOTH, id="an index announced, without a type"),
        pytest.param(image(config=None), "", "config of the manifest is no descriptor", id="no configuration"),
        pytest.param({}, "", "config of the manifest is no descriptor", id="nothing"),
        pytest.param(image(config="busybox"), "", "config of the manifest is no descriptor", id="a string"),
        pytest.param(image(layers=[None]), "", "layers of the manifest is no descriptor", id="a null layer"),
        pytest.param(image(layers={}), "", "'layers' of the document is no list", id="layers as an object"),
        pytest.param(image(mediaType=2), "", "'mediaType' of the document is no string", id="a number for a type"),
        pytest.param(image(artifactType=[]), "", "'artifactType' of the document is no string", id="artifact type"),
        pytest.param(image(layers=[described(2)] * 501), "", "501 layers, overlayfs stacks 500", id="many layers"),
        pytest.param(index(manifests=[7]), "", "manifests of the manifest is no descriptor", id="a number in an index"),
        pytest.param(index(manifests="all"), "", "'manifests' of the document is no list", id="manifests as a string"),
        pytest.param([image()], "", "is no JSON object", id="a list"),
        pytest.param("busybox", "", "is no JSON object", id="a string"),
    ],
)
def test_manifests_that_lie_are_refused(document: object, media_type: str, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        read(document, media_type)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"digest": None}, "'' is no digest"),
        ({"digest": 1}, "'digest' of the document is no string"),
        ({"digest": "sha256:beef"}, "'sha256:beef' is no digest"),
        ({"digest": "sha256:../../../etc/passwd"}, "is no digest"),
        ({"digest": f"md5:{'0' * 32}"}, "is no digest"),
        ({"size": None}, "the size None is no number of bytes"),
        ({"size": -1}, "the size -1 is no number of bytes"),
        ({"size": 1 << 63}, "is no number of bytes"),
        ({"size": 1.5}, "is no number of bytes"),
        ({"size": True}, "is no number of bytes"),
        ({"size": "7"}, "is no number of bytes"),
        ({"mediaType": []}, "'mediaType' of the document is no string"),
        ({"platform": "linux/amd64"}, "'platform' of the document is no object"),
        ({"platform": {"os": 1}}, "'os' of the document is no string"),
        ({"platform": {"architecture": ["amd64"]}}, "'architecture' of the document is no string"),
        ({"annotations": ["a"]}, "'annotations' of the document is no object"),
        ({"annotations": {"a": 1}}, "'annotations' of the document is no collection of strings"),
    ],
)
@pytest.mark.parametrize("place", ["config", "layers", "manifests"])
def test_descriptors_that_lie_are_refused(place: str, changes: dict[str, Any], why: str) -> None:
    wrong = described(5, **changes)
    document = {
        "config": image(config=wrong),
        "layers": image(layers=[described(2), wrong]),
        "manifests": index(described(2), wrong),
    }[place]
    with pytest.raises(InvalidArgument, match=why):
        read(document)


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        ({"schemaVersion": 1, "name": "library/busybox", "tag": "latest", "fsLayers": []}, ""),
        ({"name": "library/busybox"}, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
        ({"mediaType": "application/vnd.docker.distribution.manifest.v1+json"}, "application/json"),
    ],
)
def test_docker_schema_1_is_refused_with_a_way_out(document: dict[str, Any], media_type: str) -> None:
    with pytest.raises(FailedPrecondition, match="push it again"):
        read(document, media_type)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "is no JSON"),
        (b"<html>login</html>", "is no JSON"),
        (b'{"config": ', "is no JSON"),
        (b"\xff\xfe\xfd", "is no JSON"),
        (b'{"a": "\\ud800"}', "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b'{"a":' * 100_000, "is no JSON"),
        (b'{"size": ' + b"9" * 5000 + b"}", "is no JSON"),
        (b" " * manifest.LARGEST_DOCUMENT, "is no JSON"),
        (b" " * (manifest.LARGEST_DOCUMENT + 1), "has 4194305 bytes, more than 4194304"),
    ],
)
def test_what_is_no_document(body: bytes, why: str) -> None:
    for parse in (manifest.parse, manifest.parse_config):
        with pytest.raises(InvalidArgument, match=why):
            parse(body)


# ---- choosing


@pytest.mark.parametrize(
    ("machine", "offers", "chosen"),
    [
        pytest.param("x86_64", ["linux/arm64", "linux/amd64", "windows/amd64"], 1, id="the architecture"),
        pytest.param("x86_64", ["linux/386", "linux/amd64"], 1, id="64 bits before 32"),
        pytest.param("x86_64", ["linux/arm64", "linux/386"], 1, id="32 bits, if there is no more"),
        pytest.param("x86_64", ["linux/amd64/v3", "linux/amd64"], 1, id="a level that the processor has"),
        pytest.param("x86_64", ["linux/amd64", "linux/amd64"], 0, id="the first of equals"),
        pytest.param("x86_64", ["unknown/unknown", "linux/amd64", "unknown/unknown"], 1, id="no attestation"),
        pytest.param("x86_64", ["windows/amd64", None, None], 1, id="one without a platform"),
        pytest.param("x86_64", [None, "linux/amd64"], 1, id="one with the platform before one without"),
        pytest.param("aarch64", ["linux/arm/v7", "linux/arm64/v8"], 1, id="arm64 before arm"),
        pytest.param("aarch64", ["linux/arm/v6", "linux/arm/v7", "linux/amd64"], 1, id="the newest arm"),
        pytest.param("aarch64", ["linux/arm64/v9", "linux/aarch64"], 1, id="another name of arm64"),
        pytest.param("armv7l", ["linux/arm/v8", "linux/arm64", "linux/arm/v5", "linux/arm/v6"], 3, id="an older arm"),
        pytest.param("armv7l", ["linux/arm/v6", "linux/arm"], 1, id="arm means v7"),
        pytest.param("s390x", ["linux/amd64", "linux/s390x"], 1, id="a mainframe"),
    ],
)
def test_the_best_is_chosen(machine: str, offers: list[str | None], chosen: int) -> None:
    found = read_index(index(*(offer(number, platform) for number, platform in enumerate(offers))))
    assert manifest.choose(found, of_machine(machine, ())).digest == digest(chosen)


@pytest.mark.parametrize(
    ("machine", "offers", "there"),
    [
        ("x86_64", ["linux/arm64", "windows/amd64", "linux/arm"], "linux/arm/v7, linux/arm64/v8, windows/amd64/v1"),
        ("x86_64", ["linux/amd64/v2", "unknown/unknown"], "linux/amd64/v2"),
        ("armv6l", ["linux/arm/v7", "linux/arm/v7"], "linux/arm/v7"),
        ("x86_64", ["unknown/unknown"], "nothing"),
        ("x86_64", [], "nothing"),
    ],
)
def test_what_is_there_instead_is_said(machine: str, offers: list[str], there: str) -> None:
    found = read_index(index(*(offer(number, platform) for number, platform in enumerate(offers))))
    with pytest.raises(FailedPrecondition) as caught:
        manifest.choose(found, of_machine(machine, ()))
    assert str(caught.value).endswith(f"nothing for {of_machine(machine, ())}, only {there}")


platforms = st.builds(
    "/".join,
    st.tuples(
        st.sampled_from(["linux", "windows"]),
        st.sampled_from(["amd64", "386", "arm64", "arm", "s390x"]),
        st.sampled_from(["", "v1", "v2", "v6", "v7", "v8"]),
    ),
)


@given(
    st.sampled_from(["x86_64", "i686", "aarch64", "armv6l", "armv7l", "s390x"]),
    st.lists(st.none() | platforms, max_size=6),
)
def test_nothing_better_is_passed_over(machine: str, offers: list[str | None]) -> None:
    runs = accepted(of_machine(machine, ()))
    found = read_index(index(*(offer(number, platform) for number, platform in enumerate(offers))))
    ranks = [
        len(runs) if entry.platform is None else runs.index(entry.platform.normal())
        for entry in found.manifests
        if entry.platform is None or entry.platform.normal() in runs
    ]
    if not ranks:
        with pytest.raises(FailedPrecondition):
            manifest.choose(found, runs[0])
        return
    platform = manifest.choose(found, runs[0]).platform
    assert (len(runs) if platform is None else runs.index(platform.normal())) == min(ranks)


# ---- whatever JSON there is

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([DIGEST, OCI_INDEX, "sh"]),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "schemaVersion",
                    "mediaType",
                    "digest",
                    "size",
                    "platform",
                    "annotations",
                    "os",
                    "config",
                    "Cmd",
                    "Labels",
                ]
            ),
            inside,
            max_size=5,
        )
    ),
    max_leaves=12,
)
FIELDS = ["mediaType", "schemaVersion", "config", "layers", "manifests", "artifactType", "rootfs", "os"]


@given(st.dictionaries(st.sampled_from(FIELDS), anything, max_size=5))
def test_any_document_is_read_or_refused(document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    for parse in (manifest.parse, manifest.parse_config):
        try:
            found = parse(body)
        except (InvalidArgument, FailedPrecondition):
            continue
        assert isinstance(found, Index | Manifest | ImageConfig)


@given(st.binary(max_size=60))
def test_any_bytes_are_refused(body: bytes) -> None:
    with pytest.raises((InvalidArgument, FailedPrecondition)):
        manifest.parse(body)


texts = st.text(st.characters(codec="utf-8"), max_size=20)
descriptors = st.builds(
    Descriptor,
    texts,
    st.integers(0, 99).map(digest),
    st.integers(0, (1 << 63) - 1),
    st.none() | st.builds(Platform, texts.filter(bool), texts, texts),
    st.dictionaries(texts, texts, max_size=2),
)


def _written(one: Descriptor) -> dict[str, Any]:
    written: dict[str, Any] = {"mediaType": one.media_type, "digest": one.digest, "size": one.size}
    if one.platform:
        place = one.platform
        written["platform"] = {"os": place.os, "architecture": place.architecture, "variant": place.variant}
    return {**written, "annotations": dict(one.annotations)}


@given(descriptors, st.lists(descriptors, max_size=3), st.booleans())
def test_what_was_written_is_read(config: Descriptor, layers: list[Descriptor], as_text: bool) -> None:
    written = image(config=_written(config), layers=[_written(layer) for layer in layers])
    body = json.dumps(written, ensure_ascii=as_text).encode()
    assert manifest.parse(body) == Manifest(config, tuple(layers), "")
    assert read_index(index(*map(_written, layers))) == Index(tuple(layers))
