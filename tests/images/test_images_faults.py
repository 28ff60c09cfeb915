"""Faults of registries and of the way to them: what passes is overcome, what does not is called by its name."""

import asyncio
import email.utils
import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from podwright.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PodwrightError,
    Unauthenticated,
    Unavailable,
)
from podwright.images.model import Image, LayerProgress
from podwright.images.service import Images
from podwright.testing.images import file, image, layer
from podwright.testing.registry import FakeRegistry
from support.images import Shelf, until

pytestmark = pytest.mark.root

CONTENT = os.urandom(1_000_000)
BUILT = image(layer(file("data", CONTENT)), layer(file("small")))
BIG = next(digest for digest, blob in BUILT.blobs.items() if len(blob) > 900_000)
SIZE = len(BUILT.blobs[BIG])
OTHER = bytes(reversed(BUILT.blobs[BIG]))
PIECE = 150_000


@dataclass(frozen=True)
class Overcome:
    """The pull succeeds."""

    most: int = SIZE + 100_000
    """Bytes that may be sent for it, those that were in vain included."""
    seconds: float = 0.0
    """It takes as long as this at least."""
    pieces: bool = False
    """Layers are fetched in pieces."""


@dataclass(frozen=True)
class Failure:
    """The pull fails like this, and leaves nothing that could be mistaken for an image."""

    kind: type[PodwrightError]
    words: str
    asked: int = -1
    """How often the path that is at fault was asked for."""
    pieces: bool = False


Break = Callable[[FakeRegistry], object]


def blob(**fault: object) -> Break:
    return lambda registry: registry.fault(f"/blobs/{BIG}", **fault)  # type: ignore[arg-type]


def tag(**fault: object) -> Break:
    return lambda registry: registry.fault("/manifests/", **fault)  # type: ignore[arg-type]


def after(seconds: float) -> dict[str, str]:
    """A Retry-After with a date. It has whole seconds only, and so may be up to one short."""
    return {"Retry-After": email.utils.formatdate(time.time() + seconds, usegmt=True)}


FAULTS: dict[str, tuple[Break, Overcome | Failure]] = {
    "a blob that breaks off": (blob(cut=300_000, times=1), Overcome()),
    "a blob that breaks off again and again": (blob(cut=100_000, times=8), Overcome(SIZE + 600_000)),
    "a blob that breaks off before its first byte": (blob(cut=0, times=2), Overcome()),
    "a blob that stalls": (blob(stall=300_000, times=1), Overcome(seconds=0.4)),
    "a blob that stalls at its first byte": (blob(stall=0, times=1), Overcome(seconds=0.4)),
    "a blob that trickles": (blob(rate=500, times=1), Overcome(seconds=0.4)),
    "pieces that break off": (blob(cut=50_000, times=5), Overcome(pieces=True)),
    "a piece that stalls": (blob(stall=20_000, times=1, after=1), Overcome(pieces=True)),
    "a manifest that breaks off": (tag(cut=20, times=1), Overcome()),
    "a manifest that stalls": (tag(stall=20, times=1), Overcome()),
    "a server that fails for a moment": (blob(status=500, times=2), Overcome()),
    "a gateway that fails for a moment": (tag(status=502, times=2), Overcome()),
    "a server that is overloaded": (tag(status=503, times=1, headers={"Retry-After": "1"}), Overcome(seconds=1)),
    "a limit on requests": (tag(status=429, times=1, headers={"Retry-After": "1"}), Overcome(seconds=1)),
    "a limit on requests until a date": (
        lambda registry: registry.fault("/blobs/", status=429, times=1, headers=after(2)),
        Overcome(seconds=1),
    ),
    "a limit on requests without a time": (tag(status=429, times=2), Overcome()),
    "a limit on requests for an hour": (
        tag(status=429, headers={"Retry-After": "3600"}),
        Failure(Unavailable, "RegistryUnavailable: .*429.*TOOMANYREQUESTS", asked=1),
    ),
    "a server that always fails": (tag(status=500), Failure(Unavailable, "RegistryUnavailable: .*500", asked=5)),
    "ranges are not known": (blob(ranges="ignored"), Overcome(2 * SIZE, pieces=True)),
    "ranges are not known, and a blob breaks off": (
        lambda registry: (blob(ranges="ignored")(registry), blob(cut=300_000, times=1, ranges="ignored")(registry)),
        Overcome(2 * SIZE),
    ),
    "ranges are refused": (blob(ranges="refused"), Failure(FailedPrecondition, "416", pieces=True)),
    "ranges are wrong": (blob(ranges="shifted"), Failure(FailedPrecondition, "answer to bytes", pieces=True)),
    "a length that is too small": (blob(length=SIZE - 10), Failure(FailedPrecondition, "not 10")),
    "a length that is too large": (blob(length=SIZE + 10), Failure(FailedPrecondition, "not 10")),
    "another blob": (blob(body=OTHER), Failure(FailedPrecondition, "another digest", asked=1)),
    "another blob in pieces": (blob(body=OTHER), Failure(FailedPrecondition, "another digest", pieces=True)),
    "a shorter blob": (blob(body=OTHER[:-1]), Failure(FailedPrecondition, "not 10")),
    "another configuration": (
        lambda registry: registry.fault(f"/blobs/{BUILT.id}", body=b"{}"),
        Failure(FailedPrecondition, "another digest"),
    ),
    "no such tag": (tag(status=404), Failure(NotFound, "404", asked=1)),
    "no such blob": (blob(status=404), Failure(NotFound, "404")),
    "no permission": (tag(status=403), Failure(PermissionDenied, "DENIED", asked=1)),
    "no credentials": (
        lambda registry: registry.require_basic({"u": "p"}),
        Failure(Unauthenticated, "wants credentials", asked=1),
    ),
    "a challenge that is none": (tag(status=401), Failure(Unauthenticated, "wants credentials", asked=1)),
    "a token service at no address": (
        tag(status=401, headers={"WWW-Authenticate": 'Bearer realm="http://[::1"'}),
        Failure(FailedPrecondition, "wants a token from", asked=1),
    ),
    "a token service that is a file": (
        tag(status=401, headers={"WWW-Authenticate": 'Bearer realm="file:///etc/passwd"'}),
        Failure(FailedPrecondition, "wants a token from", asked=1),
    ),
    "a redirect that goes round": (
        tag(status=307, headers={"Location": "/v2/app/manifests/1"}),
        Failure(FailedPrecondition, "redirects more than"),
    ),
    "a redirect to a file": (
        tag(status=302, headers={"Location": "file:///etc/passwd"}),
        Failure(FailedPrecondition, "redirects to", asked=1),
    ),
    "a redirect to no address": (
        tag(status=302, headers={"Location": "http://host:99999/"}),
        Failure(FailedPrecondition, "redirects to", asked=1),
    ),
    "a redirect to a port where nobody listens": (
        tag(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        Failure(Unavailable, "RegistryUnavailable: .*refused", asked=5),
    ),
    "an answer that is no HTTP's": (
        lambda registry: registry.fault("/manifests/", status=299, headers={"Content-Type": "text/html"}),
        Failure(InvalidArgument, "manifest"),
    ),
}  # fmt: skip


def shelf_for(expected: Overcome | Failure, directory: Path) -> Shelf:
    return Shelf(directory, **({"piece": PIECE} if expected.pieces else {}))


@pytest.mark.parametrize(("break_", "expected"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_overcome_or_named(break_: Break, expected: Overcome | Failure, tmp_path: Path) -> None:
    shelf = shelf_for(expected, tmp_path)
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        break_(registry)
        began = time.monotonic()
        if isinstance(expected, Overcome):
            found = shelf.pull(name)
            assert time.monotonic() - began >= expected.seconds
            assert registry.bytes_sent <= expected.most
            assert shelf.left_over() == []
            with shelf.mounted(found) as root:
                assert Path(root, "data").read_bytes() == CONTENT
            return
        with pytest.raises(expected.kind, match=expected.words) as caught:
            shelf.pull(name)
        assert name in str(caught.value) or expected.kind is InvalidArgument
        if expected.asked >= 0:
            path = "/manifests/" if expected.words != "another digest" else f"/blobs/{BIG}"
            assert registry.asked("GET", path) == expected.asked
        assert shelf.run(nothing_known) == []
        assert [name for name in shelf.left_over() if "/" not in name or name.startswith("staging")] == []


async def nothing_known(images: Images) -> list[Image]:
    return images.list_images()


def test_a_registry_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        with pytest.raises(Unavailable, match=f"^RegistryUnavailable: cannot pull '127.0.0.1:{port}/x:1': .*refused"):
            Shelf(tmp_path).pull(f"127.0.0.1:{port}/x:1")


def test_a_registry_whose_name_nobody_knows_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"^RegistryUnavailable: cannot pull 'no-such-host.invalid/x:1'"):
        Shelf(tmp_path).pull("no-such-host.invalid/x:1")


def test_a_registry_that_accepts_and_says_nothing_is_unavailable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        shelf = Shelf(tmp_path, answer_seconds=0.1, attempts=2)
        with pytest.raises(Unavailable, match=r"^RegistryUnavailable: .*timed out"):
            shelf.pull(f"127.0.0.1:{port}/x:1")


def test_a_registry_whose_answer_trickles_for_ever_is_unavailable(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        registry.fault("/manifests/", status=401, body=bytes(100_000), rate=100)
        with pytest.raises(Unavailable, match=r"^RegistryUnavailable: .*no answer in 1 s"):
            Shelf(tmp_path, answer_seconds=0.2, connect_seconds=0.1, attempts=1).pull(name)


def test_a_redirect_that_breaks_off_is_resumed_from_the_start_of_the_way(tmp_path: Path) -> None:
    with FakeRegistry() as registry, FakeRegistry() as store:
        name = registry.push("app", "1", BUILT)
        store.push("elsewhere", "1", BUILT)
        location = f"{store.url}/v2/elsewhere/blobs/{BIG}"
        registry.fault(f"/blobs/{BIG}", status=307, headers={"Location": location})
        store.fault(f"/blobs/{BIG}", cut=400_000, times=1)
        Shelf(tmp_path).pull(name)
        assert registry.asked("GET", f"/blobs/{BIG}") == 2
        assert store.bytes_sent <= SIZE + 100_000


def test_a_pull_that_failed_goes_on_from_the_bytes_it_has(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        registry.fault(f"/blobs/{BIG}", cut=500_000, times=1)
        registry.fault(f"/blobs/{BIG}", status=404, after=1)
        with pytest.raises(NotFound):
            shelf.pull(name)
        assert shelf.left_over()
        registry.behave()
        sent = registry.bytes_sent
        shelf.pull(name)
        assert registry.bytes_sent - sent <= SIZE - 400_000
    assert shelf.left_over() == []


def test_bytes_of_an_earlier_try_that_were_wrong_are_fetched_again(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        registry.fault(f"/blobs/{BIG}", body=OTHER, cut=500_000, times=1)
        registry.fault(f"/blobs/{BIG}", status=404, after=1)
        with pytest.raises(NotFound):
            shelf.pull(name)
        registry.behave()
        shelf.pull(name)
    assert shelf.left_over() == []


def test_pieces_are_fetched_by_several_connections_at_once(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        registry.fault(f"/blobs/{BIG}", rate=400_000)
        began = time.monotonic()
        Shelf(tmp_path, piece=PIECE).pull(name)
        assert registry.asked("GET", f"/blobs/{BIG}") > 4
        assert time.monotonic() - began < SIZE / 400_000


def test_a_size_of_many_pieces_costs_nothing(tmp_path: Path) -> None:
    lying = json.loads(BUILT.body)
    lying["layers"][0]["size"] = 1 << 39
    with FakeRegistry() as registry:
        name = registry.push("app", "1", replace(BUILT, body=json.dumps(lying).encode()))
        began = time.process_time()
        with pytest.raises(FailedPrecondition, match="bytes, not"):
            Shelf(tmp_path, piece=1 << 10).pull(name)
        assert time.process_time() - began < 5


def test_callers_of_one_image_share_the_work_and_its_result(tmp_path: Path) -> None:
    async def scenario(images: Images) -> None:
        registry.fault(f"/blobs/{BIG}", stall=100_000, times=1)
        first, second, third = (asyncio.create_task(images.pull(name)) for _ in range(3))
        await until(lambda: registry.asked("GET", f"/blobs/{BIG}"))
        third.cancel()
        registry.go_on()
        assert await first == await second == BUILT.id
        assert images.progress() == []

    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        Shelf(tmp_path, stall_seconds=30).run(scenario)
        assert registry.asked("GET", f"/blobs/{BIG}") == 1


def test_images_that_share_a_layer_share_its_download(tmp_path: Path) -> None:
    shared = layer(file("data", CONTENT))

    async def scenario(images: Images) -> None:
        await asyncio.gather(*(images.pull(name) for name in names))

    with FakeRegistry() as registry:
        names = [registry.push("app", str(n), image(shared, layer(file(f"own-{n}")))) for n in range(3)]
        Shelf(tmp_path).run(scenario)
        assert registry.asked("GET", f"/blobs/{shared.digest}") == 1


def test_what_another_caller_cannot_get_is_no_failure_of_mine(tmp_path: Path) -> None:
    """The layer of the first pull is refused in its repository; the second one waits for it, and then asks in its
    own.
    """

    async def scenario(images: Images) -> None:
        forbidden = asyncio.create_task(images.pull(names[0]))
        await until(lambda: registry.asked("GET", f"/v2/secret/blobs/{BIG}"))
        allowed = asyncio.create_task(images.pull(names[1]))
        await until(lambda: any(state.layers for state in images.progress() if state.reference == names[1]))
        registry.go_on()
        assert await allowed == BUILT.id
        with pytest.raises(PermissionDenied):
            await forbidden

    with FakeRegistry() as registry:
        names = [registry.push("secret", "1", BUILT), registry.push("open", "1", BUILT)]
        registry.fault(f"/v2/secret/blobs/{BIG}", stall=1000, cut=2000, times=1)
        registry.fault(f"/v2/secret/blobs/{BIG}", status=403, after=1)
        Shelf(tmp_path, stall_seconds=30).run(scenario)


def test_a_cancelled_pull_stops_and_the_next_goes_on(tmp_path: Path) -> None:
    async def scenario(images: Images) -> None:
        registry.fault(f"/blobs/{BIG}", stall=600_000, times=1)
        pull = asyncio.create_task(images.pull(name))
        await until(lambda: any(one.bytes_done > 500_000 for state in images.progress() for one in state.layers))
        pull.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pull
        assert images.progress() == []
        assert [one for one in shelf.left_over() if one.startswith("staging")] == []
        sent = registry.bytes_sent
        assert await images.pull(name) == BUILT.id
        assert registry.bytes_sent - sent < 600_000

    shelf = Shelf(tmp_path, stall_seconds=30)
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        shelf.run(scenario)
    assert shelf.left_over() == []


def test_progress_tells_the_bytes_of_each_layer(tmp_path: Path) -> None:
    async def scenario(images: Images) -> None:
        registry.fault(f"/blobs/{BIG}", stall=600_000, times=1)
        pull = asyncio.create_task(images.pull(name))

        def shown() -> dict[str, LayerProgress]:
            return {one.digest: one for state in images.progress() for one in state.layers}

        await until(lambda: shown() and shown()[BIG].bytes_done >= 500_000 and shown()[small].state == "done")
        (progress,) = images.progress()
        layers = shown()
        assert progress.reference == name
        assert progress.stage == "fetching"
        assert (layers[BIG].bytes_total, layers[BIG].state) == (SIZE, "downloading")
        assert layers[small].bytes_done == layers[small].bytes_unpacked == layers[small].bytes_total
        registry.go_on()
        await pull
        assert images.progress() == []

    (small,) = (digest for digest, blob in BUILT.blobs.items() if digest not in (BIG, BUILT.id))
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        Shelf(tmp_path, stall_seconds=30).run(scenario)
