"""`podwright start`, `stop` and `rm`, for pods and containers alike."""

import argparse

from podwright.cli.connection import connect
from podwright.cli.inventory import Container, Inventory, Pod
from podwright.client import Client
from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.pods.directory import PodDirectory


def start(options: argparse.Namespace) -> int:
    """Starts what was created and not started yet: containers, or all such containers of pods."""
    with connect(options) as cri:
        inventory = Inventory.of(cri)
        for found in [inventory.either(name) for name in options.names]:
            created = [one for one in inventory.containers_of(found) if one.listed.state == v1.CONTAINER_CREATED]
            if not created:
                raise FailedPrecondition(f'"{found.full_name}": there is no container that was created and not started')
            for container in created:
                cri.start_container(container.id)
                print(container.full_name)
    return 0


def stop(options: argparse.Namespace) -> int:
    """Stops what is named; of a pod its containers first, that they get their grace."""
    with connect(options) as cri:
        inventory = Inventory.of(cri)
        for found in [inventory.either(name) for name in options.names]:
            if isinstance(found, Pod):
                stop_pod(cri, found.id, options.grace)
            else:
                cri.stop_container(found.id, timeout=options.grace)
            print(found.full_name)
    return 0


def stop_pod(cri: Client, pod_id: str, grace: int) -> None:
    """Stops all containers of a pod, which share the grace period (seconds), and then the pod."""
    running = v1.ContainerStateValue(state=v1.CONTAINER_RUNNING)
    wanted = v1.ContainerFilter(pod_sandbox_id=pod_id, state=running)
    containers = [container.id for container in cri.list_containers(wanted).containers]
    if containers:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        with ThreadPoolExecutor(len(containers)) as pool:
            list(pool.map(lambda container_id: cri.stop_container(container_id, timeout=grace), containers))
    cri.stop_pod_sandbox(pod_id)


def remove(options: argparse.Namespace) -> int:
    """Removes what is named, or everything; what runs only with --force."""
    if bool(options.names) == options.all:
        raise InvalidArgument("rm takes names of pods and containers, or --all")
    with connect(options) as cri:
        inventory = Inventory.of(cri)
        if options.all:
            loose = [container for container in inventory.containers if not container.running]
            found: list[Pod | Container] = [pod for pod in inventory.pods if options.force or not pod.ready]
            gone = {pod.id for pod in found}
            found += [container for container in loose if container.pod_id not in gone]
        else:
            found = [inventory.either(name) for name in options.names]
        if not options.force:
            for item in found:
                _refuse_running(item, inventory)
        for item in found:
            if isinstance(item, Pod):
                remove_pod(cri, item.listed)
            else:
                cri.remove_container(item.id)
            print(item.full_name)
    return 0


def remove_pod(cri: Client, pod: v1.PodSandbox) -> None:
    """Removes a pod with all that is in it, and what `podwright run` made for it."""
    cri.stop_pod_sandbox(pod.id)
    cri.remove_pod_sandbox(pod.id)
    directory = PodDirectory.recorded(pod.annotations, pod.metadata.uid)
    if directory is not None:
        directory.remove()


def _refuse_running(item: Pod | Container, inventory: Inventory) -> None:
    if isinstance(item, Container) and item.running:
        raise FailedPrecondition(f'container "{item.full_name}" runs: stop it first, or use --force')
    if isinstance(item, Pod):
        running = [container.name for container in inventory.members(item) if container.running]
        if running:
            raise FailedPrecondition(f'pod "{item.full_name}" runs {", ".join(running)}: stop it first, or use --force')
