"""Pulls: what comes from a registry is what is found on the node."""

from pathlib import Path

import pytest

from podwright.testing.images import directory, file, image, layer
from podwright.testing.registry import FakeRegistry
from support.images import Shelf

pytestmark = pytest.mark.root


def test_a_pull_brings_an_image_with_its_names_and_files(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    built = image(
        layer(directory("etc"), file("etc/motd", b"hello\n", mode=0o640, uid=7, gid=8)),
        layer(file("etc/issue", b"there\n"), compression="zstd"),
        layer(file("top"), compression="none"),
        config={"Env": ["A=b"], "Cmd": ["sh"]},
    )
    with FakeRegistry() as registry:
        name = registry.push("team/app", "1.0", built)
        found = shelf.pull(name)
    assert found.id == built.id
    assert found.repo_tags == (name,)
    assert found.repo_digests == (f"{registry.host}/team/app@{built.digest}",)
    assert found.config.env == ("A=b",)
    files = shelf.tree(found)
    assert [*files] == [".", "etc", "etc/issue", "etc/motd", "top"]
    assert (files["etc/motd"].mode, files["etc/motd"].uid, files["etc/motd"].gid) == (0o640, 7, 8)
    assert shelf.left_over() == []
