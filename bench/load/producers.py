"""Producers in processes of their own, which begin at one time."""

from __future__ import annotations

import multiprocessing
from types import TracebackType
from typing import Self

import uvloop

from bench.load.jobs import Nothing, calls_of
from shardq import connect

_CONTEXT = multiprocessing.get_context("fork")


class Producers:
    """So many processes; each registers `each` requests in calls of one size. They are forked on entering."""

    def __init__(self, count: int, url: str, call: int, each: int) -> None:
        self._url, self._call, self._each = url, call, each
        self._may_connect, self._connected, self._may_begin = (_CONTEXT.Semaphore(0) for _ in range(3))
        self._processes = [_CONTEXT.Process(target=self._run, daemon=True) for _ in range(count)]

    def __enter__(self) -> Self:
        for process in self._processes:
            process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.join()

    def connect(self) -> None:
        """Let them connect, which takes a segment that exists, and wait until all have."""
        for _ in self._processes:
            self._may_connect.release()
        for _ in self._processes:
            self._connected.acquire()

    def produce(self) -> None:
        """Let them begin, and wait until all have ended."""
        for _ in self._processes:
            self._may_begin.release()
        for process in self._processes:
            process.join()
            if process.exitcode:
                raise RuntimeError(f"a producer ended with status {process.exitcode}")

    def _run(self) -> None:
        self._may_connect.acquire()
        uvloop.run(self._produce())

    async def _produce(self) -> None:
        async with await connect(self._url) as queue:
            self._connected.release()
            self._may_begin.acquire()
            for requests in calls_of(self._call, self._each):
                await queue.register(Nothing, *requests)
