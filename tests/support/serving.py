"""A worker process without a supervisor: `python -m tests.support.serving NAME MODULE:Handler ...` serves a segment.

It says `ready` once it is attached, and serves these handlers alone until its standard input ends.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pkgutil import resolve_name
from signal import SIGKILL

import uvloop

from shardq import Worker, connect
from shardq.drivers import SharedLock, SharedStorage
from tests.support.python import Program

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def serving(name: str, *handlers: str, killed: bool = False) -> Iterator[int]:
    """Runs such a process, and yields its process id once it is attached. `killed`: the test kills it by itself."""
    with Program(
        (sys.executable, "-m", "tests.support.serving", name, *handlers),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process.pid
            process.stdin.close()
            assert process.wait(30) == (-SIGKILL if killed else 0)
        finally:
            process.kill()


async def _serve(name: str, handlers: list[str]) -> None:
    async with await connect(f"shm://{name}") as queue:
        assert isinstance(queue.storage, SharedStorage)
        worker = Worker(SharedLock(queue.storage), queue)
        asyncio.get_running_loop().add_reader(sys.stdin, worker.stop)
        print("ready", flush=True)
        await worker.loop(handler=tuple(map(resolve_name, handlers)))


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1], sys.argv[2:]))
