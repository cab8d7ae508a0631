"""What handlers send on, for the scripts that store it with an acknowledgement: S35 of the contract."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from shardq.drivers.redis.connections.replies import NoMemory
from shardq.drivers.redis.servers.server import Server
from shardq.drivers.redis.verbs.records import bodies_of
from shardq.drivers.redis.verbs.results import terms_of_results
from shardq.drivers.redis.verbs.rooms import CALL_AGAIN, FOLLOW_UP_PART, HAND_OVER_PART, NO_ROOM, Room
from shardq.model import KEPT_PIPE, Part, key_of
from shardq.outputs import Output, check_outputs, hands_over
from shardq.scheduling.schedule import resolved_us
from shardq.settings import StorageSettings


class Sending:
    """The outputs of one acknowledgement."""

    def __init__(
        self, told: dict[str, Any], bodies: list[bytes], parts: Sequence[Part], room: Room, *, goes_away: bool
    ) -> None:
        self.told = told
        """Arguments of the script."""
        self.bodies = bodies
        """What stands behind its other arguments."""
        self.goes_away = goes_away
        """Whether some of them are for other partitions."""
        self._parts = parts
        self._room = room

    async def stored(self, step: Callable[[], Awaitable[Any]], refusal: Callable[[Any], int | None]) -> Any:
        """What the script returned in the end, called once or several times; None: there is no room. `refusal` says why
        it stored nothing. Raises `MessageTooLarge` for outputs that can never have room.
        """
        try:
            reply = await step()
            while refusal(reply) == CALL_AGAIN:
                reply = await step()
            if refusal(reply) != NO_ROOM:
                return reply
        except NoMemory:
            pass
        self._room.check_fits(self._parts)
        return None


async def sending(
    server: Server, settings: StorageSettings, key: str, outputs: Sequence[Output], acknowledged: int
) -> Sending:
    """Make the outputs of so many requests of this thread ready. Raises `HandlerError` and `ScheduleError` for what can
    never be stored.
    """
    room = Room(settings.capacity_bytes, (await server.layout()).partitions)
    at_once = check_outputs(outputs, room.limits.parts)
    parts: list[Part] = [(output.pipe, output.messages) for output in outputs]
    room.check_names(parts)
    layout, here = await server.layout(), (await server.layout()).partition_of(key)
    now_us = 0 if at_once else await server.now_us()
    results = [result for output in outputs if output.pipe == KEPT_PIPE for result in output.messages]
    sent = [output for output in outputs if output.pipe != KEPT_PIPE]
    kept_part = HAND_OVER_PART if hands_over(sent, acknowledged) else FOLLOW_UP_PART
    bundles = {here: _Bundle()}
    for output in sent:
        if output.messages:
            due_us = resolved_us(output.when, now_us) if output.when else False
            bundles.setdefault(layout.partition_of(key_of(output.pipe)), _Bundle()).add(output, due_us)
    own = bundles.pop(here)
    told = own.told | {"most": room.most(kept_part)}
    if bundles:
        told["away"] = [{"target": place} | its.told for place, its in bundles.items()]
    if results:
        told["results"] = {"number": len(results), "terms": terms_of_results(settings, layout, here)}
    bodies = [*own.bodies, *(body for its in bundles.values() for body in its.bodies), *results]
    return Sending({"outputs": told}, bodies, parts, room, goes_away=bool(bundles))


class _Bundle:
    """The outputs for one partition."""

    def __init__(self) -> None:
        self.bodies = list[bytes]()
        self._pipes, self._absent, self._due_us = list[str](), list[bool](), list[int | bool]()

    def add(self, output: Output, due_us: int | bool) -> None:
        its = bodies_of(output.messages)
        self.bodies += its
        self._pipes += [output.pipe] * len(its)
        self._absent += [output.absent] * len(its)
        self._due_us += [due_us] * len(its)

    @property
    def told(self) -> dict[str, Any]:
        """What the script is told of them."""
        told: dict[str, Any] = {"pipes": self._pipes}
        if any(self._absent):
            told["absent"] = self._absent
        if any(self._due_us):
            told["due_us"] = self._due_us
        return told
