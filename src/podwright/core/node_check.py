"""What the daemon can say of its host when somebody asks (`podwright doctor`): programs, privileges, overlayfs,
registries, and what is left over.

Nothing is changed. What does not need the daemon's own knowledge is looked at by doctor/, for any runtime.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterable

from podwright.control import v1
from podwright.core.concurrent import all_of
from podwright.core.recovery import find_strays
from podwright.core.runtime import Runtime
from podwright.errors import PodwrightError
from podwright.ids import new_id
from podwright.kernel import mounts
from podwright.kernel.run import run

_PATIENCE = 10.0
"""Seconds that a program may take to tell its version."""


async def findings(runtime: Runtime) -> list[v1.Finding]:
    """Looks at everything."""
    looks: tuple[Callable[[Runtime], v1.Finding], ...] = (_privileges, _overlay, _registries)
    return [
        *await _programs(runtime),
        *await all_of(asyncio.to_thread(look, runtime) for look in looks),
        await _left_over(runtime),
    ]


def _finding(subject: str, text: str, problem: str = "", *, advice: str = "", fatal: bool = True) -> v1.Finding:
    """`text` if all is well, or else `problem`."""
    if not problem:
        return v1.Finding(subject=subject, state="ok", text=text)
    return v1.Finding(subject=subject, state="fault" if fatal else "warning", text=problem, advice=advice)


async def _programs(runtime: Runtime) -> list[v1.Finding]:
    """conmon, the OCI runtimes, process 1 of shared PID namespaces, and criu, which only checkpoints need."""
    handlers = {name: handler.runtime.program for name, handler in runtime.handlers.items()}
    found = [
        _program("conmon", runtime.settings.conmon),
        *(_program(f'handler "{name}"', program) for name, program in handlers.items()),
        _program("infra_program", runtime.settings.infra_program),
    ]
    criu = shutil.which("criu")
    found += [_program("criu", criu)] if criu else []
    absent = [] if criu else [_finding("programs", "no criu: there are no checkpoints")]
    return [*await all_of(found), *absent]


async def _program(what: str, program: str) -> v1.Finding:
    try:
        answer = (await run([program, "--version"], timeout=_PATIENCE)).check(f"{what} does not work")
    except PodwrightError as error:
        return _finding("programs", "", str(error), advice="install it, and restart the daemon if it moved")
    version = answer.stdout.decode(errors="replace").partition("\n")[0]
    return _finding("programs", f"{what}: {version} ({program})")


def _privileges(runtime: Runtime) -> v1.Finding:
    clamped = "oom_score_adj and limits of open files are lowered to what is allowed"
    return _finding(
        "privileges",
        "the daemon may raise limits",
        "" if runtime.host.may_raise_limits else f"the daemon lacks CAP_SYS_RESOURCE: {clamped}",
        advice="give it the capability",
        fatal=False,
    )


def _overlay(runtime: Runtime) -> v1.Finding:
    """Tries it where containers will have it. Should the daemon die meanwhile, the next one sweeps the directory."""
    place, base = runtime.paths.container(new_id()), runtime.images.layers_directory
    upper, work, target = (f"{place}/{name}" for name in ("upper", "work", "merged"))
    problem = ""
    try:
        for directory in (upper, work, target):
            os.makedirs(directory)
        mounts.try_overlay(target, base=base, lowerdirs=[runtime.images.empty_layer], upperdir=upper, workdir=work)
    except OSError as error:
        problem = f'no overlayfs with upper directories in "{runtime.paths.containers}": {error.strerror}'
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return _finding(
        "overlayfs",
        f'works in "{runtime.paths.containers}"',
        problem,
        advice="have directories.root on ext4 or xfs (with ftype=1), not on another overlay or NFS, writable",
    )


def _registries(runtime: Runtime) -> v1.Finding:
    registries = runtime.images.registries()
    problems = [problem for problem in registries.values() if problem]
    return _finding(
        "registries",
        f"files for {', '.join(registries)} are in order" if registries else "none has files of its own",
        "; ".join(problems),
        advice="repair the file: pulls from this registry fail",
    )


async def _left_over(runtime: Runtime) -> v1.Finding:
    """Only what bears the names that this daemon gives: looked at before the records, as they come first and go last,
    and once more for what has gone meanwhile.
    """
    seen = [*await asyncio.to_thread(find_strays, runtime), *await asyncio.to_thread(_named_by_ids, runtime)]
    known = runtime.index.sandboxes.keys() | runtime.index.containers.keys()
    strange = sorted({path for path in seen if not known & _ids(path)})
    left = await asyncio.to_thread(lambda: [path for path in strange if os.path.lexists(path)])
    return _finding(
        "left over",
        "nothing, all belongs to pods",
        f"belongs to no pod of this runtime: {', '.join(left)}" if left else "",
        advice="restarting the daemon sweeps its own directories; take away the rest by umount, rm and rmdir",
        fatal=False,
    )


def _named_by_ids(runtime: Runtime) -> Iterable[str]:
    """Pins of network namespaces, mounts and cgroups that bear the name of a sandbox or container."""
    paths = runtime.paths
    found = [
        f"{paths.network_namespaces}/{name}"
        for name in os.listdir(paths.network_namespaces)
        if name.startswith("podwright-")
    ]
    below = tuple(f"{directory}/" for directory in paths.object_directories())
    found += [mount.mount_point for mount in mounts.list_mounts() if mount.mount_point.startswith(below)]
    parent, is_of_sandbox, _ = runtime.settings.default_cgroup_parent.partition("/{id}")
    if is_of_sandbox:
        for directory in runtime.host.cgroups.directories(parent):
            if os.path.isdir(directory):
                found += [entry.path for entry in os.scandir(directory) if entry.is_dir()]
    return found


def _ids(path: str) -> set[str]:
    """Parts of a path that may be ids."""
    return {part.removeprefix("podwright-") for part in path.split("/")}
