"""What a check is, and how it says that a runtime has failed it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from podwright.conformance.bench import Bench
from podwright.errors import Code, PodwrightError, Unimplemented

Body = Callable[[Bench], None]


class Failed(Exception):
    """The runtime does not do what it should; the message says what it does instead."""


class Skipped(Exception):
    """The runtime says that it has not got what this is about."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a runtime has to do."""

    name: str
    area: str
    rule: str
    """Who asks for it, and where."""
    body: Body


CHECKS: list[Check] = []
"""All of them, in the order in which they are written."""


def check(rule: str) -> Callable[[Body], Body]:
    """Makes a function a check, called as its docstring. `rule` says who asks for it."""

    def register(body: Body) -> Body:
        assert body.__doc__ is not None
        area = body.__module__.rpartition(".")[2].replace("_", " ")
        CHECKS.append(Check(body.__doc__.strip().rstrip("."), area, rule, body))
        return body

    return register


def expect(true: object, message: str) -> None:
    """Fails the check unless `true`."""
    if not true:
        raise Failed(message)


def same(found: object, wanted: object, what: str) -> None:
    """Fails the check unless both are equal."""
    expect(found == wanted, f"{what} is {found!r}, not {wanted!r}")


@contextmanager
def refused(what: str, *codes: Code) -> Iterator[None]:
    """Fails the check unless the block is refused, with one of these codes if any are named."""
    try:
        yield
    except PodwrightError as error:
        expect(not codes or error.code in codes, f"{what} is refused with {error.code.name}: {error}")
    else:
        raise Failed(f"{what} succeeds")


@contextmanager
def optional() -> Iterator[None]:
    """Skips the check where the runtime answers UNIMPLEMENTED."""
    try:
        yield
    except Unimplemented as error:
        raise Skipped(str(error)) from None
