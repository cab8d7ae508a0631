"""Waiting on an event loop for processes to end. It works on any loop, and in any thread."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable

from shardq.supervisor.workers.member import Member

#: How soon to look again at a process for which no descriptor is left.
_BLIND_INTERVAL_S = 1.0


async def readable(descriptor: int) -> None:
    """Wait until there is something to read, or the other end is closed."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


async def ended(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end of a child."""
    while process.poll() is None:
        try:
            descriptor = os.pidfd_open(process.pid)
        except OSError:
            await asyncio.sleep(_BLIND_INTERVAL_S)
            continue
        try:
            await readable(descriptor)
        finally:
            os.close(descriptor)


async def workers_ended(workers: Callable[[], list[int]], timeout_s: float) -> None:
    """Wait for the end of workers that lost their supervisor. They leave by themselves after the batch in hand; those
    that are left after `timeout_s` are killed. `workers` returns the pids that are attached. Raises `OSError`.
    """
    kill_at = time.monotonic() + timeout_s
    while pids := workers():
        try:
            worker = Member.of(pids[0], 0, child=False)
        except ProcessLookupError:
            continue
        try:
            if worker.pid in workers():  # else the worker has ended, and a later process has its pid
                await _worker_ended(worker, kill_at)
        finally:
            worker.close()


async def _worker_ended(worker: Member, kill_at: float) -> None:
    try:
        async with asyncio.timeout(kill_at - time.monotonic()):
            await readable(worker.descriptor)
    except TimeoutError:
        worker.signal(signal.SIGKILL)
        await readable(worker.descriptor)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
