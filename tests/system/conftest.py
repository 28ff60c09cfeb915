"""Fixtures of the tests with real containers."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from support.oci import InPod, Pod, PodTest, make_rootfs, privately


@pytest.fixture(params=["crun", "runc"])
def in_pod(request: pytest.FixtureRequest, tmp_path: Path) -> InPod:
    """A sandbox for one OCI runtime; see support/oci.py."""
    runtime: str = request.param
    if shutil.which(runtime) is None:
        pytest.skip(f"{runtime} is not installed")
    rootfs = make_rootfs(tmp_path / "rootfs")

    def run(test: PodTest, **fields: Any) -> None:
        def work() -> None:
            directory = tmp_path / "pod"
            directory.mkdir()
            pod = Pod(directory, runtime, **fields)
            try:
                test(pod, rootfs)
            finally:
                pod.close()

        privately(work)

    return run
