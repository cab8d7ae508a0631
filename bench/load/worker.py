"""The other process: `python -m bench.load.worker URL LIMIT` serves a storage until `LIMIT` requests are done.

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
from pathlib import Path
from typing import Any

import uvloop

from bench.load.counted import CountedWorker
from bench.load.jobs import delays_ns
from shardq import connect, drivers
from shardq.drivers import SharedLock, SharedStorage


class Peer:
    """A running `bench.load.worker`, as its starter sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def processor_ns(self) -> int:
        """What it has used of a processor so far, but for threads beside its loop."""
        return int(Path(f"/proc/{self._process.pid}/schedstat").read_text().split()[0])

    async def result(self) -> dict[str, Any]:
        """What it says at its end. Raises `RuntimeError` where it ended without a word."""
        output, _ = await self._process.communicate()
        if not output:
            raise RuntimeError(f"the worker ended with status {self._process.returncode}")
        said: dict[str, Any] = json.loads(output)
        return said


@asynccontextmanager
async def serving(url: str, limit: int) -> AsyncIterator[Peer]:
    """Starts a worker process and waits until it is attached."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "bench.load.worker", url, str(limit)),
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


async def _serve(url: str, limit: int) -> None:
    async with await connect(url) as queue:
        storage = queue.storage
        lock = SharedLock(storage) if isinstance(storage, SharedStorage) else drivers.RedisLock(storage)
        worker = CountedWorker(lock, queue)
        print("ready", flush=True)
        await worker.loop(limit)
        end_ns = time.monotonic_ns()
    print(json.dumps({"end_ns": end_ns, "delays_ns": delays_ns}), flush=True)


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1], int(sys.argv[2])))
