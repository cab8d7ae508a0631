"""A holder of a thread that is going to die with what it has in hand.

    python -m tests.contracts.kit.holder DRIVER ADDRESS KEY STEP ...

It claims the thread, does the steps on its first tube, prints a line, and stays until its standard input ends. Steps
are `take=N`, `pop=N` (the first N of what it took), `fail`, `give_back=N` and `release`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shardq.model import EMPTY, Hand, Terms
from shardq.protocols import Lock
from tests.support.drivers import Backend, driver_named
from tests.support.forked import Forked


async def hold(backend: Backend, key: str, *steps: str) -> Lock:
    """Claim the thread and do the steps."""
    storage, lock, batch = backend.storage, backend.new_lock(), EMPTY
    token = await lock.acquire(key)
    assert token, f"{key} is claimed"
    for step in steps:
        verb, _, number = step.partition("=")
        if verb == "take":
            batch = await storage.take(key, token, Terms((0,), int(number)))
        elif verb == "pop":
            await storage.pop(Hand(key, token, batch), int(number))
        elif verb == "fail":
            await storage.fail(Hand(key, token, batch))
        elif verb == "give_back":
            await storage.give_back(Hand(key, token, batch), int(number))
        elif verb == "release":
            await lock.release(key)
        else:
            raise SystemExit(f"unknown step {step}")
    return lock


@asynccontextmanager
async def holding(root: Path, driver: str, address: str, key: str, *steps: str) -> AsyncIterator[int]:
    """Another process that did the steps; gives its pid. At the end of the block it is killed, and dead."""
    process = Forked(main, (driver, address, key, *steps))
    try:
        assert await process.line_soon(), "the holder ended before it did its steps"
        yield process.pid
    finally:
        process.kill()


def main() -> None:
    name, address, key, *steps = sys.argv[1:]
    attach = driver_named(name).attach
    assert attach is not None
    asyncio.run(hold(attach(address), key, *steps))
    print("done", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
