"""What runs in a container: command, environment, directory, limits of the process. And process.json for exec."""

import os
from collections.abc import Mapping, Sequence

from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.oci.documents import Document
from podwright.oci.host import Host
from podwright.oci.inputs import ImageConfig

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def check(config: v1.ContainerConfig) -> None:
    """Raises InvalidArgument for texts that no process can have as arguments, environment or directory."""
    for field, words in (("command", config.command), ("args", config.args)):
        for index, word in enumerate(words):
            if "\0" in word:
                raise InvalidArgument(f"{field}[{index}]: has a NUL character")
    for index, env in enumerate(config.envs):
        if not env.key or "=" in env.key or "\0" in env.key:
            raise InvalidArgument(f'envs[{index}].key: "{env.key}" cannot be the name of a variable')
        if b"\0" in env.value:
            raise InvalidArgument(f'envs[{index}].value: the value of "{env.key}" has a NUL character')
        if not _is_utf8(env.value):
            # JSON has no other text: crun refuses the file, runc would put U+FFFD there in silence.
            raise InvalidArgument(
                f'envs[{index}].value: the value of "{env.key}" is not UTF-8; OCI runtimes take no other'
            )
    if config.working_dir and (not config.working_dir.startswith("/") or "\0" in config.working_dir):
        raise InvalidArgument(f'working_dir: "{config.working_dir}" is no absolute path')
    check_log_path(config.log_path)


def check_log_path(path: str) -> None:
    """Raises InvalidArgument if the path leads out of the log directory."""
    if path and (path.startswith("/") or ".." in path.split("/") or "\0" in path):
        raise InvalidArgument(f'log_path: "{path}" is no path below the log directory of the sandbox')


def arguments(config: v1.ContainerConfig, image: ImageConfig) -> list[str]:
    """The command line. A command of the CRI replaces the image's entry point and with it the image's command; args
    replace the latter. Raises InvalidArgument if nothing is left.
    """
    of_image = [*image.entrypoint, *(config.args or image.cmd)]
    words = [*config.command, *config.args] if config.command else of_image
    if not words or not words[0]:
        raise InvalidArgument("command: neither the container nor its image says what to run")
    return words


def environment(
    config: v1.ContainerConfig, image: ImageConfig, hostname: str, home: str, notes: list[str]
) -> list[str]:
    """The variables as NAME=value. Of two settings the later one counts: defaults, image, container."""
    variables = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname or os.uname().nodename, "HOME": home}
    if config.tty:
        variables["TERM"] = "xterm"
    for entry in image.env:
        name, equals, value = entry.partition("=")
        if not name or not equals or "\0" in entry:
            notes.append(f'the image\'s environment entry "{name}" is left out: it is not of the form NAME=value')
            continue
        variables[name] = value
    for env in config.envs:
        variables[env.key] = env.value.decode()
    return [f"{name}={value}" for name, value in variables.items()]


def working_directory(config: v1.ContainerConfig, image: ImageConfig) -> str:
    """Absolute. Images may have a relative one, which is meant from the root (Docker's builder makes it so)."""
    return config.working_dir or "/" + image.working_dir.lstrip("/")


def oom_score_adj(wanted: int, host: Host, notes: list[str]) -> int:
    """The value to set. Without CAP_SYS_RESOURCE it cannot be less than the daemon's own (proc(5), EACCES)."""
    if host.may_raise_limits or wanted >= host.oom_score_adj:
        return wanted
    notes.append(f"oom_score_adj {wanted} became {host.oom_score_adj}: the daemon has no CAP_SYS_RESOURCE")
    return host.oom_score_adj


def limits(ulimits: Mapping[str, tuple[int, int]], host: Host, notes: list[str]) -> list[Document]:
    """process.rlimits. Without CAP_SYS_RESOURCE a hard limit cannot be above the daemon's own (setrlimit(2), EPERM)."""
    documents = []
    for name, (soft, hard) in ulimits.items():
        most = hard if host.may_raise_limits else min(hard, host.hard_limits.get(name, hard))
        if most < hard:
            notes.append(f"{name} {hard} became {most}: the daemon has no CAP_SYS_RESOURCE")
        documents.append({"type": name, "soft": min(soft, most), "hard": most})
    return documents


def for_exec(spec: Document, command: Sequence[str], variables: Sequence[str] = (), *, tty: bool = False) -> Document:
    """process.json for a further command in a container: who and what the first process is, with another command.

    `spec` is the container's configuration, `variables` are NAME=value. Raises InvalidArgument as check_command does.
    """
    check_command(command)
    process: Document = {**spec["process"], "args": list(command), "terminal": tty}
    env = list(process["env"])
    if tty and not any(variable.startswith("TERM=") for variable in env):
        env.append("TERM=xterm")
    process["env"] = [*env, *variables]
    return process


def owner(spec: Document) -> tuple[int, int]:
    """The user and the group of the container's processes, by the host's numbers: what they are to open must be theirs,
    and a user namespace cannot give it to them itself.
    """
    user, linux = spec["process"]["user"], spec["linux"]
    return _on_host(user["uid"], linux.get("uidMappings", ())), _on_host(user["gid"], linux.get("gidMappings", ()))


def _on_host(number: int, mappings: Sequence[Document]) -> int:
    for mapping in mappings:
        offset = number - mapping["containerID"]
        if 0 <= offset < mapping["size"]:
            host_id: int = mapping["hostID"] + offset
            return host_id
    return number


def check_command(command: Sequence[str]) -> None:
    """Raises InvalidArgument for what cannot be a command line."""
    if not command or not command[0]:
        raise InvalidArgument("cmd: is empty")
    for index, word in enumerate(command):
        if "\0" in word:
            raise InvalidArgument(f"cmd[{index}]: has a NUL character")


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
