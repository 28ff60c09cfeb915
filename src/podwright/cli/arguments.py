"""What the commands take. Owns no behaviour: each command names the function that runs it, as module:function."""

import argparse
from typing import Any, Final

from podwright import __version__

_EPILOG: Final = """\
objects are named by the beginning of their id or by name: containers also as pod/container and
namespace/pod/container, pods as namespace/pod

the runtime is looked for at --runtime-endpoint, then $PODWRIGHT_ENDPOINT, $CONTAINER_RUNTIME_ENDPOINT,
and then at the usual sockets of Podwright, containerd, CRI-O and cri-dockerd

exit statuses: 0 done, 1 the runtime refused or failed, 2 wrong command line or file, 3 no such object or
an ambiguous name, 4 no runtime there, 130 interrupted; exec, attach and run end with the status of what ran,
and with 125 where that did not come to it
"""

_ORDERS: Final = ("cpu", "memory", "pids", "network", "disk", "name")

_Commands = argparse._SubParsersAction  # noqa: SLF001  argparse has no public name for it


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="podwright",
        description="Pods and containers on this machine, on any CRI runtime.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"podwright {__version__}")
    _connection(top, "-i", "--image-endpoint")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _pods_and_containers(commands)
    _running(commands)
    _images(commands)
    _node(commands)
    for name, what in (
        ("serve", "the container runtime: answer CRI calls"),
        ("config", "print the runtime's configuration"),
        ("node", "a kubelet: run the pods of this node"),
    ):
        commands.add_parser(name, help=what, add_help=False)  # main.py hands these over unread
    return top


def _connection(command: argparse.ArgumentParser, *image_flags: str, timeout: bool = True) -> None:
    absent: Any = argparse.SUPPRESS  # so that what is said before the command is not undone after it
    group = command.add_argument_group("connection")
    group.add_argument(
        "-r", "--runtime-endpoint", metavar="ENDPOINT", default=absent, help="unix:///path of the runtime's socket"
    )
    group.add_argument(
        *(image_flags or ("--image-endpoint",)), metavar="ENDPOINT", default=absent, help="if images are elsewhere"
    )
    if timeout:
        group.add_argument(
            "--timeout", type=float, metavar="SECONDS", default=absent, help="for an answer of the runtime (120)"
        )


def _command(
    commands: "_Commands[argparse.ArgumentParser]",
    name: str,
    handler: str,
    what: str,
    *,
    passes_status: bool = False,
    timeout: bool = True,
) -> argparse.ArgumentParser:
    added = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.", allow_abbrev=False)
    added.set_defaults(handler=handler, passes_status=passes_status)
    _connection(added, timeout=timeout)
    return added


def _output(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-o", "--output", choices=("table", "wide", "json", "yaml", "id"), default="table", help="form of the output"
    )
    command.add_argument(
        "-q", "--quiet", dest="output", action="store_const", const="id", help="ids only, the same as -o id"
    )


def _selection(command: argparse.ArgumentParser, labelled: str) -> None:
    command.add_argument("-n", "--namespace", help="only those of this namespace")
    command.add_argument(
        *("-l", "--label"),
        dest="labels",
        action="append",
        default=[],
        metavar="KEY[=VALUE]",
        help=f"only those {labelled}",
    )


def _pods_and_containers(commands: "_Commands[argparse.ArgumentParser]") -> None:
    pods = _command(commands, "pods", "lists:pods", "list pods")
    pods.add_argument("--ready", action="store_true", help="only those that are ready")
    _selection(pods, "with this label")
    _output(pods)

    ps = _command(commands, "ps", "lists:containers", "list containers")
    ps.add_argument("-a", "--all", action="store_true", help="also those that do not run")
    ps.add_argument("-p", "--pod", help="only those of this pod")
    _selection(ps, "with this label, their own or their pod's")
    _output(ps)

    inspect = _command(commands, "inspect", "inspect:inspect", "show all that is known of a pod, container or image")
    inspect.add_argument("names", metavar="NAME", nargs="+")
    form = inspect.add_mutually_exclusive_group()
    form.add_argument("-o", "--output", choices=("json", "yaml"), default="json")
    form.add_argument("--timeline", action="store_true", help="what took how long in the life of pods and containers")

    start = _command(commands, "start", "lifecycle:start", "start containers that are created, or all such of pods")
    start.add_argument("names", metavar="NAME", nargs="+")

    stop = _command(commands, "stop", "lifecycle:stop", "stop containers, or pods with all that runs in them")
    stop.add_argument("names", metavar="NAME", nargs="+")
    stop.add_argument("-t", "--grace", type=int, default=10, metavar="SECONDS", help="before the kill (10)")

    remove = _command(commands, "rm", "lifecycle:remove", "remove containers, or pods with all that is in them")
    remove.add_argument("names", metavar="NAME", nargs="*")
    remove.add_argument("-f", "--force", action="store_true", help="also what still runs")
    remove.add_argument("-a", "--all", action="store_true", help="everything, but with --force only what has ended")

    update = _command(commands, "update", "update:update", "change the limits of containers")
    update.add_argument("names", metavar="NAME", nargs="+")
    update.add_argument("--cpus", metavar="N", help="such as 1.5 or 500m; max for no limit")
    update.add_argument("--memory", metavar="SIZE", help="such as 256Mi or 1G; max for no limit")
    update.add_argument("--cpu-shares", type=int, default=0, metavar="N", help="weight among others, of 1024 a CPU")
    update.add_argument("--cpuset-cpus", default="", metavar="LIST", help="such as 0-2,7")
    update.add_argument("--cpuset-mems", default="", metavar="LIST", help="NUMA nodes, such as 0")

    checkpoint = _command(
        commands, "checkpoint", "checkpoint:checkpoint", "write a running container or pod to disk", timeout=False
    )
    checkpoint.add_argument("name", metavar="NAME")
    checkpoint.add_argument("path", metavar="PATH", help="a file for a container, an empty or new directory for a pod")
    checkpoint.add_argument(
        "--timeout", dest="limit", type=int, default=0, metavar="SECONDS", help="give up after these (never)"
    )

    events = _command(commands, "events", "events:events", "show what happens to pods and containers, as it happens")
    events.add_argument("-o", "--output", choices=("table", "json"), default="table", help="json: an object a line")

    stats = _command(commands, "stats", "stats:stats", "show what running containers, or pods, use")
    stats.add_argument("names", metavar="NAME", nargs="*", help="only these")
    stats.add_argument("-p", "--pods", action="store_true", help="pods as a whole, with their traffic")
    _output(stats)

    top = _command(commands, "top", "top:top", "show what uses this node, again and again, or once into a pipe")
    top.add_argument("names", metavar="NAME", nargs="*", help="only these pods and containers")
    top.add_argument("-s", "--sort", choices=_ORDERS, default="cpu", help="the largest first (cpu)")
    top.add_argument("-d", "--interval", type=_interval, default=2.0, metavar="SECONDS", help="between two looks (2)")


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f'"{text}" is no number of seconds from 0.1 to 3600')
    return seconds


def _running(commands: "_Commands[argparse.ArgumentParser]") -> None:
    run = _command(
        commands, "run", "run:run", "run the pods of a Kubernetes file, without a cluster", passes_status=True
    )
    run.add_argument("file", metavar="FILE", help="YAML of pods, config maps and secrets; - for standard input")
    run.add_argument("--rm", action="store_true", help="remove the pods when all containers have ended")
    run.add_argument("-d", "--detach", action="store_true", help="leave the pods running, print their ids")
    run.add_argument("--runtime-handler", default="", metavar="NAME", help="where the pod names no runtimeClassName")
    run.add_argument("--directory", metavar="DIR", help="for logs and volumes of pods (/var/lib/podwright-run)")

    logs = _command(commands, "logs", "logs:logs", "show what a container, or all of a pod, has written")
    logs.add_argument("name", metavar="NAME")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the container ends")
    logs.add_argument("-p", "--previous", action="store_true", help="those of the attempt before, if it is still here")
    logs.add_argument("--tail", type=int, metavar="N", help="only the last N lines")
    logs.add_argument("--since", metavar="TIME", help="an age such as 90s, 10m, 2h, or a time as in RFC 3339")
    logs.add_argument("-t", "--timestamps", action="store_true", help="with the time of each line")

    execute = _command(
        commands, "exec", "execute:execute", "run a command in a container", passes_status=True, timeout=False
    )
    _streams(execute)
    execute.add_argument("name", metavar="NAME")
    execute.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="after -- if it has flags")
    execute.add_argument("--timeout", dest="limit", type=int, default=0, metavar="SECONDS", help="kill it after these")

    attach = _command(commands, "attach", "execute:attach", "connect to what a container runs", passes_status=True)
    _streams(attach)
    attach.add_argument("name", metavar="NAME", help="with -t, Ctrl-P Ctrl-Q leaves it alone again")

    forward = _command(commands, "port-forward", "forward:port_forward", "lead ports of this machine to a pod's")
    forward.add_argument("--address", default="127.0.0.1", help="where to listen (127.0.0.1)")
    forward.add_argument("name", metavar="POD")
    forward.add_argument(
        "ports", metavar="[LOCAL:]REMOTE", nargs="+", help="LOCAL is REMOTE if not given, and any if empty"
    )


def _streams(command: argparse.ArgumentParser) -> None:
    command.add_argument("-i", "--stdin", action="store_true", help="pass standard input on")
    command.add_argument("-t", "--tty", action="store_true", help="with a terminal")


def _images(commands: "_Commands[argparse.ArgumentParser]") -> None:
    images = _command(commands, "images", "images:images", "list images")
    images.add_argument("name", metavar="NAME", nargs="?")
    _output(images)

    pull = _command(commands, "pull", "pull:pull", "bring images to this node")
    pull.add_argument("names", metavar="IMAGE", nargs="+")
    pull.add_argument("--creds", metavar="USER[:PASSWORD]", help="for the registry; the password is else asked for")
    pull.add_argument("-q", "--quiet", action="store_true", help="print ids only")

    load = _command(commands, "load", "images:load", "take images from files on disk (Podwright only)", timeout=False)
    load.add_argument("path", metavar="PATH", help="OCI layout, docker archive, or directory of a root file system")
    load.add_argument("--name", default="", metavar="IMAGE", help="for what does not bring its own")
    load.add_argument("--config", metavar="FILE", help="OCI image configuration (JSON) for a root file system")

    save = _command(commands, "save", "images:save", "write an image as an OCI layout (Podwright only)", timeout=False)
    save.add_argument("name", metavar="IMAGE")
    save.add_argument("directory", metavar="DIRECTORY", help="empty, or not there yet")

    remove = _command(commands, "rmi", "images:remove", "remove images with all their names")
    remove.add_argument("names", metavar="IMAGE", nargs="*")
    remove.add_argument("-a", "--all", action="store_true", help="all that no container uses and that are not pinned")


def _node(commands: "_Commands[argparse.ArgumentParser]") -> None:
    info = _command(commands, "info", "about:info", "show how the runtime is")
    info.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table")

    version = _command(commands, "version", "about:version", "show the versions of this program and of the runtime")
    version.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table")

    metrics = _command(
        commands, "metrics", "metrics:metrics", "print metrics of pods as kubelets pass them on to Prometheus"
    )
    metrics.add_argument("names", metavar="POD", nargs="*", help="only these")
    metrics.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text")

    doctor = _command(commands, "doctor", "doctor:doctor", "find out what makes pods fail on this node", timeout=False)
    doctor.add_argument(
        "--timeout", type=float, metavar="SECONDS", default=argparse.SUPPRESS, help="for an answer of the runtime (20)"
    )
    doctor.add_argument("-q", "--quiet", action="store_true", help="only warnings and faults")
    doctor.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table")

    conformance = _command(
        commands, "conformance", "conformance:conformance", "check that a runtime does what kubelets ask of it"
    )
    conformance.add_argument("words", metavar="WORD", nargs="*", help="only checks with one of these in their name")
    conformance.add_argument("--list", action="store_true", help="only say which checks there are")
    conformance.add_argument(
        "--image",
        default="registry.k8s.io/e2e-test-images/busybox:1.29-4",
        help="an image with a shell; pulled if it is missing (%(default)s)",
    )
    conformance.add_argument("--cgroup-parent", metavar="CGROUP", help="of the pods; by the runtime's driver")
    conformance.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table")

    completion = _command(commands, "completion", "completion:completion", "print a completion script for a shell")
    completion.add_argument("shell", choices=("bash",))
