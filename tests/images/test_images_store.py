"""The store: names, room on the disk, what a crash leaves, and what is removed when."""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from podwright.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from podwright.images.model import Image
from podwright.images.service import Images
from podwright.kernel import libc, mounts, process
from podwright.testing.images import compress, directory, file, image, layer, opaque, whiteout
from podwright.testing.registry import FakeRegistry
from support.images import Shelf, until
from support.oci import privately

pytestmark = pytest.mark.root

SHARED = layer(file("shared", os.urandom(200_000)))
ONE = image(SHARED, layer(file("one", bytes(300_000))))
TWO = image(SHARED, layer(directory("d"), file("d/two")), config={"User": "1000:1000"})


def du(path: Path) -> tuple[int, int]:
    """Bytes and inodes of a tree, by du(1)."""
    sizes = [
        int(subprocess.run(["du", "-s", option, path], capture_output=True, check=True).stdout.split()[0])
        for option in ("--block-size=1", "--inodes")
    ]
    return sizes[0], sizes[1]


# ---- names


def test_an_image_is_found_by_all_its_names(tmp_path: Path) -> None:
    async def scenario(images: Images) -> None:
        await images.pull(name)
        await images.pull(other)
        digits = ONE.id.removeprefix("sha256:")
        for known in (
            name,
            name.removesuffix(":latest"),
            f"{registry.host}/app@{ONE.digest}",
            ONE.id,
            digits,
            digits[:12],
        ):
            found = images.find(known)
            assert found is not None
            assert found.id == ONE.id
        found = images.find(f"{name}@{ONE.digest}")
        assert found is not None
        assert images.find(f"sha256:{digits[:6]}") == found
        assert found.repo_tags == tuple(sorted((name, other)))
        assert found.repo_digests == tuple(f"{registry.host}/{one}@{ONE.digest}" for one in ("app", "other"))
        for unknown in (
            f"{registry.host}/app:other",
            "app",
            "sha256:",
            "sha256:" + "0" * 64,
            "0" * 64,
            f"{name}@{TWO.digest}",
        ):
            assert images.find(unknown) is None
        for wrong in ("", "UPPER", "a b", "x@sha256:0", "http://x/y"):
            with pytest.raises(InvalidArgument):
                images.find(wrong)

    with FakeRegistry() as registry:
        name, other = registry.push("app", "latest", ONE), registry.push("other", "2", ONE)
        Shelf(tmp_path).run(scenario)


def test_a_truncated_id_of_several_images_is_ambiguous(tmp_path: Path) -> None:
    many = [image(layer(file(str(number)))) for number in range(17)]  # two begin with the same digit

    async def scenario(images: Images) -> None:
        for name in names:
            await images.pull(name)
        digits = [built.id.removeprefix("sha256:")[:1] for built in many]
        twice = next(digit for digit in digits if digits.count(digit) > 1)
        with pytest.raises(InvalidArgument, match="ambiguous"):
            images.find(twice)
        with pytest.raises(InvalidArgument, match="ambiguous"):
            await images.remove(f"sha256:{twice}")

    with FakeRegistry() as registry:
        names = [registry.push("app", str(number), built) for number, built in enumerate(many)]
        Shelf(tmp_path).run(scenario)


def test_a_tag_that_means_another_image_now_moves(tmp_path: Path) -> None:
    async def scenario(images: Images) -> None:
        name = registry.push("app", "1", ONE)
        assert await images.pull(name) == ONE.id
        registry.push("app", "1", TWO)
        assert await images.pull(name) == TWO.id
        old, new = images.find(ONE.id), images.find(TWO.id)
        assert old is not None
        assert new is not None
        assert (old.repo_tags, new.repo_tags) == ((), (name,))
        assert old.repo_digests == (f"{registry.host}/app@{ONE.digest}",)
        await images.remove(name)
        assert [one.id for one in images.list_images()] == [ONE.id]

    with FakeRegistry() as registry:
        Shelf(tmp_path).run(scenario)


def test_images_and_names_are_there_after_a_restart(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with FakeRegistry() as registry:
        before = [shelf.pull(registry.push("app", "1", ONE)), shelf.pull(registry.push("app", "2", TWO))]

    async def scenario(images: Images) -> None:
        assert images.list_images() == sorted(before, key=lambda one: one.id)

    shelf.run(scenario)


def test_pins_are_patterns_of_names(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        shelf = Shelf(tmp_path, pinned=(f"{registry.host}/infra/*", "Not A Name"))
        assert shelf.pull(registry.push("infra/pause", "1", ONE)).pinned
        assert not shelf.pull(registry.push("app", "1", TWO)).pinned
        exact = Shelf(tmp_path / "2", pinned=(f"{registry.host}/app",))
        assert exact.pull(registry.push("app", "latest", TWO)).pinned


# ---- room


def test_what_images_take_is_what_du_says(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)

    async def scenario(images: Images) -> None:
        for name in names:
            assert await images.filesystem_usage() == du(shelf.root)
            await images.pull(name)
        found = images.find(names[0])
        assert found is not None
        assert found.size == sum(du(shelf.root / "layers" / lower.removesuffix("/fs"))[0] for lower in found.layers)
        with pytest.raises(NotFound):  # half a blob stays for the next try
            await images.pull(broken)
        assert shelf.left_over()
        assert await images.filesystem_usage() == du(shelf.root)
        await images.remove(names[0])
        assert await images.filesystem_usage() == du(shelf.root)

    with FakeRegistry() as registry:
        names = [registry.push("app", "1", ONE), registry.push("app", "2", TWO)]
        data = layer(file("x", os.urandom(500_000)))
        broken = registry.push("app", "3", image(data))
        registry.fault(f"/blobs/{data.digest}", cut=300_000, times=1)
        registry.fault(f"/blobs/{data.digest}", status=404, after=1)
        shelf.run(scenario)


def test_removing_frees_what_no_other_image_has(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)

    async def scenario(images: Images) -> None:
        await images.pull(one)
        await images.pull(two)
        assert len(shelf.layers()) == 3
        await images.remove(one)
        assert len(shelf.layers()) == 2
        assert images.find(ONE.id) is None
        await images.remove(TWO.id)
        assert shelf.layers() == []
        with pytest.raises(NotFound):
            await images.remove(two)
        assert await images.pull(one) == ONE.id

    with FakeRegistry() as registry:
        one, two = registry.push("app", "1", ONE), registry.push("app", "2", TWO)
        shelf.run(scenario)


def test_an_image_is_removed_by_several_at_once(tmp_path: Path) -> None:
    async def scenario(images: Images) -> None:
        await images.pull(name)
        await asyncio.gather(*(images.remove(one) for one in (name, ONE.id, name)))
        assert images.list_images() == []

    with FakeRegistry() as registry:
        name = registry.push("app", "1", ONE)
        Shelf(tmp_path).run(scenario)


def test_an_image_in_use_is_not_removed(tmp_path: Path) -> None:
    async def scenario(images: Images) -> None:
        await images.pull(name)
        with images.lease(ONE.id, ONE.id), pytest.raises(FailedPrecondition, match="in use"):
            await images.remove(name)
        images.in_use = lambda image_id: image_id == ONE.id
        with pytest.raises(FailedPrecondition, match="in use"):
            await images.remove(name)
        images.in_use = lambda _: False
        await images.remove(name)

    with FakeRegistry() as registry:
        name = registry.push("app", "1", ONE)
        Shelf(tmp_path).run(scenario)


def test_removing_while_another_pull_needs_the_layers(tmp_path: Path) -> None:
    async def scenario(images: Images) -> None:
        await images.pull(one)
        own = next(digest for digest in TWO.blobs if digest not in ONE.blobs and digest != TWO.id)
        registry.fault(f"/blobs/{own}", stall=10, times=1)
        pull = asyncio.create_task(images.pull(two))
        await until(lambda: registry.asked("GET", f"/blobs/{own}"))
        await images.remove(one)
        registry.go_on()
        assert await pull == TWO.id

    shelf = Shelf(tmp_path, stall_seconds=30)
    with FakeRegistry() as registry:
        one, two = registry.push("app", "1", ONE), registry.push("app", "2", TWO)
        shelf.run(scenario)
        found = shelf.pull(two)
    assert set(shelf.tree(found)) == {".", "shared", "d", "d/two"}


def test_what_is_left_of_unfinished_pulls_goes_after_a_while(tmp_path: Path) -> None:
    data = layer(file("x", os.urandom(500_000)))
    with FakeRegistry() as registry:
        name = registry.push("app", "3", image(data, SHARED))
        registry.fault(f"/blobs/{data.digest}", cut=300_000, times=1)
        registry.fault(f"/blobs/{data.digest}", status=404, after=1)
        shelf = Shelf(tmp_path)

        async def broken(images: Images) -> None:
            with pytest.raises(NotFound):
                await images.pull(name)

        shelf.run(broken)
        assert shelf.left_over()
        shelf.run(lambda _: asyncio.sleep(0))
        assert shelf.left_over()
        Shelf(tmp_path, resumable_seconds=0).run(lambda _: asyncio.sleep(0))
        assert shelf.left_over() == []
        assert shelf.layers() == []


def test_a_full_disk_leaves_nothing_half_made(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    big = image(SHARED, layer(file("big", bytes(30 << 20))))
    wide = image(SHARED, layer(file("wide", os.urandom(30 << 20)), compression="none"))
    many = image(SHARED, layer(*(file(str(number)) for number in range(3000))))

    def work() -> None:
        shelf.root.mkdir()
        libc.mount("small", str(shelf.root), "tmpfs", 0, "size=20m,nr_inodes=2000")
        shelf.run(scenario)
        mounts.umount(str(shelf.root))

    async def scenario(images: Images) -> None:
        await images.pull(good)
        before = await images.filesystem_usage()
        for name in full:
            with pytest.raises(ResourceExhausted, match=r"no space left|No space left"):
                await images.pull(name)
            assert images.find(name) is None
            assert shelf.left_over() == []
            assert await images.filesystem_usage() == before
        await images.remove(good)
        assert await images.pull(good) == ONE.id

    with FakeRegistry() as registry:
        good = registry.push("app", "1", ONE)
        full = [registry.push("full", str(number), built) for number, built in enumerate((big, wide, many))]
        privately(work)


# ---- crashes


def test_half_made_and_unknown_directories_go_at_the_start(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with FakeRegistry() as registry:
        shelf.pull(registry.push("app", "1", ONE))
    layers = shelf.layers()
    for path in ("staging/99/fs/deep", "layers/77/fs", "layers/rubbish"):
        (shelf.root / path).mkdir(parents=True)
    shelf.run(lambda _: asyncio.sleep(0))
    assert shelf.left_over() == []
    assert shelf.layers() == layers


def test_an_image_that_has_lost_a_layer_is_dropped_and_can_be_pulled_again(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with FakeRegistry() as registry:
        one, two = registry.push("app", "1", ONE), registry.push("app", "2", TWO)
        shelf.pull(one)
        found = shelf.pull(two)
        shutil.rmtree(shelf.root / "layers" / found.layers[0].split("/")[0])

        async def scenario(images: Images) -> None:
            assert [image.id for image in images.list_images()] == [ONE.id]
            assert await images.pull(two) == TWO.id
            assert await images.filesystem_usage() == du(shelf.root)

        shelf.run(scenario)
        assert "d/two" in shelf.tree(shelf.pull(two))


def test_the_store_can_be_moved(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with FakeRegistry() as registry:
        found = shelf.pull(registry.push("app", "1", TWO))
    shelf.root.rename(tmp_path / "elsewhere")
    shelf.root = tmp_path / "elsewhere"
    assert shelf.run(found_by(found.id)) == found
    assert "d/two" in shelf.tree(found)


def pretend_power_loss(shelf: Shelf) -> None:
    """Another boot, and no end of the daemon before it."""
    with sqlite3.connect(shelf.directory / "state.db") as database:
        database.execute("UPDATE fact SET value = 'another' WHERE name = 'images.boot'")
        database.execute("DELETE FROM fact WHERE name = 'images.closed'")


@pytest.mark.parametrize("damage", ["shorter", "missing", "more"])
def test_after_a_power_loss_damaged_layers_are_found(damage: str, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with FakeRegistry() as registry:
        name = registry.push("app", "1", ONE)
        found = shelf.pull(name)
        path = shelf.root / "layers" / found.layers[0] / "one"
        if damage == "shorter":
            os.truncate(path, 0)
        elif damage == "missing":
            path.unlink()
        else:
            path.with_name("more").touch()

        assert shelf.run(is_there(name))  # nobody looks without a reason
        pretend_power_loss(shelf)
        assert not shelf.run(is_there(name))
        assert "one" in shelf.tree(shelf.pull(name))
        pretend_power_loss(shelf)
        assert shelf.run(is_there(name))


def test_after_a_power_loss_layers_that_were_not_synced_are_gone(tmp_path: Path) -> None:
    """They are used at once, and kept by a daemon that is started again; a power loss takes them."""
    shelf = Shelf(tmp_path)

    async def killed(images: Images) -> None:
        await images.pull(name)
        shutil.copytree(tmp_path, tmp_path.parent / "killed")  # what a daemon leaves that is killed now

    with FakeRegistry() as registry:
        name = registry.push("app", "1", ONE)
        shelf.run(killed)
        for boot, there in (("another", False), (process.boot_id(), True)):
            left = Shelf(tmp_path.parent / f"killed-{there}")
            shutil.copytree(tmp_path.parent / "killed", left.directory, dirs_exist_ok=True)
            with sqlite3.connect(left.directory / "state.db") as database:
                database.execute("UPDATE fact SET value = ? WHERE name LIKE 'images.%'", (boot,))
            assert left.run(is_there(name)) == there
            pretend_power_loss(left)
            assert left.run(is_there(name)) == there  # it was synced meanwhile
            assert "one" in left.tree(left.pull(name))


def is_there(name: str) -> Callable[[Images], Awaitable[bool]]:
    async def scenario(images: Images) -> bool:
        return images.find(name) is not None

    return scenario


# ---- many layers


def test_an_image_with_many_layers_is_stacked_in_order(tmp_path: Path) -> None:
    count = 130
    layers = [layer(file(f"own-{number}"), file("last", str(number).encode())) for number in range(count)]
    shelf = Shelf(tmp_path)
    with FakeRegistry() as registry:
        found = shelf.pull(registry.push("app", "1", image(*layers)))
    assert len(found.layers) == count
    with shelf.mounted(found) as root:
        assert len(os.listdir(root)) == count + 1
        assert Path(root, "last").read_text() == str(count - 1)


# ---- loading and saving


def test_a_saved_image_is_loaded_as_it_was(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "1")
    built = image(
        layer(directory("d"), file("d/hidden"), file("d/kept", b"k", mode=0o4711, uid=5, xattrs={"user.a": b"\xff\0"})),
        layer(directory("d"), whiteout("d/hidden"), file("gr\u00fc\u00dfe")),
        layer(directory("o"), opaque("o"), file("o/x", b"x")),
        config={"Cmd": ["sh"], "User": "1"},
    )

    async def save(images: Images) -> None:
        await images.pull(name)
        await images.save(name, str(tmp_path / "saved"))
        with pytest.raises(FailedPrecondition, match="not empty"):
            await images.save(name, str(tmp_path / "saved"))
        with pytest.raises(NotFound):
            await images.save("nothing", str(tmp_path / "other"))
        assert not (tmp_path / "other").exists()

    with FakeRegistry() as registry:
        name = registry.push("app", "1", built)
        shelf.run(save)
        before = shelf.tree(shelf.pull(name))
    other = Shelf(tmp_path / "2")

    async def load(images: Images) -> str:
        (image_id,) = await images.load(str(tmp_path / "saved"))
        found = images.find(name)
        assert found is not None
        assert (found.id, found.repo_tags) == (image_id, (name,))
        assert found.repo_digests
        assert (found.config.cmd, found.config.user) == (("sh",), "1")
        return image_id

    image_id = other.run(load)
    loaded = other.run(found_by(image_id))
    assert other.tree(loaded) == before
    if shutil.which("umoci"):
        subprocess.run(
            ["umoci", "--log=error", "unpack", "--image", f"{tmp_path}/saved:1", tmp_path / "bundle"], check=True
        )
        assert (tmp_path / "bundle/rootfs/d/kept").stat().st_mode & 0o7777 == 0o4711


def found_by(name: str) -> Callable[[Images], Awaitable[Image]]:
    async def scenario(images: Images) -> Image:
        found = images.find(name)
        assert found is not None
        return found

    return scenario


def test_an_opaque_root_survives_saving(tmp_path: Path) -> None:
    built = image(layer(file("below")), layer(opaque(""), file("above")))
    shelf = Shelf(tmp_path / "1")

    async def save(images: Images) -> None:
        await images.pull(name)
        await images.save(name, str(tmp_path / "saved"))

    async def load(images: Images) -> str:
        return (await images.load(str(tmp_path / "saved")))[0]

    with FakeRegistry() as registry:
        name = registry.push("app", "1", built)
        shelf.run(save)
    other = Shelf(tmp_path / "2")
    assert set(other.tree(other.run(found_by(other.run(load))))) == {".", "above"}


def test_saving_that_fails_leaves_nothing(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    built = image(layer(file("big", bytes(5 << 20))))
    target = tmp_path / "small"

    def work() -> None:
        target.mkdir()
        libc.mount("small", str(target), "tmpfs", 0, "size=1m")
        shelf.run(scenario)
        assert list(target.iterdir()) == []
        mounts.umount(str(target))

    async def scenario(images: Images) -> None:
        await images.pull(name)
        with pytest.raises(ResourceExhausted):
            await images.save(name, str(target / "image"))

    with FakeRegistry() as registry:
        name = registry.push("app", "1", built)
        privately(work)


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci", "docker-archive.gz", "oci-archive.zst"])
def test_archives_of_other_tools_are_loaded(form: str, tmp_path: Path) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    with FakeRegistry() as registry:
        registry.push("app", "1", ONE)
        kind, _, compression = form.partition(".")
        path = tmp_path / "archive"
        name = "quay.io/team/app:1" if kind.startswith("docker") else "1"
        source = f"docker://{registry.host}/app:1"
        command = [
            "skopeo",
            "--insecure-policy",
            "copy",
            "-q",
            "--src-tls-verify=false",
            source,
            f"{kind}:{path}:{name}",
        ]
        subprocess.run(command, check=True, capture_output=True)
    if compression:
        path.write_bytes(compress(path.read_bytes(), "gzip" if compression == "gz" else "zstd"))

    async def scenario(images: Images) -> None:
        (image_id,) = await images.load(str(path), name="" if kind.startswith("docker") else "quay.io/team/app")
        found = images.find("quay.io/team/app:1")
        assert found is not None
        assert found.id == image_id
        assert bool(found.repo_digests) == (not kind.startswith("docker"))

    shelf = Shelf(tmp_path / "shelf")
    shelf.run(scenario)
    assert shelf.left_over() == []
    assert set(shelf.tree(shelf.run(found_by("quay.io/team/app:1")))) == {".", "shared", "one"}


def test_a_root_file_system_is_loaded_with_a_name_and_a_configuration(tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    (rootfs / "bin/sh").write_bytes(b"shell")
    (rootfs / "bin/sh").chmod(0o755)
    os.link(rootfs / "bin/sh", rootfs / "bin/ash")
    os.mkfifo(rootfs / "pipe")

    async def scenario(images: Images) -> None:
        (image_id,) = await images.load(str(rootfs), name="mine", config=b'{"config": {"Cmd": ["sh"]}}')
        found = images.find("mine")
        assert found is not None
        assert (found.id, found.repo_tags, found.config.cmd) == (image_id, ("docker.io/library/mine:latest",), ("sh",))
        for name, config, words in (
            ("", b"", "name"),
            ("x", b"[1]", "config"),
            ("x", b"{", "config"),
            ("X", b"", "lower"),
        ):
            with pytest.raises(InvalidArgument, match=words):
                await images.load(str(rootfs), name=name, config=config)

    shelf = Shelf(tmp_path / "shelf")
    shelf.run(scenario)
    files = shelf.tree(shelf.run(found_by("mine")))
    assert files["bin/sh"].links == ("bin/ash", "bin/sh")
    assert files["pipe"].kind == "fifo"
    assert shelf.left_over() == []


@pytest.mark.parametrize("content", [b"", b"rubbish" * 200, b"\x1f\x8bbad"], ids=["empty", "rubbish", "bad gzip"])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(content)

    async def scenario(images: Images) -> None:
        with pytest.raises(InvalidArgument):
            await images.load(str(path))
        with pytest.raises(NotFound):
            await images.load(str(tmp_path / "nothing"))

    shelf = Shelf(tmp_path / "shelf")
    shelf.run(scenario)
    assert shelf.left_over() == []


@pytest.mark.parametrize("document", [{}, [], [{"Config": 1}], [{"Config": "c", "Layers": [], "RepoTags": None}], "x"])
def test_a_wrong_docker_archive_is_refused(document: object, tmp_path: Path) -> None:
    place = tmp_path / "save"
    place.mkdir()
    (place / "manifest.json").write_text(json.dumps(document))

    async def scenario(images: Images) -> None:
        with pytest.raises(InvalidArgument):
            await images.load(str(place))

    Shelf(tmp_path / "shelf").run(scenario)


def test_time_of_arrival_and_user_are_kept(tmp_path: Path) -> None:
    began = time.time_ns()
    with FakeRegistry() as registry:
        found = Shelf(tmp_path).pull(registry.push("app", "1", TWO))
    assert began <= found.created_ns <= time.time_ns()
    assert found.config.user == "1000:1000"
