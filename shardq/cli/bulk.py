"""What commands have in common that change many things: they say what was done before an error or Ctrl-C ended them,
and it is recorded.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from shardq.auditing import Deed
from shardq.cli.opened import changed
from shardq.cli.output import CommandFailed, Interrupted
from shardq.errors import ShardqError
from shardq.protocols import Storage


@asynccontextmanager
async def bulk(options: argparse.Namespace, what: str, target: str, done: str) -> AsyncIterator[tuple[Storage, Deed]]:
    """As `changed`, and `interruptible`. An error says as well how much was done before it."""
    async with changed(options, what, target) as (storage, deed):
        with interruptible(deed, done):
            try:
                yield storage, deed
            except ShardqError as error:
                if not deed.count:
                    raise
                raise CommandFailed(f"{error}; {deed.count:,} were {done} before that") from error


@contextmanager
def interruptible(deed: Deed, done: str) -> Iterator[None]:
    """Where Ctrl-C cancels it half-way `Interrupted` says how much was done, in the words `done`."""
    try:
        yield
    except asyncio.CancelledError as error:
        if not deed.count:
            raise
        raise Interrupted(f"interrupted; {deed.count:,} were {done} before that") from error


async def add(deed: Deed, done: int) -> None:
    """Count what was done, and let Ctrl-C end it here: in shared memory nothing else waits for the event loop."""
    deed.count += done
    await asyncio.sleep(0)
