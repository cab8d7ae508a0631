"""`python -m examples.replay EVENTS DATABASE shm://NAME`: replay a stream. Whatever was killed, the same command goes
on where it was.
"""

from __future__ import annotations

import asyncio
import os
import sys

from examples.replay.handlers import Position, Read
from examples.replay.ledger import DATABASE_VARIABLE, opened, sums
from shardq import Supervisor


async def main(events: str, database: str, url: str) -> None:
    os.environ[DATABASE_VARIABLE] = database
    async with Supervisor("examples.replay.handlers", url=url) as supervisor:
        if await supervisor.drain(timeout_s=0):  # else a replay was cut off, and goes on
            await supervisor.queue.register(Read, Position(events))
        await supervisor.drain()
    print("{:,} events, balances of {:,} in all".format(*sums(opened())))


if __name__ == "__main__":
    asyncio.run(main(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3]))
