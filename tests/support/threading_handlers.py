"""Handlers that register from everywhere but their own call, in a storage that has no room."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from pathlib import Path
from typing import Any, NamedTuple

from shardq import Handler
from shardq.errors import QueueFull

#: Has the pool of the module start its thread at the import, as a library does that a handler uses.
EARLY = "TESTS_EARLY_POOL"

_pool = ThreadPoolExecutor(1)
if os.environ.get(EARLY):
    _pool.submit(int).result()


class Ask(NamedTuple):
    where: str
    file: str = ""


class Sink(Handler[bytes]):
    """No worker serves it."""

    def perform(self, *blobs: bytes) -> None:
        raise AssertionError("no worker serves this")


class Threading(Handler[Ask]):
    """Registers until it is told that there is no room, and notes that."""

    async def perform(self, *asks: Ask) -> None:
        for ask in asks:
            await WHERE[ask.where](lambda file=ask.file: self._fill(file))

    def _fill(self, file: str) -> None:
        try:
            while True:
                self.queue.register_sync(Sink, bytes(2000))
        except QueueFull:
            if file:
                Path(file).write_text("full")


async def _thread(work: Callable[[], Any]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


async def _thread_of_a_thread(work: Callable[[], Any]) -> None:
    def start() -> None:
        inner = threading.Thread(target=work)
        inner.start()
        inner.join()

    await _thread(start)


async def _pool_of_its_own(work: Callable[[], Any]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


async def _executor_of_the_loop(work: Callable[[], Any]) -> None:
    await asyncio.get_running_loop().run_in_executor(None, work)


async def _to_thread(work: Callable[[], Any]) -> None:
    await asyncio.to_thread(work)


async def _task(work: Callable[[], Any]) -> None:
    async def run() -> None:
        work()

    await asyncio.create_task(run())


async def _module_pool(work: Callable[[], Any]) -> None:
    _pool.submit(work).result()


async def _forked(work: Callable[[], Any]) -> None:
    child = multiprocessing.get_context("fork").Process(target=work)
    Context().run(child.start)  # it knows nothing of the batch
    child.join()


WHERE = {
    "thread": _thread,
    "thread of a thread": _thread_of_a_thread,
    "pool": _pool_of_its_own,
    "executor": _executor_of_the_loop,
    "to_thread": _to_thread,
    "task": _task,
    "module pool": _module_pool,
    "forked": _forked,
}
