"""What handlers send on, for the scripts that store it with an acknowledgement: S35 of the contract."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from shardq.drivers.redis.connections.replies import NoMemory
from shardq.drivers.redis.servers.server import Server
from shardq.drivers.redis.verbs.records import bodies_of, count_of
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
        """Whether some of them are put away, and come into their tubes from there."""
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
    most = room.limits.examined
    bundles = {here: _Bundle(most)}
    for output in sent:
        if output.messages:
            due_us = resolved_us(output.when, now_us) if output.when else False
            place = layout.partition_of(key_of(output.pipe))
            bundles.setdefault(place, _Bundle(most)).add(output, due_us)
    # More than a short script can look at is put away here, too.
    own = bundles.pop(here).entries[0] if len(bundles[here].entries) == 1 else _Entry()
    away = [(place, entry) for place, its in bundles.items() for entry in its.entries]
    told = own.told | {"most": room.most(kept_part), "here": here}
    if away:
        told["away"] = [{"target": place} | entry.told for place, entry in away]
    if results:
        told["results"] = {"number": len(results), "terms": terms_of_results(settings, layout, here)}
    bodies = [*own.bodies, *(body for _, entry in away for body in entry.bodies), *results]
    return Sending({"outputs": told}, bodies, parts, room, goes_away=bool(away))


class _Entry:
    """Outputs that come into their tubes in one script."""

    def __init__(self) -> None:
        self.bodies = list[bytes]()
        self.examined = 0
        """How many messages the script looks at one by one."""
        self._pipes, self._absent, self._due_us = list[str](), list[bool](), list[int | bool]()

    def add(self, pipe: str, body: bytes, due_us: int | bool, *, absent: bool, examined: int) -> None:
        self.bodies.append(body)
        self._pipes.append(pipe)
        self._absent.append(absent)
        self._due_us.append(due_us)
        self.examined += examined

    @property
    def told(self) -> dict[str, Any]:
        """What the script is told of them."""
        told: dict[str, Any] = {"pipes": self._pipes}
        if any(self._absent):
            told["absent"] = self._absent
        if any(self._due_us):
            told["due_us"] = self._due_us
        return told


class _Bundle:
    """The outputs for one partition, in their order, in as many entries as short scripts need that look at them."""

    def __init__(self, most_examined: int) -> None:
        self._most_examined = most_examined
        self.entries = [_Entry()]

    def add(self, output: Output, due_us: int | bool) -> None:
        for body in bodies_of(output.messages):
            examined = count_of(body) if output.absent or due_us else 0
            if self.entries[-1].examined + examined > self._most_examined:
                self.entries.append(_Entry())
            self.entries[-1].add(output.pipe, body, due_us, absent=output.absent, examined=examined)
