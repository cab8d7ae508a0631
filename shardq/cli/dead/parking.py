"""Makes dead letters of what no worker serves."""

from __future__ import annotations

import argparse

from shardq.cli.opened import changed, run
from shardq.cli.render import report
from shardq.errors import ConfigurationError, QueueFull
from shardq.model import Hand, Terms, dead_pipe, key_of, priority_of, split_key
from shardq.text.wording import counted
from shardq.working.failure import parked


def park(options: argparse.Namespace) -> None:
    """Make dead letters of what is in a tube."""
    count = run(_park(options))
    report(options, f"{count:,} parked", parked=count)


async def _park(options: argparse.Namespace) -> int:
    pipe = options.pipe
    key = key_of(pipe)
    grave = dead_pipe(split_key(key)[0])
    if pipe == grave:
        raise ConfigurationError(f"{pipe} holds dead letters already: `dead list` shows them")
    async with changed(options, "park", pipe) as (storage, deed):
        if not await storage.length(pipe):
            raise ConfigurationError(f"{pipe} has nothing in it: `tubes` shows the tubes that have")
        token = await storage.claim(key)
        if not token:
            raise ConfigurationError(f"a worker serves {pipe} now: `park` takes only a tube that no worker serves")
        try:
            terms = Terms((priority_of(pipe),), 1)
            while (batch := await storage.take(key, token, terms)).count:
                hand = Hand(key, token, batch)
                if not await storage.bury(hand, batch.sequence, grave, parked(batch).encoded()):
                    parked_so_far = counted(deed.count, "request of", "requests of")
                    raise QueueFull(f"no room for more dead letters: {parked_so_far} {pipe} became some")
                deed.count += 1
        finally:
            await storage.unclaim(key, token)
        return deed.count
