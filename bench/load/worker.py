"""The other process: `python -m bench.load.worker NAME LIMIT` serves a segment until `LIMIT` requests are done.

It says `ready` once it is attached, and at the end one JSON object: when the last request was acknowledged, and the
delays its handlers noted.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from bench.load.jobs import delays_ns
from shardq import Worker, connect
from shardq.drivers import SharedLock, SharedStorage
from shardq.working.hooks import Hooks


class Peer:
    """A running `bench.load.worker`, as its starter sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def result(self) -> dict[str, Any]:
        """What it says at its end. Raises `RuntimeError` where it ended without a word."""
        output, _ = await self._process.communicate()
        if not output:
            raise RuntimeError(f"the worker ended with status {self._process.returncode}")
        said: dict[str, Any] = json.loads(output)
        return said


@asynccontextmanager
async def serving(name: str, limit: int) -> AsyncIterator[Peer]:
    """Starts a worker process and waits until it is attached."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "bench.load.worker", name, str(limit)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    try:
        yield Peer(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _serve(name: str, limit: int) -> None:
    async with await connect(f"shm://{name}") as queue:
        assert isinstance(queue.storage, SharedStorage)
        left = limit

        def count(done: int) -> None:
            nonlocal left
            left -= done
            if left <= 0:
                worker.stop()

        # With a limit of its own the loop takes each batch in a step by itself, which no worker of a family does.
        worker = Worker(SharedLock(queue.storage), queue, hooks=Hooks(after_batch=count))
        print("ready", flush=True)
        await worker.loop()
        end_ns = time.monotonic_ns()
    print(json.dumps({"end_ns": end_ns, "delays_ns": delays_ns}), flush=True)


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1], int(sys.argv[2])))
