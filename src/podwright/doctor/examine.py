"""All checks, in the order in which people would ask."""

from collections.abc import Callable, Iterator

from podwright.client import Client
from podwright.doctor import kernel, network, runtime, upkeep
from podwright.doctor.finding import Finding, fault
from podwright.doctor.machine import Machine
from podwright.errors import InvalidArgument, PodwrightError


def examine(connect: Callable[[], Client], machine: Machine) -> Iterator[Finding]:
    """Looks at runtime and machine, and goes on whatever fails. Raises InvalidArgument for a bad endpoint."""
    places = network.CniPlaces()
    try:
        with connect() as cri:
            yield runtime.versions(cri)
            status = cri.status(verbose=True)
            places = network.CniPlaces.told(runtime.told(status))
            yield from runtime.check(cri, machine, status)
            yield from upkeep.check_disks(machine, cri.image_fs_info())
    except InvalidArgument:
        raise
    except PodwrightError as error:
        text = "; ".join([str(error), *getattr(error, "__notes__", [])])
        yield fault("runtime", text, "start it; if it runs, its log says why it does not answer")
        yield runtime.startable()
    yield from network.check(machine, places)
    yield from kernel.check(machine)
    yield from upkeep.check(machine)
