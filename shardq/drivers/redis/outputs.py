"""What handlers send on, for the scripts that store it with an acknowledgement: S35 of the contract."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from shardq.drivers.redis.records import bodies_of
from shardq.drivers.redis.replies import NoMemory
from shardq.drivers.redis.rooms import CALL_AGAIN, FOLLOW_UP_PART, HAND_OVER_PART, NO_ROOM, Room
from shardq.drivers.redis.server import Server
from shardq.errors import HandlerError
from shardq.model import Part, key_of
from shardq.outputs import Output, check_outputs, hands_over
from shardq.scheduling.schedule import resolved_us
from shardq.settings import StorageSettings


class Sending:
    """The outputs of one acknowledgement."""

    def __init__(self, told: dict[str, Any], bodies: list[bytes], parts: Sequence[Part], room: Room) -> None:
        self.told = told
        """Arguments of the script."""
        self.bodies = bodies
        """What stands behind its other arguments."""
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
    await _check_partitions(server, key, outputs)
    now_us = 0 if at_once else await server.now_us()
    pipes, absent, due_us, bodies = list[str](), list[bool](), list[int | bool](), list[bytes]()
    for output in outputs:
        its = bodies_of(output.messages) if output.messages else []
        pipes += [output.pipe] * len(its)
        absent += [output.absent] * len(its)
        due_us += [resolved_us(output.when, now_us) if output.when else False] * len(its)
        bodies += its
    kept_part = HAND_OVER_PART if hands_over(outputs, acknowledged) else FOLLOW_UP_PART
    told: dict[str, Any] = {"pipes": pipes, "most": room.most(kept_part)}
    if any(absent):
        told["absent"] = absent
    if not at_once:
        told["due_us"] = due_us
    return Sending({"outputs": told}, bodies, parts, room)


async def _check_partitions(server: Server, key: str, outputs: Sequence[Output]) -> None:
    layout = await server.layout()
    here = layout.partition_of(key)
    for pipe in (output.pipe for output in outputs):
        if layout.partition_of(key_of(pipe)) != here:
            raise HandlerError(
                f"{pipe} is in another partition of the storage than {key}, and cannot be stored in one step with what "
                "that acknowledges: register it with self.queue.register, or use a storage of one partition"
            )
