"""Which file configures the network, and what it says."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from podwright.errors import FailedPrecondition, Unavailable
from podwright.network.config import Configurations, NetworkConfig, Settings, parse


class Host:
    """A configuration directory and a plugin directory."""

    def __init__(self, root: Path) -> None:
        self.config_dir = root / "net.d"
        self.plugin_dir = root / "bin"
        self.config_dir.mkdir()
        self.plugin_dir.mkdir()
        self.install("bridge")

    def install(self, plugin: str) -> None:
        path = self.plugin_dir / plugin
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)

    def write(self, name: str, content: object) -> Path:
        path = self.config_dir / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def configurations(self, network: str = "") -> Configurations:
        directories = (str(self.plugin_dir.parent / "nowhere"), str(self.plugin_dir))
        return Configurations(Settings(str(self.config_dir), directories, network))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def conflist(name: str, *plugins: str, **more: Any) -> dict[str, Any]:
    kinds = plugins or ("bridge",)
    return {"cniVersion": "1.0.0", "name": name, "plugins": [{"type": kind} for kind in kinds], **more}


def test_first_file_by_name_counts_whatever_its_extension(host: Host) -> None:
    host.write("20-b.conflist", conflist("b"))
    host.write("30-c.json", {"name": "c", "type": "bridge"})
    host.write("05-notes.txt", "not JSON")
    (host.config_dir / "00-folder.conf").mkdir()
    assert host.configurations().current().name == "b"
    host.write("10-a.conf", {"cniVersion": "0.4.0", "name": "a", "type": "bridge", "isGateway": True})
    chosen = host.configurations().current()
    assert (chosen.name, chosen.version, len(chosen.plugins)) == ("a", "0.4.0", 1)
    assert chosen.plugins[0]["isGateway"] is True


def test_broken_first_file_is_named_and_not_passed_over(host: Host) -> None:
    host.write("10-a.conflist", '{"name": "a",')
    host.write("20-b.conflist", conflist("b"))
    with pytest.raises(FailedPrecondition, match=r'10-a\.conflist" is no valid.*line 1 column.*repair or remove'):
        host.configurations().current()


def test_unreadable_first_file_is_named(host: Host) -> None:
    (host.config_dir / "10-a.conflist").symlink_to("nowhere")
    with pytest.raises(FailedPrecondition, match=r"10-a\.conflist.*No such file"):
        host.configurations().current()


def test_named_network_is_found_beside_broken_and_other_files(host: Host) -> None:
    host.write("10-a.conflist", "{")
    host.write("20-b.conflist", conflist("b"))
    host.write("30-c.conflist", conflist("c"))
    host.write("40-c.conflist", conflist("c", "never-installed"))
    assert host.configurations("c").current().source.endswith("30-c.conflist")
    with pytest.raises(Unavailable, match=r'network "d".*10-a\.conflist" is no valid'):
        host.configurations("d").current()


def test_what_is_missing_is_said(host: Host) -> None:
    configurations = host.configurations()
    with pytest.raises(Unavailable, match=r"no network configuration.*conflist.*has the provider"):
        configurations.current()
    host.write("10-a.conflist", conflist("a", "bridge", "portmap"))
    with pytest.raises(Unavailable, match=r'network "a".*plugin "portmap" is not in ".*nowhere", ".*bin"'):
        configurations.current()
    host.install("portmap")
    assert configurations.current().name == "a"


def test_directory_may_go_and_come_back(host: Host) -> None:
    configurations = host.configurations()
    host.write("10-a.conflist", conflist("a"))
    assert configurations.current().name == "a"
    shutil.rmtree(host.config_dir)
    with pytest.raises(Unavailable, match=r'there is no "'):
        configurations.current()
    host.config_dir.mkdir()
    host.write("10-a.conflist", conflist("again"))
    assert configurations.current().name == "again"


def test_changes_are_seen_and_nothing_is_read_without_one(host: Host) -> None:
    configurations = host.configurations()
    path = host.write("10-a.conflist", conflist("a"))
    first = configurations.current()
    assert configurations.current() is first
    path.write_text(json.dumps(conflist("longer")))
    assert configurations.current().name == "longer"
    new = host.write("new", conflist("renewd"))
    stat = path.stat()
    os.utime(new, ns=(stat.st_mtime_ns, stat.st_mtime_ns))  # the same size and time, another inode
    new.replace(path)
    assert configurations.current().name == "renewd"
    host.write("05-z.conflist", conflist("z"))
    assert configurations.current().name == "z"


def test_folder_of_the_network_adds_plugins(host: Host) -> None:
    host.install("tuning")
    host.write("10-a.conflist", conflist("a"))
    configurations = host.configurations()
    assert types(configurations.current()) == ["bridge"]
    host.write("a/10-t.conf", {"type": "tuning", "mtu": 9000})
    host.write("a/20-ignored.conflist", "{")
    assert types(configurations.current()) == ["bridge", "tuning"]
    host.write("10-a.conflist", conflist("a", loadOnlyInlinedPlugins=True))
    assert types(configurations.current()) == ["bridge"]


def types(config: NetworkConfig) -> list[str]:
    return [plugin["type"] for plugin in config.plugins]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "not a JSON object"),
        ({"plugins": [{"type": "bridge"}]}, 'name: ""'),
        ({"name": "../up", "plugins": [{"type": "bridge"}]}, r'name: "\.\./up"'),
        ({"name": 5, "plugins": []}, r"Expected `str`.*\$\.name"),
        ({"name": "a"}, "plugins: there is none"),
        ({"name": "a", "plugins": []}, "plugins: there is none"),
        ({"name": "a", "plugins": [{}]}, "required field `type`"),
        ({"name": "a", "plugins": [{"type": "../bin/sh"}]}, r'type: "\.\./bin/sh"'),
        ({"name": "a", "plugins": [{"type": "b", "capabilities": ["x"]}]}, r"\$\.capabilities"),
        ({"name": "a", "type": "b", "cniVersion": "9.0.0"}, r"cniVersion: 9\.0\.0 is not known: 0\.1\.0 to 1\.1\.0"),
    ],
)
def test_faulty_documents_are_refused_with_the_reason(document: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(json.dumps(document), "x.conf")


@pytest.mark.parametrize(
    ("keys", "versions"),
    [
        ({}, ("0.1.0",)),
        ({"cniVersion": ""}, ("0.1.0",)),
        ({"cniVersion": "1.0.0"}, ("1.0.0",)),
        ({"cniVersion": "0.4.0", "cniVersions": ["1.1.0", "0.3.1", "7.0.0"]}, ("0.3.1", "0.4.0", "1.1.0")),
        ({"cniVersion": "7.0.0", "cniVersions": ["1.1.0"]}, ("1.1.0",)),
    ],
)
def test_versions_that_both_sides_know_in_order(keys: dict[str, Any], versions: tuple[str, ...]) -> None:
    config = parse(json.dumps({"name": "a", "type": "b", **keys}), "x.conf")
    assert config.versions == versions
    assert config.at_least(versions[-1])
    assert not config.at_least("1.1.0") or versions[-1] == "1.1.0"


def test_switches_may_be_strings_as_for_the_reference_library() -> None:
    config = parse(json.dumps({"name": "a", "type": "b", "disableCheck": "true", "disableGC": "True"}), "x.conf")
    assert config.disable_check
    assert config.disable_gc
