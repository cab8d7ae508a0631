"""Makes dead letters of what no worker serves."""

from __future__ import annotations

import argparse

from shardq.auditing import Deed
from shardq.cli.bulk import add, interruptible
from shardq.cli.dead.reading import check_holds_requests
from shardq.cli.opened import changed, run
from shardq.cli.render import report
from shardq.errors import ConfigurationError, QueueFull
from shardq.model import Hand, Terms, dead_pipe, key_of, priority_of, split_key
from shardq.protocols import Storage
from shardq.text.wording import counted
from shardq.working.failure import parked


def park(options: argparse.Namespace) -> None:
    """Make dead letters of what is in a tube."""
    count = run(_park(options))
    report(options, f"{count:,} parked", parked=count)


async def _park(options: argparse.Namespace) -> int:
    async with changed(options, "park", options.pipe) as (storage, deed):
        with interruptible(deed, "parked"):
            await park_in(storage, options.pipe, deed)
        return deed.count


async def park_in(storage: Storage, pipe: str, deed: Deed, most: int | None = None) -> None:
    """Make dead letters of the requests of a tube, of the first `most` at most, and count them. Raises
    `ConfigurationError` where there are none, or they are handed out to a worker or to none, and `QueueFull`.
    """
    check_holds_requests(pipe)
    handler, _ = split_key(key := key_of(pipe))
    if not await storage.length(pipe):
        raise ConfigurationError(f"{pipe} has nothing in it: `tubes` shows the tubes that have")
    if handler in [its.handler for its in await storage.pauses()]:
        raise ConfigurationError(f"{handler} is paused, and none of its requests is handed out: resume it first")
    token = await storage.claim(key)
    if not token:
        raise ConfigurationError(f"a worker serves {pipe} now: `park` takes only a tube that no worker serves")
    try:
        await _parked(storage, pipe, token, deed, most)
    finally:
        await storage.unclaim(key, token)


async def _parked(storage: Storage, pipe: str, token: int, deed: Deed, most: int | None) -> None:
    key, terms = key_of(pipe), Terms((priority_of(pipe),), 1)
    grave = dead_pipe(split_key(key)[0])
    while (most is None or deed.count < most) and (batch := await storage.take(key, token, terms)).count:
        letter = parked(batch).encoded()
        if not await storage.bury(Hand(key, token, batch), batch.sequence, grave, letter):
            parked_so_far = counted(deed.count, "request of", "requests of")
            raise QueueFull(f"no room for more dead letters: {parked_so_far} {pipe} became some")
        await add(deed, 1)
