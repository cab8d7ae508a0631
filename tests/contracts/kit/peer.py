"""Another process at work on a backend, made to be killed.

    python -m tests.contracts.kit.peer DRIVER ADDRESS claim KEY
    python -m tests.contracts.kit.peer DRIVER ADDRESS append PIPE MESSAGE ...
    python -m tests.contracts.kit.peer DRIVER ADDRESS schedule PIPE MESSAGE DUE_US SCHEDULE
    python -m tests.contracts.kit.peer DRIVER ADDRESS append-absent GATE PIPE COUNT   numbers, each in a call of its own
    python -m tests.contracts.kit.peer DRIVER ADDRESS promote GATE KEY             once the thread KEY has messages

It does the one thing, prints the result as one line, and stays until its standard input ends. With a GATE, the key of a
thread, it begins when that has messages, so that several peers begin together.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from shardq.model import When, split_key
from tests.support.drivers import Backend, driver_named, tell_of_death
from tests.support.forked import Forked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


class Peer:
    """The process as seen from the test."""

    def __init__(self, process: Forked, said: str, tell: Callable[[int], None]) -> None:
        self._process = process
        self._tell = tell
        self.said = said

    async def kill(self) -> None:
        """SIGKILL, wait until the kernel reported the death, and tell the storage where only a supervisor would."""
        self._process.kill()
        self._tell(self._process.pid)


@asynccontextmanager
async def peer(root: Path, driver: str, address: str, *command: str) -> AsyncIterator[Peer]:
    process = Forked(main, (driver, address, *command))
    try:
        yield Peer(process, (await process.line_soon()).strip(), partial(tell_of_death, driver, address))
    finally:
        process.kill()


async def _do(backend: Backend, verb: str, *words: str) -> object:
    if verb == "claim":
        return await backend.new_lock().acquire(words[0])
    if verb == "append":
        return await backend.storage.append([(words[0], [word.encode() for word in words[1:]])])
    if verb == "schedule":
        when = When(int(words[2]), words[3])
        return await backend.storage.append([(words[0], [words[1].encode()])], when=when)
    await backend.storage.wait(frozenset({split_key(words[0])[0]}))
    if verb == "append-absent":
        numbers = [b"message-%d" % number for number in range(int(words[2]))]
        return sum([await backend.storage.append([(words[1], [number])], absent=True) or 0 for number in numbers])
    if verb == "promote":
        await backend.storage.wait(frozenset({split_key(words[1])[0]}))
        return await backend.storage.promote()
    raise SystemExit(f"unknown verb {verb}")


def main() -> None:
    name, address, *command = sys.argv[1:]
    attach = driver_named(name).attach
    assert attach is not None
    backend = attach(address)
    print(asyncio.run(_do(backend, *command)), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
