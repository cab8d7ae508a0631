"""What things cost in memory: queued messages, live and drained tubes, idle workers.

A segment is measured by the kernel's own count of its pages, a process by its proportional share (PSS), in which memory
that n processes share counts 1/n for each.
"""

from __future__ import annotations

import os

import msgspec
import psutil
import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.inside import asleep, shared, used_bytes
from bench.load.jobs import JOBS, PER_CALL, NewThread, One, Ping, numbered
from bench.load.segment import segment
from bench.load.until import until
from shardq import Queue, Supervisor, Worker
from shardq.drivers import SharedLock
from shardq.settings import WorkerSettings
from shardq.shm.words import PAGE, THREAD_BYTES, TUBE_WORDS, WORD

CAPACITY_BYTES = 512 << 20
MESSAGES = 100_000
TUBES = 20_000
WORKERS = 8


def messages(size: Size, *, call: int) -> Figures:
    return uvloop.run(_per_message(size.count(MESSAGES, call), call))


def payload(size: Size) -> Figures:
    """The floor: the encoded requests and nothing else."""
    encoded = list(map(msgspec.msgpack.Encoder().encode, numbered(0, PER_CALL)))
    return {"bytes_per_message": sum(map(len, encoded)) / len(encoded)}


def tubes(size: Size) -> Figures:
    """Tubes with one message each, and the same tubes once they are drained."""
    return uvloop.run(_tubes(size.count(TUBES)))


def page(size: Size) -> Figures:
    """The floor: the entries that a tube and its thread have in the tables, and a page while there is a message."""
    entries = THREAD_BYTES + TUBE_WORDS * WORD
    return {"live_bytes": float(entries + PAGE), "drained_bytes": float(entries)}


def workers(size: Size) -> Figures:
    return uvloop.run(_family())


def processes(size: Size) -> Figures:
    """The floor: forked processes that sleep in an event loop and know nothing of shardq."""
    reading, writing = os.pipe()
    children = [child for _ in range(WORKERS) if (child := _fork_sleeper(reading, writing))]
    try:
        for _ in range(WORKERS):
            os.read(reading, 1)
        return _footprint(children)
    finally:
        for child in children:
            os.kill(child, 9)
            os.waitpid(child, 0)


async def _per_message(total: int, call: int) -> Figures:
    """Bytes of the segment for each message, in one tube."""
    made = numbered(0, PER_CALL)
    many = made + made[:call]  # any call is a slice of it, and over all calls their contents are alike
    with segment(CAPACITY_BYTES) as storage:
        queue = Queue(storage)
        before = used_bytes(storage)
        for first in range(0, total, call):
            start = first % PER_CALL
            await queue.register(One, *many[start : start + call])
        return {"bytes_per_message": (used_bytes(storage) - before) / total}


async def _tubes(count: int) -> Figures:
    with segment(CAPACITY_BYTES) as storage:
        queue, before = Queue(storage), used_bytes(storage)
        await queue.register(NewThread, *(Ping(number, 0) for number in range(count)))
        live = used_bytes(storage)
        await Worker(SharedLock(storage), queue, WorkerSettings(empty_limit=0)).loop(count)
        return {"live_bytes": (live - before) / count, "drained_bytes": (used_bytes(storage) - before) / count}


async def _family() -> Figures:
    async with Supervisor(JOBS, workers=WORKERS) as supervisor:
        storage = shared(supervisor.queue.storage)
        await until(lambda: asleep(storage) == WORKERS)
        return _footprint([worker.pid for worker in supervisor.stats().workers])


def _fork_sleeper(reading: int, writing: int) -> int:
    child = os.fork()
    if child:
        return child
    try:
        loop = uvloop.new_event_loop()
        loop.call_soon(os.write, writing, b".")
        loop.run_forever()
    finally:
        os._exit(1)


def _footprint(pids: list[int]) -> Figures:
    found = [psutil.Process(pid).memory_full_info() for pid in pids]
    return {
        "pss_mib": sum(memory.pss for memory in found) / len(found) / (1 << 20),
        "uss_mib": sum(memory.uss for memory in found) / len(found) / (1 << 20),
        "rss_mib": sum(memory.rss for memory in found) / len(found) / (1 << 20),
    }


SCENARIOS = (
    Scenario(
        "messages",
        "memory of queued messages in one thread, by the size of the call that brought them",
        (Figure("bytes_per_message", "bytes of the segment for each message", "bytes", less_is_better=True),),
        (
            *(Contestant(f"calls of {call:,}", f"{__name__}:messages", {"call": call}) for call in (128, 1_024, 1)),
            Contestant("payload alone", f"{__name__}:payload", kind=Kind.FLOOR),
        ),
        "The segment is measured by its own count of the bytes in use, the payload is what msgspec makes of the "
        "request.",
    ),
    Scenario(
        "tubes",
        "memory of many tubes",
        (
            Figure("live_bytes", "of a tube with one message", "bytes", less_is_better=True),
            Figure("drained_bytes", "of a tube that was drained", "bytes", less_is_better=True),
        ),
        (
            Contestant("shardq", f"{__name__}:tubes"),
            Contestant("table entries, and a page", f"{__name__}:page", kind=Kind.FLOOR),
        ),
        "Each thread of a handler has one tube for each priority that is used.",
    ),
    Scenario(
        "workers",
        f"memory of each of {WORKERS} idle workers",
        (
            Figure("pss_mib", "proportional share: what n processes share counts 1/n", "MiB", less_is_better=True),
            Figure("uss_mib", "what it shares with no other process", "MiB", less_is_better=True),
            Figure("rss_mib", "all of it, shared or not", "MiB", less_is_better=True),
        ),
        (
            Contestant("shardq", f"{__name__}:workers"),
            Contestant("forked uvloop", f"{__name__}:processes", kind=Kind.FLOOR),
        ),
        "The floor is as many processes that did nothing but fork and start an event loop.",
    ),
)
