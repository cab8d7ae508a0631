"""Sleep until the server has something: look, lie down in the same step, and look again when woken."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from shardq.drivers.redis.server import Server

_Found = TypeVar("_Found")


class Look(NamedTuple):
    """What a look found."""

    found: Any = None
    sleeps: bool = False
    """The sleeper lies on the server, and will be woken."""
    for_us: int | None = None
    """It has to look again after so many microseconds."""
    sleepers: int = 1
    """So many sleep on the server."""


#: A look: given the name of a sleeper that may lie down, and of one that lay down before.
Looking = Callable[[str | None, str | None], Awaitable[Look]]


async def until(
    server: Server,
    look: Looking,
    leave: dict[str, Any],
    timeout_s: float | None,
    safety_net_s: float,
    look_within_s: float | None = None,
) -> Any:
    """What `look` finds once it finds something; None after `timeout_s`. All sleepers of the storage together look
    about once in `safety_net_s`, so that no wake-up is lost with the process that got it; each looks again within
    `look_within_s` (None: it need not). `leave`: arguments of `leave.lua`.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    if timeout_s is not None and timeout_s <= 0:
        return (await look(None, None)).found
    here = await server.here()
    nap, woken = here.bell.nap(), None
    try:
        while True:
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                seen, woken = await look(None, woken), None
                return seen.found
            heard = await here.bell.listen()
            sleeper = nap.name if heard else None
            # Should it be cancelled now, the server may have written its name down.
            before, woken = woken, sleeper or woken
            seen = await look(sleeper, before)
            if seen.found is not None:
                woken = None
                return seen.found
            net_s = safety_net_s * (max(1, seen.sleepers) if heard else 1) * random.uniform(0.8, 1.2)
            spans = [net_s, left_s, look_within_s, None if seen.for_us is None else seen.for_us / 1e6 + 0.0005]
            await nap.rung(min(span for span in spans if span is not None))
    except asyncio.CancelledError:
        if woken:
            await server.post("leave", 0, leave | {"sleeper": woken})
        raise
    finally:
        nap.end()
