"""Hostile images: each is refused or contained, and none touches anything outside the directory of its layer."""

import asyncio
import contextlib
import io
import json
import os
import struct
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from podwright.errors import FailedPrecondition, InvalidArgument, PodwrightError
from podwright.images.model import Image
from podwright.images.service import Images
from podwright.testing.images import (
    Built,
    Entry,
    Layer,
    compress,
    device,
    digest_of,
    directory,
    fifo,
    file,
    hardlink,
    image,
    index,
    layer,
    opaque,
    packed,
    symlink,
    tar,
    whiteout,
    write_layout,
)
from podwright.testing.registry import FakeRegistry
from support.images import Shelf, Tree, tree

pytestmark = pytest.mark.root

CANARY = "CANARY"
"""Stands for an absolute path outside the store, without its leading slash."""
UP = "../" * 40


@dataclass(frozen=True)
class Refused:
    """The pull fails with these words."""

    words: str
    kind: type[PodwrightError] = InvalidArgument


@dataclass(frozen=True)
class Contained:
    """The image is taken, and this is so in it."""

    names: Sequence[str]
    check: Callable[[Tree], object] = lambda _: True


def raw(name: bytes, kind: bytes = b"0", size: int = 0, **fields: bytes) -> bytes:
    """A ustar header, byte by byte. `fields` are mode, uid, gid, mtime, link, and `extra` for the rest of the block."""
    octal = {"mode": b"0000644", "uid": b"0000000", "gid": b"0000000", "mtime": b"00000000000", **fields}
    block = struct.pack(
        "100s8s8s8s12s12s8sc100s8s247s",
        name, octal["mode"], octal["uid"], octal["gid"], b"%011o" % size, octal["mtime"], b" " * 8, kind,
        fields.get("link", b""), b"ustar\x0000", fields.get("extra", b""),
    )  # fmt: skip
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def pax(**records: bytes) -> bytes:
    """An extended header; its keys have _ for the dots."""
    body = b""
    for key, value in records.items():
        line = b" %s=%s\n" % (key.replace("_", ".").encode(), value)
        length = len(line) + len(str(len(line) + len(str(len(line)))))
        body += b"%d%s" % (length, line)
    return raw(b"pax", b"x", len(body)) + padded(body)


END = bytes(1024)
CHARACTER_ZERO = device("hidden", 0, 0)
SPARSE = bytes(218) + b"\x80" + (1 << 50).to_bytes(11, "big")
"""GNU's old format: no part with data, and a size of a pebibyte in binary at byte 483 of the header."""

ARCHIVES: dict[str, tuple[Sequence[Entry] | bytes, Refused | Contained]] = {
    "names that begin with ..": ([file(UP + CANARY + "/new")], Contained([CANARY + "/new"])),
    "names with .. in them": ([file("a/b/" + UP + "x")], Contained(["x"])),
    "absolute names": ([file("/" + CANARY + "/new")], Contained([CANARY + "/new"])),
    "a file over one outside": ([file(UP + CANARY + "/kept", b"bad")], Contained([CANARY + "/kept"])),
    "a symbolic link to / and a file through it": (
        [symlink("out", "/"), file("out/" + CANARY + "/new")],
        Contained(["out", CANARY + "/new"]),
    ),
    "a symbolic link upwards and a file through it": (
        [directory("d"), symlink("d/out", UP), file("d/out/" + CANARY + "/new")],
        Contained(["d/out", CANARY + "/new"]),
    ),
    "a directory that becomes a symbolic link": (
        [directory("d"), file("d/x"), symlink("d", "/" + CANARY), file("d/new")],
        Contained(["d", CANARY + "/new"]),
    ),
    "a symbolic link and then a file of its name": (
        [symlink("x", "/" + CANARY + "/kept"), file("x", b"own")],
        Contained(["x"], lambda files: files["x"].kind == "file"),
    ),
    "a symbolic link and then a directory of its name": (
        [symlink("x", "/" + CANARY), directory("x", mode=0o700), file("x/new")],
        Contained(["x", "x/new"], lambda files: files["x"].kind == "directory"),
    ),
    "a hard link to a file outside": ([hardlink("x", "/" + CANARY + "/kept")], Refused("hard link to")),
    "a hard link upwards": ([hardlink("x", UP + CANARY + "/kept")], Refused("hard link to")),
    "a hard link through a symbolic link": (
        [symlink("out", "/" + CANARY), hardlink("x", "out/kept")],
        Refused("hard link to"),
    ),
    "a hard link to a symbolic link": (
        [symlink("s", "/" + CANARY + "/kept"), hardlink("x", "s"), file("x", b"own")],
        Contained(["s", "x"], lambda files: files["x"].kind == "file" and files["s"].kind == "symlink"),
    ),
    "a hard link to a directory": ([directory("d"), hardlink("x", "d")], Refused("not permitted")),
    "a hard link to itself": ([hardlink("x", "x"), file("y")], Contained(["y"])),
    "device nodes": ([device("sda", 8, 0)], Contained(["sda"], lambda files: files["sda"].content == "8:0")),
    "a device that is overlayfs's whiteout": ([file("kept"), CHARACTER_ZERO], Contained(["kept"])),
    "a file below a pipe": ([fifo("p"), file("p/x")], Refused("Not a directory")),
    "a file below a file": ([file("p"), file("p/x")], Refused("Not a directory")),
    "a whiteout of nothing": ([file("d/.wh.")], Refused("no whiteout")),
    "a whiteout of .": ([file("d/.wh..")], Refused("no whiteout")),
    "a whiteout of ..": ([file("d/.wh...")], Refused("no whiteout")),
    "a whiteout outside": ([whiteout(UP + CANARY + "/kept")], Contained([CANARY])),
    "a whiteout through a symbolic link": (
        [symlink("out", "/" + CANARY), whiteout("out/kept")],
        Contained(["out", CANARY]),
    ),
    "an opaque directory outside": (
        [symlink("out", "/" + CANARY), opaque("out"), file("out/new")],
        Contained(["out", CANARY + "/new"]),
    ),
    "the same file a thousand times": ([file("x", b"%d" % n) for n in range(1000)], Contained(["x"])),
    "a file and a directory in turns": (
        [one for n in range(50) for one in (file("x"), directory("x"), file(f"x/{n}"))],
        Contained(["x", "x/49"], lambda files: "x/48" not in files),
    ),
    "overlayfs's own attributes": (
        [
            directory("d", xattrs={"trusted.overlay.redirect": b"/" + CANARY.encode()}),
            directory("o", xattrs={"trusted.overlay.opaque": b"y"}),
        ],
        Contained(["d", "o"], lambda files: not files["d"].xattrs and not files["o"].xattrs),
    ),
    "user attributes of a symbolic link": (
        [symlink("s", "t", xattrs={"user.x": b"y"})],
        Contained(["s"], lambda files: not files["s"].xattrs),
    ),
    "a file at the root's place": ([file(".")], Refused("root is no directory")),
    "a name of dots and slashes": ([file("./.././/x/..//./y")], Contained(["y"])),
    "an empty name": (raw(b"") + END, Refused("root is no directory")),
    "a name with a zero byte": (pax(path=b"a\0b") + raw(b"x") + END, Refused("zero byte")),
    "names that are not UTF-8": (
        raw(b"d\xff/\xfe\n\x1b[2J") + raw(b"\xc3\x28", b"2", link=b"\xff") + END,
        Contained(["d\udcff/\udcfe\n\x1b[2J", "\udcc3("]),
    ),
    "a name longer than a file system takes": (pax(path=b"n" * 300) + raw(b"x") + END, Refused("too long")),
    "a path longer than the kernel takes": (pax(path=b"d/" * 3000 + b"x") + raw(b"x") + END, Refused("too long")),
    "a path longer than an extension may be": (pax(path=b"d" * (1 << 20)) + raw(b"x") + END, Refused("extension")),
    "a tree made deeper by symbolic links": (
        [file("d/" * 900 + "x"), symlink("l", "d/" * 900), *(file("l/" + "e/" * n + "x") for n in (900, 1800))],
        Refused("too long"),
    ),
    "a deep tree": ([file("d/" * 400 + "x")], Contained(["d/" * 400 + "x"])),
    "a deep tree that is replaced": ([file("d/" * 1900 + "x"), file("d")], Refused("recursion")),
    "symbolic links in a circle": ([symlink("a", "b"), symlink("b", "a"), file("a/x")], Refused("symbolic links")),
    "an owner that means nobody": (raw(b"x", uid=b"\x80\0\0\0\xff\xff\xff\xff") + END, Refused("no such owner")),
    "a number that is none": (raw(b"x", mode=b"rw-r--r") + END, Refused("for a number")),
    "a time before all times": (raw(b"x", mtime=b"\xff" + b"\x80" + b"\0" * 10) + END, Contained(["x"])),
    "a time after all times": (raw(b"x", mtime=b"\x80" + b"\xff" * 11) + END, Contained(["x"])),
    "a type of file that is none": (raw(b"x", b"Z") + END, Refused("type")),
    "a wrong checksum": (raw(b"x")[:-1] + b"!" + END, Refused("checksum")),
    "an archive that is cut off": (raw(b"x", size=5000) + b"short", Refused("cut off")),
    "no archive at all": (b"\x7fELF" + bytes(range(256)) * 4, Refused("archive")),
    "rubbish after the end": (raw(b"x") + END + b"rubbish" * 1000, Contained(["x"])),
    "a sparse file of a petabyte": (raw(b"x", b"S", extra=SPARSE) + END, Refused("bytes")),
    "more files than allowed": ([file(str(number)) for number in range(2001)], Refused("entries")),
    "more bytes than allowed": ([file("a", bytes(6 << 20)), file("b", bytes(6 << 20))], Refused("bytes")),
    "a larger file than allowed": ([file("a", bytes(11 << 20))], Refused("bytes")),
}  # fmt: skip

LIMITS: dict[str, Any] = {"largest_layer": 10 << 20, "most_entries": 2000}


class Place:
    """A store, with something beside it that must not be touched."""

    def __init__(self, directory: Path) -> None:
        self.outside = directory / "outside"
        self.outside.mkdir()
        (self.outside / "kept").write_bytes(b"kept")
        self.shelf = Shelf(directory / "shelf", **LIMITS)
        self.before = tree(str(self.outside))

    @property
    def canary(self) -> str:
        """What CANARY stands for."""
        return str(self.outside).lstrip("/")

    def load(self, layers: Sequence[Layer]) -> Image:
        """Loads an image of these layers."""
        layout = self.outside.parent / "layout"
        write_layout(str(layout), {"hostile:1": image(*layers)})

        async def scenario(images: Images) -> Image:
            (image_id,) = await images.load(str(layout))
            found = images.find(image_id)
            assert found is not None
            return found

        return self.shelf.run(scenario)

    def check(self, *, layers: int) -> None:
        """Nothing outside has changed, nothing half-made is left, and nobody else gets into the store."""
        assert tree(str(self.outside)) == self.before
        assert self.shelf.left_over() == []
        assert len(self.shelf.layers()) == layers
        assert (self.shelf.root / "layers").stat().st_mode & 0o077 == 0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize(("content", "expected"), ARCHIVES.values(), ids=ARCHIVES.keys())
def test_a_hostile_layer_is_refused_or_contained(
    content: Sequence[Entry] | bytes, expected: Refused | Contained, place: Place
) -> None:
    archive = content if isinstance(content, bytes) else tar(aimed(content, place.canary))
    if isinstance(expected, Refused):
        with pytest.raises(expected.kind, match=expected.words):
            place.load([packed(archive)])
        place.check(layers=0)
        return
    found = place.load([packed(archive)])
    files = place.shelf.tree(found)
    for name in expected.names:
        assert os.path.normpath(name.replace(CANARY, place.canary)) in files
    assert expected.check(files)
    place.check(layers=1)


def aimed(entries: Sequence[Entry], canary: str) -> Sequence[Entry]:
    """With the path of the canary filled in."""
    for info, _ in entries:
        info.name, info.linkname = info.name.replace(CANARY, canary), info.linkname.replace(CANARY, canary)
    return entries


@pytest.mark.parametrize("entries", [
    [hardlink("new", "/" + CANARY + "/kept")],
    [file("link/new"), whiteout("link/kept")],
    [hardlink("a", "link"), file("a/new")],
    [hardlink("b", "base"), symlink("base", "/" + CANARY), opaque("base"), directory("base"), file("base/new")],
], ids=["hard link", "whiteout", "hard link to a symbolic link", "opaque"])  # fmt: skip
def test_a_hostile_layer_on_top_of_others_is_refused_or_contained(entries: Sequence[Entry], place: Place) -> None:
    base = [file("base"), symlink("link", "/" + CANARY)]
    with contextlib.suppress(InvalidArgument):
        place.load([layer(*aimed(base, place.canary)), layer(*aimed(entries, place.canary))])
    assert tree(str(place.outside)) == place.before
    assert place.shelf.left_over() == []


BOMBS: dict[str, tuple[bytes, str]] = {
    "gzip": (compress(raw(b"x", size=1 << 30) + bytes(1 << 28), "gzip"), "bytes"),
    "gzip in gzip": (compress(compress(tar([file("x")]), "gzip"), "gzip"), "archive"),
    "zstd": (compress(raw(b"x", size=1 << 30) + bytes(1 << 28), "zstd"), "bytes"),
    "zstd with a window of 2 GiB": (b"\x28\xb5\x2f\xfd\x00\xa8" + b"\0" * 64, "zstd"),
    "xz": (b"\xfd7zXZ\0" + b"\0" * 512, "compress"),
    "a cut gzip stream": (compress(tar([file("x", os.urandom(5000))]), "gzip")[:-20], "cut off"),
    "a damaged gzip stream": (b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\xff" * 600, "damaged"),
    "nothing": (b"", "unpacks to"),
}


@pytest.mark.parametrize(("blob", "words"), BOMBS.values(), ids=BOMBS.keys())
def test_a_blob_that_is_a_bomb_or_no_layer_is_refused(blob: bytes, words: str, place: Place) -> None:
    with pytest.raises(InvalidArgument, match=words):
        place.load([Layer(blob, digest_of(b"whatever"), "application/vnd.oci.image.layer.v1.tar+gzip")])
    place.check(layers=0)


def test_a_layer_with_another_diff_id_is_refused(place: Place) -> None:
    good = layer(file("x"))
    with pytest.raises(InvalidArgument, match="unpacks to"):
        place.load([Layer(good.blob, digest_of(b"other"), good.media_type)])
    place.check(layers=0)


def test_a_tree_as_deep_as_the_kernel_lets_it_be_can_be_removed_again(place: Place) -> None:
    deep = place.load([layer(file("d/" * 2040 + "x"))])
    place.shelf.run(lambda images: images.remove(deep.id))
    place.check(layers=0)


def test_a_sparse_file_takes_no_more_room_than_its_parts(place: Place) -> None:
    archive = pax(GNU_sparse_size=b"%d" % (9 << 20), GNU_sparse_numblocks=b"0", GNU_sparse_map=b"") + raw(b"x") + END
    found = place.load([packed(archive)])
    assert found.size < 100_000
    place.check(layers=1)


def manifest_without_config() -> Built:
    built = image(layer(file("x")))
    document = {**json.loads(built.body), "config": None}
    return replace(built, body=json.dumps(document).encode())


def lying(by: int) -> Built:
    """An image with a wrong size of its layer."""
    one = layer(file("x"))
    described = one.descriptor()
    return image(one, layers=[{**described, "size": described["size"] + by}])


DOCUMENTS: dict[str, tuple[Callable[[], Built], Refused]] = {
    "more diff IDs than layers": (
        lambda: image(layer(file("x")), diff_ids=[digest_of(b"1"), digest_of(b"2")]),
        Refused("diff IDs"),
    ),
    "a manifest without a configuration": (manifest_without_config, Refused("config")),
    "a manifest that is an index too": (
        lambda: image(layer(file("x")), manifests=[]),
        Refused("at once"),
    ),
    "an index in itself": (
        lambda: index(index(index(index(index(image(layer(file("x")))))))),
        Refused("nested deeper"),
    ),
    "a layer of less than no bytes": (
        lambda: image(layer(file("x")), layers=[{"mediaType": "x", "digest": digest_of(b""), "size": -1}]),
        Refused("size"),
    ),
    "a layer that is larger than it says": (lambda: lying(-1), Refused("bytes, not", FailedPrecondition)),
    "a layer that is smaller than it says": (lambda: lying(1), Refused("bytes, not", FailedPrecondition)),
    "a layer that says that it is immense": (lambda: lying(1 << 60), Refused("more than allowed")),
    "a digest of an unknown kind": (
        lambda: image(layer(file("x")), layers=[{"mediaType": "x", "digest": "md5:abc", "size": 1}]),
        Refused("digest"),
    ),
    "a digest that is a path": (
        lambda: image(layer(file("x")), layers=[{"mediaType": "x", "digest": "sha256:../../../etc/passwd", "size": 1}]),
        Refused("digest"),
    ),
    "more layers than overlayfs takes": (
        lambda: image(*[layer(file("x"))] * 501),
        Refused("501 layers"),
    ),
    "another platform": (
        lambda: image(layer(file("x")), platform={"os": "windows", "architecture": "amd64"}),
        Refused("windows", FailedPrecondition),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "expected"), DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_a_hostile_document_is_refused(make: Callable[[], Built], expected: Refused, place: Place) -> None:
    with FakeRegistry() as registry:
        name = registry.push("bad", "1", make())
        with pytest.raises(expected.kind, match=expected.words):
            place.shelf.pull(name)
    place.check(layers=0)


@pytest.mark.parametrize("path", ["/manifests/", "/blobs/"])
@pytest.mark.parametrize(
    "body", [b"", b"no json", b"[" * 100_000, b'"\\ud800"', b"{}" + b" " * (5 << 20)], ids=range(5)
)
def test_a_document_that_is_none_is_refused(path: str, body: bytes, place: Place) -> None:
    with FakeRegistry() as registry:
        name = registry.push("bad", "1", image(layer(file("x"))))
        registry.fault(path, body=body)
        with pytest.raises((InvalidArgument, FailedPrecondition)):
            place.shelf.pull(name)
    place.check(layers=0)


def test_an_archive_on_disk_reads_nothing_outside_of_itself(place: Place, tmp_path: Path) -> None:
    layout = tmp_path / "save"
    layout.mkdir()
    archive = tar([file("x")])
    (tmp_path / "layer.tar").write_bytes(archive)
    (layout / "link").symlink_to(tmp_path / "layer.tar")
    built = image(packed(archive))
    (layout / "config.json").write_bytes(built.blobs[built.id])

    async def load(images: Images) -> None:
        for layer_path in ("../layer.tar", str(tmp_path / "layer.tar"), "link"):
            document = f'[{{"Config": "config.json", "RepoTags": ["x:1"], "Layers": ["{layer_path}"]}}]'
            (layout / "manifest.json").write_text(document)
            with pytest.raises(InvalidArgument, match="missing"):
                await images.load(str(layout))

    place.shelf.run(load)


def test_links_in_a_docker_archive_do_not_go_round_for_ever(place: Place, tmp_path: Path) -> None:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for info, content in (
            symlink("a", "b"),
            symlink("b", "a"),
            file("manifest.json", b'[{"Config": "a", "RepoTags": ["x:1"], "Layers": []}]'),
        ):
            archive.addfile(info, io.BytesIO(content))
    path = tmp_path / "save.tar"
    path.write_bytes(output.getvalue())

    async def load(images: Images) -> None:
        async with asyncio.timeout(20):
            with pytest.raises(InvalidArgument, match="missing"):
                await images.load(str(path))

    place.shelf.run(load)
