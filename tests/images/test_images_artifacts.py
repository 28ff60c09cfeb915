"""Artifacts, and the programs that say which images are welcome."""

import json
import os
from pathlib import Path

import pytest

from podwright.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from podwright.images.service import Images
from podwright.testing.images import Layer, artifact, file, image, index, item, layer
from podwright.testing.registry import FakeRegistry
from support.images import Shelf

pytestmark = pytest.mark.root

MODEL = os.urandom(500_000)
EMPTY = Layer(b"{}", "", "application/vnd.oci.empty.v1+json")


def test_an_artifact_becomes_a_directory_with_its_files(tmp_path: Path) -> None:
    built = artifact(item("model/weights.bin", MODEL), item("LICENSE", b"free"), item("copy", MODEL), EMPTY)
    with FakeRegistry() as registry:
        name = registry.push("models/small", "1", built)
        shelf = Shelf(tmp_path, piece=100_000)
        found = shelf.pull(name)
        assert (found.id, found.artifact) == (built.digest, True)
        assert found.repo_tags == (name,)
        with shelf.mounted(found) as root:
            assert sorted(os.listdir(root)) == ["LICENSE", "copy", "model"]
            assert Path(root, "model/weights.bin").read_bytes() == Path(root, "copy").read_bytes() == MODEL
            assert Path(root, "LICENSE").stat().st_mode & 0o777 == 0o644
        assert shelf.left_over() == []
        assert registry.bytes_sent < len(MODEL) + 5000

        async def again(images: Images) -> None:
            assert images.find(found.id) == found
            await images.remove(name)
            assert images.list_images() == []

        shelf.run(again)
        assert shelf.layers() == []


def test_an_artifact_in_an_index_is_taken(tmp_path: Path) -> None:
    built = artifact(item("x", b"y"))
    with FakeRegistry() as registry:
        found = Shelf(tmp_path).pull(registry.push("a", "1", index(built)))
        assert found.id == built.digest


def test_a_blob_without_a_title_is_called_by_its_digest(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with FakeRegistry() as registry:
        untitled = item("", b"content")
        found = shelf.pull(registry.push("a", "1", artifact(untitled)))
    with shelf.mounted(found) as root:
        assert os.listdir(root) == [untitled.digest.removeprefix("sha256:")]


@pytest.mark.parametrize("title", ["/etc/passwd", "../x", "a/../../x", "a//b", ".", "a/./b", "x" * 256, "a\0b", "a/"])
def test_a_title_that_leads_elsewhere_is_refused(title: str, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with FakeRegistry() as registry:
        name = registry.push("a", "1", artifact(item(title, b"bad")))
        with pytest.raises(InvalidArgument, match="title"):
            shelf.pull(name)
    assert shelf.left_over() == []


@pytest.mark.parametrize("titles", [("a", "a"), ("a", "a/b"), ("a/b/c", "a")])
def test_titles_that_contradict_each_other_are_refused(titles: tuple[str, str], tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        name = registry.push("a", "1", artifact(*(item(title, title.encode() + b"!") for title in titles)))
        with pytest.raises(InvalidArgument, match="the artifact has"):
            Shelf(tmp_path).pull(name)


def test_a_blob_of_an_artifact_goes_on_where_it_broke_off_and_lies_are_found_out(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    blob = item("x", MODEL)
    with FakeRegistry() as registry:
        name = registry.push("a", "1", artifact(blob))
        registry.fault("/blobs/", cut=300_000, times=1)
        registry.fault("/blobs/", status=404, after=1)
        with pytest.raises(NotFound):
            shelf.pull(name)
        registry.behave()
        shelf.pull(name)
        assert registry.bytes_sent < len(MODEL) + 200_000
        assert shelf.left_over() == []
        registry.fault("/blobs/", body=bytes(len(MODEL)))
        with pytest.raises(FailedPrecondition, match="another digest"):
            Shelf(tmp_path / "2").pull(name)


def test_an_artifact_is_not_saved_as_an_image(tmp_path: Path) -> None:
    async def scenario(images: Images) -> None:
        await images.pull(name)
        with pytest.raises(FailedPrecondition, match="artifact"):
            await images.save(name, str(tmp_path / "out"))

    with FakeRegistry() as registry:
        name = registry.push("a", "1", artifact(item("x", b"y")))
        Shelf(tmp_path).run(scenario)


# ---- verifiers

VERIFIER = """#!/bin/sh
echo "$@" >> {record}
cat >> {record}
echo {words}
exit {status}
"""


def verifier(directory: Path, name: str, status: int, words: str = "because") -> Path:
    """Installs one; returns the file with what it was asked."""
    directory.mkdir(exist_ok=True)
    program = directory / name
    record = directory.parent / f"{name}.record"
    program.write_text(VERIFIER.format(record=record, status=status, words=words))
    program.chmod(0o755)
    return record


BUILT = image(layer(file("x")))


def test_verifiers_are_asked_about_the_digest_that_was_resolved(tmp_path: Path) -> None:
    programs = tmp_path / "verifiers"
    record = verifier(programs, "yes", 0)
    (programs / "README").write_text("no program")
    shelf = Shelf(tmp_path / "shelf", verifiers=str(programs))
    with FakeRegistry() as registry:
        name = registry.push("a", "1", BUILT)
        shelf.pull(name)
        arguments, descriptor = record.read_text().splitlines()
        assert arguments == (
            f"-name {name} -digest {BUILT.digest} -stdin-media-type application/vnd.oci.descriptor.v1+json"
        )
        assert json.loads(descriptor) == {"mediaType": BUILT.media_type, "digest": BUILT.digest}

        # An image that is here already is asked about as well: what is good may have changed.
        verifier(programs, "no", 1)
        with pytest.raises(PermissionDenied):
            shelf.pull(name)


def test_an_image_that_a_verifier_refuses_is_not_fetched(tmp_path: Path) -> None:
    programs = tmp_path / "verifiers"
    verifier(programs, "yes", 0)
    verifier(programs, "no", 1, "no signature of ours")
    with FakeRegistry() as registry:
        name = registry.push("a", "1", BUILT)
        with pytest.raises(
            PermissionDenied, match=f"^SignatureValidationFailed: no refuses '{name}' .*: no signature of ours$"
        ):
            Shelf(tmp_path / "shelf", verifiers=str(programs)).pull(name)
        assert registry.asked("GET", "/blobs/") == 0


def test_a_verifier_that_takes_too_long_or_cannot_run_refuses(tmp_path: Path) -> None:
    programs = tmp_path / "verifiers"
    programs.mkdir()
    with FakeRegistry() as registry:
        name = registry.push("a", "1", BUILT)
        for content in ("#!/bin/sh\nexec sleep 60\n", "#!/nonexistent\n"):
            (programs / "odd").write_text(content)
            (programs / "odd").chmod(0o755)
            shelf = Shelf(tmp_path / "shelf", verifiers=str(programs), verifier_seconds=0.2)
            with pytest.raises(PermissionDenied, match=r"^SignatureValidationFailed: odd cannot say"):
                shelf.pull(name)
        with pytest.raises(PermissionDenied, match=r"^SignatureValidationFailed: cannot look for verifiers"):
            Shelf(tmp_path / "shelf", verifiers=str(tmp_path / "nowhere")).pull(name)
