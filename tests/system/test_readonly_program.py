"""An OCI runtime that is called by way of a read-only mount of its folder."""

import json
import os
import shutil
from pathlib import Path

import pytest

from podwright.kernel import mounts
from podwright.oci import readonly_program
from support.oci import InPod, Pod, privately, shell

pytestmark = pytest.mark.root


def mount_id(path: str) -> str:
    """Of the mount that the file was reached by."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return Path(f"/proc/self/fdinfo/{fd}").read_text().split("mnt_id:")[1].split()[0]
    finally:
        os.close(fd)


def test_crun_takes_it_as_it_is(in_pod: InPod) -> None:
    def test(pod: Pod, rootfs: str) -> None:
        if pod.runtime != "crun":
            pytest.skip("crun's own way")
        program = shutil.which("crun")
        assert program
        pod.runtime = readonly_program.mount(program, str(pod.directory / "programs"))
        bundle = pod.bundle(pod.built(shell("true"), rootfs).spec)
        try:
            assert pod.call("create", "--bundle", bundle, "waits").returncode == 0
            pid = json.loads(pod.call("state", "waits").stdout)["pid"]
            assert mount_id(f"/proc/{pid}/exe") == mount_id(pod.runtime)  # not what it makes for itself
            assert os.statvfs(f"/proc/{pid}/exe").f_flag & os.ST_RDONLY
        finally:
            pod.call("delete", "--force", "waits")

    in_pod(test)


def test_a_newer_program_is_the_one_that_is_called(tmp_path: Path) -> None:
    def test() -> None:
        folder, place = tmp_path / "bin", tmp_path / "place"
        folder.mkdir()
        (folder / "oci").write_text("old")
        path = Path(readonly_program.mount(str(folder / "oci"), str(place)))
        assert path.read_text() == "old"
        (folder / "new").write_text("new")
        (folder / "new").rename(folder / "oci")
        assert path.read_text() == "new"
        with pytest.raises(OSError, match="Read-only"):
            path.write_text("changed")

    privately(test)


def test_the_mount_is_made_once(tmp_path: Path) -> None:
    def test() -> None:
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "oci").write_text(name)
        place = str(tmp_path / "place")

        def mounted() -> int:
            return sum(mount.mount_point == place for mount in mounts.list_mounts())

        for _ in range(2):
            readonly_program.mount(str(tmp_path / "one" / "oci"), place)
        assert mounted() == 1
        assert Path(readonly_program.mount(str(tmp_path / "other" / "oci"), place)).read_text() == "other"
        assert mounted() == 1

    privately(test)
