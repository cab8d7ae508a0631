"""Sleep until the server has something: look, lie down in the same step, and look again when woken.

A sleeper lies in all partitions that may have something for it. Woken by one it looks there, and lies on in the others.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from shardq.drivers.redis.bells import Nap
from shardq.drivers.redis.server import Server
from shardq.errors import StorageClosed

_Found = TypeVar("_Found")


class Look(NamedTuple):
    """What a look at one partition found."""

    found: Any = None
    sleeps: bool = False
    """The sleeper lies on the server, and will be woken."""
    for_us: int | None = None
    """It has to look again after so many microseconds."""
    sleepers: int = 1
    """So many sleep on the server."""


class Places:
    """Where a sleeper lies, and where it has to look."""

    def __init__(self, partitions: Collection[int]) -> None:
        self.partitions = partitions
        self.todo = list(partitions)
        """Where it does not lie, or does not know: the partitions to look at, those that rang first."""
        self.sleepers = 1
        self._nap: Nap | None = None
        self._names: dict[int, str] = {}
        """What it may be called where it lies, or lay."""
        self._ends: dict[int, float | None] = {}
        """Where it lies, and when it has to look again, monotonic."""

    def lie_as(self, partition: int) -> dict[str, str]:
        """Arguments of a script that may let it lie down, and takes away where it lay."""
        told, former = dict[str, str](), self._names.pop(partition, None)
        self._ends.pop(partition, None)
        if former:
            told["woken"] = former
        name = self._nap and self._nap.name(partition)
        if name:
            # Should it be cancelled now, the server may have written its name down.
            told["sleeper"] = self._names[partition] = name
        return told

    def note(self, partition: int, seen: Look) -> None:
        """What the script said."""
        self.sleepers = max(self.sleepers, seen.sleepers)
        if seen.found is None and seen.sleeps and partition in self._names:
            self._ends[partition] = None if seen.for_us is None else time.monotonic() + seen.for_us / 1e6 + 0.0005
        elif seen.found is not None:
            self._names.pop(partition, None)
        if seen.found is None and seen.for_us is not None:
            self._ends[partition] = time.monotonic() + seen.for_us / 1e6 + 0.0005

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
        ends = [end for end in self._ends.values() if end is not None]
        return min(ends) - time.monotonic() if ends else None

    def wake(self, by: set[int] | None, *, all_of_them: bool) -> None:
        """Rung by these partitions; None: maybe by all."""
        now = time.monotonic()
        if by is None or all_of_them:
            rung = by or set()
            self.todo = sorted(self.partitions, key=lambda place: place not in rung)
            return
        over = {place for place, end in self._ends.items() if end is not None and end <= now}
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
) -> Any:
    """What `look` finds once it finds something; None after `timeout_s`. All sleepers of the storage together look
    about once in `safety_net_s`, so that no wake-up is lost with the process that got it. `leave`: arguments of
    `leave.lua`.
    """
    places = Places(partitions)
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
                places.wake(None, all_of_them=True)
                return await look(places)
            await bells.listen(places.todo)
            places.lie_with(nap)
            found = await look(places)
            if found is not None:
                return found
            heard = len(places.lies) == len(partitions)
            net_s = safety_net_s * (max(1, places.sleepers) if heard else 1) * random.uniform(0.8, 1.2)
            begun = time.monotonic()
            by = await nap.rung(min(span for span in (net_s, left_s, places.next_s) if span is not None))
            places.wake(by, all_of_them=not by and time.monotonic() - begun >= net_s)
    finally:
        nap.end()
        if places.lies:
            with suppress(StorageClosed):
                await server.post("leave", {place: leave | {"sleeper": places.named(place)} for place in places.lies})
