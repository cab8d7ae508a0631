"""The rival: `sharded-queue` with its Redis driver, each worker a process of its own.

We are generous to it: its settings have a worker that finds its tube empty look 16 times in 1.6 seconds before it goes
on to the next, and where all are empty pause for a second. Here it looks once and goes on, and pauses for a
millisecond. Where it waits for a request it has its own settings. It sends a quarter of what others send.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import uvloop
from redis.asyncio import Redis
from sharded_queue import Handler, Queue, Worker  # type: ignore[import-untyped]  # it ships none
from sharded_queue.drivers import RedisLock, RedisStorage  # type: ignore[import-untyped]  # it ships none

from bench.harness.contestant import Figures
from bench.harness.size import Size
from bench.load.jobs import PER_CALL, TOTALS, Ping, calls_of, numbered
from bench.load.percentiles import warm_percentiles_us
from bench.load.server import HOST, Server, server
from bench.rivals import ancestor
from bench.rivals.consumer import consumer

_CONTEXT = multiprocessing.get_context("fork")


class Noting(Handler):  # type: ignore[misc]  # an untyped package
    """Notes when a request arrives."""

    delays_ns: Any = None

    async def handle(self, *requests: Ping) -> None:
        now = time.monotonic_ns()
        for number, sent_ns in requests:
            self.delays_ns[number] = now - sent_ns


def calls(size: Size, *, call: int) -> Figures:
    total = size.count(max(call, TOTALS[call] // 4), call)
    warm = max(call, total // 10 // call * call)
    with server() as its, consumer(partial(_serve, its.port, (warm, total), True)) as wait:
        return uvloop.run(_calls(its, wait, call, warm, total))


def wake_ups(size: Size, *, pings: int, pause_s: float) -> Figures:
    count = size.count(pings)
    Noting.delays_ns = _CONTEXT.RawArray("q", count)
    with server() as its, consumer(partial(_serve, its.port, (count,), False)) as wait:
        uvloop.run(_wake_ups(its, count, pause_s))
        wait()
    return warm_percentiles_us(Noting.delays_ns)


def absent(size: Size, *, backlog: int) -> Figures:
    """See `bench.rivals.ancestor.absent`."""
    with server() as its:
        return uvloop.run(_absent(its, size.count(backlog, PER_CALL)))


def held(size: Size, *, call: int, total: int) -> Figures:
    """Bytes of the server for each message of a tube."""
    with server() as its:
        return uvloop.run(_held(its, size.count(total, call), call))


async def _calls(its: Server, wait: Callable[[], None], call: int, warm: int, total: int) -> Figures:
    async with _client(its.port) as client:
        queue = Queue(RedisStorage(client))
        await _seconds_for(queue, wait, call, warm)
        with its.measured(total) as spent:
            seconds = await _seconds_for(queue, wait, call, total)
    return {"end_to_end_per_s": total / seconds, **spent}


async def _seconds_for(queue: Queue, wait: Callable[[], None], call: int, total: int) -> float:
    start = time.perf_counter()
    for requests in calls_of(call, total):
        await queue.register(ancestor.Nothing, *requests)
    wait()
    return time.perf_counter() - start


async def _wake_ups(its: Server, count: int, pause_s: float) -> None:
    async with _client(its.port) as client:
        queue = Queue(RedisStorage(client))
        for number in range(count):
            await asyncio.sleep(pause_s)  # the pause is the scenario
            await queue.register(Noting, Ping(number, time.monotonic_ns()))


async def _absent(its: Server, backlog: int) -> Figures:
    async with _client(its.port) as client:
        return await ancestor.absent_among(Queue(RedisStorage(client)), backlog)


async def _held(its: Server, total: int, call: int) -> Figures:
    async with _client(its.port) as client:
        queue = Queue(RedisStorage(client))
        await queue.storage.length("none")  # connects
        before = its.used_bytes()
        for first in range(0, total, call):
            await queue.register(ancestor.OneTube, *numbered(first, call))
        each_bytes = (its.used_bytes() - before) / total
        payload_bytes = sum(len(queue.serializer.serialize(request)) for request in numbered(0, total)) / total
        return {"bytes_per_message": each_bytes, "beyond_bytes": max(0.0, each_bytes - payload_bytes)}


def idle(port: int, begun: Callable[[], None]) -> None:
    """A worker with nothing to do, and its own settings."""
    uvloop.run(_idle(port, begun))


async def _idle(port: int, begun: Callable[[], None]) -> None:
    async with _client(port) as client:
        queue = Queue(RedisStorage(client))
        await queue.storage.length("none")  # connects
        begun()
        await Worker(RedisLock(client), queue).loop()


def _serve(port: int, counts: tuple[int, ...], hurries: bool, flushed: Callable[[], None]) -> None:
    uvloop.run(_work(port, counts, hurries, flushed))


async def _work(port: int, counts: tuple[int, ...], hurries: bool, flushed: Callable[[], None]) -> None:
    async with _client(port) as client:
        worker = Worker(RedisLock(client), Queue(RedisStorage(client)))
        if hurries:
            worker.settings.empty_limit, worker.settings.empty_pause = 1, 0
            worker.settings.acquire_delay = 0.001
        for count in counts:
            await worker.loop(count)
            flushed()


def _client(port: int) -> Redis:
    return Redis(host=HOST, port=port, decode_responses=True)
