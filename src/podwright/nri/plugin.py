"""One plugin: what it is called, which events it wants, and calls that a plugin which fails does not hold up."""

import logging
import re

from google.protobuf.message import Message

from podwright.errors import Code, FailedPrecondition, InvalidArgument
from podwright.nri import v1
from podwright.nri.connection import Connection, Gone, Refused
from podwright.nri.methods import ALL_EVENTS, EVENTS, ONCE_STATE_CHANGES

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[a-zA-Z0-9_.+-]+", re.ASCII)
_INDEX = re.compile(r"[0-9]{2}", re.ASCII)


class Plugin:
    """A plugin that has registered."""

    def __init__(self, index: str, name: str, connection: Connection, request_seconds: float) -> None:
        self.index, self.name = index, name
        self.title = f"{index}-{name}"
        self.connection = connection
        self._seconds = request_seconds
        self._events = ALL_EVENTS
        self.validates = False
        """It has asked to validate adjustments: without it there is no consent."""
        self._old: set[int] = set()
        """Events that it knows only as state changes."""

    @property
    def gone(self) -> bool:
        """Whether there is no use in calling it."""
        return self.connection.closed

    def wants(self, event: int) -> bool:
        """Whether it has asked for the event."""
        return bool(self._events >> (event - 1) & 1)

    async def configure(self, request: v1.ConfigureRequest) -> None:
        """Has it say which events it wants. Raises Gone, Refused, InvalidArgument."""
        response = await self.connection.call("Configure", request, self._seconds)
        assert isinstance(response, v1.ConfigureResponse)
        if response.events & ~ALL_EVENTS:
            raise InvalidArgument(f"events {response.events & ~ALL_EVENTS:#x} do not exist")
        self._events = response.events or ALL_EVENTS
        self.validates = bool(response.events >> (v1.VALIDATE_CONTAINER_ADJUSTMENT - 1) & 1)

    async def synchronize(self, request: v1.SynchronizeRequest, seconds: float) -> v1.SynchronizeResponse:
        """Tells it what there is, or a part of it, and gives it so long. Raises Gone, Refused."""
        response = await self.connection.call("Synchronize", request, seconds)
        assert isinstance(response, v1.SynchronizeResponse)
        return response

    async def tell(self, event: int, request: Message, doing: str) -> Message | None:
        """What it answers; None if it does not want the event, or does not answer and is dropped.

        Raises FailedPrecondition if it refuses; `doing` ends the message.
        """
        if not self.wants(event) or self.gone:
            return None
        try:
            return await self._tell(event, request)
        except Gone as error:
            logger.error("NRI plugin %s %s: it is dropped, and %s goes on", self.title, error, doing)  # noqa: TRY400
            self.connection.close()
            return None
        except Refused as error:
            if error.code == Code.UNIMPLEMENTED:
                return None
            raise FailedPrecondition(f'NRI plugin "{self.title}" refuses {doing}: {error}') from None

    async def _tell(self, event: int, request: Message) -> Message:
        if event not in self._old:
            try:
                return await self.connection.call(EVENTS[event], request, self._seconds)
            except Refused as error:
                if error.code != Code.UNIMPLEMENTED or event not in ONCE_STATE_CHANGES:
                    raise
                self._old.add(event)
                logger.info("NRI plugin %s is told of %s by StateChange", self.title, EVENTS[event])
        change = v1.StateChangeEvent(event=v1.Event.Name(event))
        change.MergeFrom(_subject(request))
        return await self.connection.call("StateChange", change, self._seconds)


def _subject(request: Message) -> v1.StateChangeEvent:
    """The pod, and the container if there is one, that an event is about."""
    found = v1.StateChangeEvent()
    for field, value in request.ListFields():
        if field.name in ("pod", "container"):
            getattr(found, field.name).CopyFrom(value)
    return found


def check_identity(index: str, name: str) -> None:
    """Raises InvalidArgument for what cannot be a plugin's index and name."""
    if not _INDEX.fullmatch(index):
        raise InvalidArgument(f'plugin_idx: "{index}" is not two digits')
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f'plugin_name: "{name}" is no name of letters, digits and any of "_.+-"')
