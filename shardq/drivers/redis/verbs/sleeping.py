"""Sleep until the server has something: look, lie down in the same step, and look again when woken.

A sleeper lies in all partitions that may have something for it. Woken by one it looks there, and lies on in the others.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from shardq.drivers.redis.servers.bells import Nap
from shardq.drivers.redis.servers.server import Server
from shardq.errors import StorageClosed

_Found = TypeVar("_Found")
#: Looks that are due within so many seconds are made together, when the last of them is due.
_TOGETHER_S = 0.005


class Look(NamedTuple):
    """What a look at one partition found."""

    found: Any = None
    sleeps: bool = False
    """The sleeper lies on the server, and will be woken."""
    for_us: int | None = None
    """It has to look again after so many microseconds."""
    looks_in_us: float | None = None
    """It looks for what no wake-up told it of after so many microseconds, when its turn has come. None: it takes no
    turns."""


class Places:
    """Where a sleeper lies, and where it has to look."""

    def __init__(
        self,
        partitions: Collection[int],
        safety_net_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.partitions = partitions
        self.todo = list(partitions)
        """Where it does not lie, or does not know: the partitions to look at, those that rang first."""
        self._safety_net_s = safety_net_s
        self._clock = clock
        self._nap: Nap | None = None
        self._names: dict[int, str] = {}
        """What it may be called where it lies, or lay."""
        self._ends: dict[int, float] = {}
        """When it has to look again, by the clock, where there is such a time."""

    def lie_as(self, partition: int) -> dict[str, Any]:
        """Arguments of a script that may let it lie down, and takes away where it lay."""
        told, former = dict[str, Any](), self._names.pop(partition, None)
        self._ends.pop(partition, None)
        if former:
            told["woken"] = former
        name = self._nap and self._nap.name(partition)
        if name:
            # Should it be cancelled now, the server may have written its name down.
            told["sleeper"] = self._names[partition] = name
            told["net_us"] = round(self._safety_net_s * 1e6)
            # Without an answer it may not lie there, and no bell rings.
            self._ends[partition] = self._clock() + self._safety_net_s
        return told

    def note(self, partition: int, seen: Look) -> None:
        """What the script said."""
        if seen.found is not None:
            self._names.pop(partition, None)
            self._ends.pop(partition, None)
            return
        spans = list[float]()
        if seen.for_us is not None:
            spans.append(seen.for_us / 1e6 + 0.0005)
        if seen.sleeps and partition in self._names:
            looks_in_s = self._safety_net_s if seen.looks_in_us is None else seen.looks_in_us / 1e6
            spans.append(looks_in_s + 0.002)
        if spans:
            self._ends[partition] = self._clock() + min(spans)

    @property
    def lies(self) -> list[int]:
        """Where its name may be written down."""
        return list(self._names)

    def named(self, partition: int) -> str:
        return self._names[partition]

    def lie_with(self, nap: Nap | None) -> None:
        self._nap = nap

    @property
    def next_s(self) -> float | None:
        """In how many seconds it has to look again."""
        if not self._ends:
            return None
        together = min(self._ends.values()) + _TOGETHER_S
        return max(end for end in self._ends.values() if end <= together) - self._clock()

    def wake(self, by: set[int] | None) -> None:
        """Rung by these partitions; None: maybe by all."""
        now = self._clock()
        over = {place for place, end in self._ends.items() if end <= now}
        # A look leaves out a partition whose server cannot be reached: its end must not stay in the past.
        self._ends |= dict.fromkeys(over, now + self._safety_net_s)
        if by is None:
            self.todo = list(self.partitions)
            return
        first = [place for place in self.partitions if place in by]
        # Where its name is not written down it is not looked at before the net: the server there cannot be reached.
        self.todo = [*first, *(place for place in self.partitions if place in over and place not in by)]


#: A look at `places.todo`, which lies down there. Returns what it found, None for nothing.
Looking = Callable[[Places], Awaitable[Any]]


async def until(
    server: Server,
    look: Looking,
    leave: dict[str, Any],
    timeout_s: float | None,
    safety_net_s: float,
    partitions: Collection[int],
    look_within_s: float | None = None,
) -> Any:
    """What `look` finds once it finds something; None after `timeout_s`. Those that wait for the same work in a
    partition look there in turns, one in `safety_net_s`, so that no wake-up is lost with the process that got it.
    `leave`: arguments of `leave.lua`. `look_within_s`: it is called anew so soon, also
    where there is nothing to look at.
    """
    places = Places(partitions, safety_net_s)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    if timeout_s is not None and timeout_s <= 0:
        return await look(places)
    bells = (await server.here()).bells
    nap = bells.nap()
    try:
        while True:
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                places.lie_with(None)
                places.wake(None)
                return await look(places)
            await bells.listen(places.todo)
            places.lie_with(nap)
            found = await look(places)
            if found is not None:
                return found
            # A server that cannot be reached does not know the sleeper, and what is there has to be looked for.
            blind_s = None if len(places.lies) == len(partitions) else safety_net_s * random.uniform(0.8, 1.2)
            begun, spans = time.monotonic(), (blind_s, left_s, places.next_s, look_within_s)
            by = await nap.rung(min((span for span in spans if span is not None), default=None))
            blind = not by and blind_s is not None and time.monotonic() - begun >= blind_s
            places.wake(None if blind else by)
    finally:
        nap.end()
        if places.lies:
            with suppress(StorageClosed):
                await server.post("leave", {place: leave | {"sleeper": places.named(place)} for place in places.lies})
