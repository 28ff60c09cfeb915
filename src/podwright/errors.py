"""Every kind of failure that a caller of Podwright can meet, and the gRPC code that stands for it.

    PodwrightError
     ├─ InvalidArgument       the request can never succeed as it is
     ├─ NotFound              no such object
     ├─ AlreadyExists         the name is taken
     ├─ FailedPrecondition    not in this state, or this host cannot
     ├─ PermissionDenied      refused by policy or by a registry
     ├─ Unauthenticated       a registry wants (other) credentials
     ├─ ResourceExhausted     a disk, an address range or a limit is full
     ├─ DeadlineExceeded      it took longer than allowed
     ├─ Aborted               something else happened to the object meanwhile
     ├─ Unimplemented         this RPC, or this wish, is not served
     ├─ Unavailable           something outside does not answer; trying again may help
     └─ Internal              a program or the kernel did what it should not

A message says what failed, on which object, at which stage, and what to do: lower case, no full stop, names in
quotes. The dispatcher of the server is the only place that turns kinds into gRPC statuses.
"""

import enum
from typing import ClassVar


class Code(enum.IntEnum):
    """gRPC status codes (grpc/doc/statuscodes.md); here so that only servers and clients import grpc."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class PodwrightError(Exception):
    """A failure with a gRPC code. Raise one of the kinds below."""

    code: ClassVar[Code] = Code.UNKNOWN

    def __init__(self, message: str, *, reason: str = "") -> None:
        """`reason` is a word that kubelets look for at the beginning of the message, such as RegistryUnavailable."""
        super().__init__(f"{reason}: {message}" if reason else message)


class InvalidArgument(PodwrightError):
    """The request can never succeed as it is."""

    code = Code.INVALID_ARGUMENT


class NotFound(PodwrightError):
    """No such object."""

    code = Code.NOT_FOUND


class AlreadyExists(PodwrightError):
    """The name is taken."""

    code = Code.ALREADY_EXISTS


class FailedPrecondition(PodwrightError):
    """The object is not in the state for it, or the host cannot do it."""

    code = Code.FAILED_PRECONDITION


class PermissionDenied(PodwrightError):
    """Refused by policy or by a registry."""

    code = Code.PERMISSION_DENIED


class Unauthenticated(PodwrightError):
    """A registry wants credentials, or other ones."""

    code = Code.UNAUTHENTICATED


class ResourceExhausted(PodwrightError):
    """A disk, an address range or a limit is full."""

    code = Code.RESOURCE_EXHAUSTED


class DeadlineExceeded(PodwrightError):
    """It took longer than allowed."""

    code = Code.DEADLINE_EXCEEDED


class Aborted(PodwrightError):
    """Something else happened to the object meanwhile."""

    code = Code.ABORTED


class Unimplemented(PodwrightError):
    """This RPC, or this wish, is not served."""

    code = Code.UNIMPLEMENTED


class Unavailable(PodwrightError):
    """Something outside does not answer; trying again may help."""

    code = Code.UNAVAILABLE


class Internal(PodwrightError):
    """A program or the kernel did what it should not."""

    code = Code.INTERNAL
