"""Configurations made of the pod CIDR."""

import json
from pathlib import Path

import pytest

from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.network.config import Settings
from podwright.network.template import FILE, update_pod_cidr

TEMPLATE = """{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "note": "${pod_cidr} ${pod_cidr_v6}",
   "ipam": {"type": "host-local", "ranges": ${ranges}, "routes": ${routes}}}]}"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    template = tmp_path / "template"
    template.write_text(TEMPLATE)
    return Settings(config_dir=str(tmp_path / "net.d"), template=str(template))


def written(settings: Settings) -> Path:
    return Path(settings.config_dir, FILE)


def test_both_families(settings: Settings) -> None:
    update_pod_cidr(settings, "10.244.3.0/24, fd00:3::/64")
    (plugin,) = json.loads(written(settings).read_text())["plugins"]
    assert plugin["note"] == "10.244.3.0/24 fd00:3::/64"
    assert plugin["ipam"]["ranges"] == [[{"subnet": "10.244.3.0/24"}], [{"subnet": "fd00:3::/64"}]]
    assert plugin["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    assert [path.name for path in Path(settings.config_dir).iterdir()] == [FILE]


def test_a_new_cidr_replaces_the_old_and_the_same_one_changes_nothing(settings: Settings) -> None:
    update_pod_cidr(settings, "10.244.3.0/24")
    inode = written(settings).stat().st_ino
    update_pod_cidr(settings, "10.244.3.0/24")
    assert written(settings).stat().st_ino == inode
    update_pod_cidr(settings, "fd00:4::/64")
    assert "10.244" not in written(settings).read_text()
    assert '"note": "fd00:4::/64 fd00:4::/64"' in written(settings).read_text()


def test_another_configuration_has_precedence(settings: Settings) -> None:
    Path(settings.config_dir).mkdir()
    Path(settings.config_dir, "99-provider.conf").write_text("{")
    update_pod_cidr(settings, "10.244.3.0/24")
    assert not written(settings).exists()


def test_nothing_happens_without_template_or_cidr(settings: Settings) -> None:
    update_pod_cidr(Settings(config_dir=settings.config_dir), "10.244.3.0/24")
    update_pod_cidr(settings, "")
    assert not Path(settings.config_dir).exists()


def test_what_is_no_cidr_is_refused_even_without_template(settings: Settings) -> None:
    with pytest.raises(InvalidArgument, match=r"pod_cidr: 'ten'"):
        update_pod_cidr(Settings(config_dir=settings.config_dir), "ten")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("${nothing}", r"\$\{nothing\} is not one of pod_cidr"),
        ('{"name": "x"}', "plugins: there is none"),
        ("${pod_cidr}", "line 1"),
        ("$", "Invalid placeholder"),
    ],
)
def test_bad_templates_leave_the_configuration_as_it_is(settings: Settings, text: str, reason: str) -> None:
    update_pod_cidr(settings, "10.244.3.0/24")
    before = written(settings).read_text()
    Path(settings.template).write_text(text)
    with pytest.raises(FailedPrecondition, match=f'network template ".*template": .*{reason}'):
        update_pod_cidr(settings, "10.244.4.0/24")
    assert written(settings).read_text() == before


def test_missing_template_is_named(settings: Settings) -> None:
    Path(settings.template).unlink()
    with pytest.raises(FailedPrecondition, match=r'template": .*No such file'):
        update_pod_cidr(settings, "10.244.4.0/24")
