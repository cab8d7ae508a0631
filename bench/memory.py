"""What things cost in memory: queued messages, live and drained tubes, idle workers.

A segment is measured by the kernel's own count of its pages, a process by its proportional share (PSS), in which memory
that n processes share counts 1/n for each.
"""

from __future__ import annotations

import os

import msgspec
import psutil
import uvloop

from bench.jobs import Job, jobs
from bench.segment import segment
from bench.until import until
from shardq import Supervisor
from shardq.drivers import SharedStorage
from shardq.handler import drive
from shardq.model import Hand, Terms
from shardq.shm.words import PAGE, THREAD_BYTES, TUBE_WORDS, WORD

CAPACITY_BYTES = 512 << 20
MESSAGES = 1_000_000
TUBES = 50_000
WORKERS = 8


def messages_one_by_one() -> dict[str, float]:
    return _per_message(1)


def messages_by_128() -> dict[str, float]:
    return _per_message(128)


def messages_by_1024() -> dict[str, float]:
    return _per_message(1024)


def payload() -> dict[str, float]:
    """The floor: the encoded requests and nothing else."""
    encoded = _encoded(len(jobs()))
    return {"bytes_per_message": sum(map(len, encoded)) / len(encoded)}


def tubes() -> dict[str, float]:
    """Tubes with one message each, and the same tubes once they are drained."""
    [message] = _encoded(1)
    with segment(CAPACITY_BYTES) as storage:
        memory = storage.store.segment
        before = memory.used_bytes
        for number in range(TUBES):
            _append(storage, number, [message])
        live = memory.used_bytes
        for number in range(TUBES):
            token = drive(storage.claim(_key(number)))
            batch = drive(storage.take(_key(number), token, Terms((0,), 1)))
            drive(storage.pop(Hand(_key(number), token, batch), 1))
            drive(storage.unclaim(_key(number), token))
        drained = memory.used_bytes
    return {"live_bytes": (live - before) / TUBES, "drained_bytes": (drained - before) / TUBES}


def page() -> dict[str, float]:
    """The floor: the entries that a tube and its thread have in the tables, and a page while there is a message."""
    entries = THREAD_BYTES + TUBE_WORDS * WORD
    return {"live_bytes": float(entries + PAGE), "drained_bytes": float(entries)}


def workers() -> dict[str, float]:
    return uvloop.run(_family())


def processes() -> dict[str, float]:
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


def _per_message(per_call: int) -> dict[str, float]:
    encoded, calls = _encoded(len(jobs())), MESSAGES // per_call
    many = encoded + encoded[:per_call]  # any call's messages are a slice of it, whose payload is alike over all calls
    with segment(CAPACITY_BYTES) as storage:
        before = storage.store.segment.used_bytes
        for number in range(calls):
            first = number * per_call % len(encoded)
            _append(storage, 0, many[first : first + per_call])
        after = storage.store.segment.used_bytes
    return {"bytes_per_message": (after - before) / (calls * per_call)}


def _encoded(count: int) -> list[bytes]:
    return list(map(msgspec.msgpack.Encoder().encode, jobs()[:count]))


def _key(number: int) -> str:
    return f"{Job.__module__}/Nothing/{number}"


def _append(storage: SharedStorage, number: int, messages: list[bytes]) -> None:
    if not drive(storage.append([(f"{_key(number)}/0", messages)])):
        raise RuntimeError(f"the segment is full: it holds only {storage.store.inspection.counts().accepted} messages")


async def _family() -> dict[str, float]:
    async with Supervisor("bench.jobs", workers=WORKERS) as supervisor:
        storage = supervisor.queue.storage
        assert isinstance(storage, SharedStorage)
        await until(lambda: storage.store.waiting.asleep() == WORKERS)
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


def _footprint(pids: list[int]) -> dict[str, float]:
    found = [psutil.Process(pid).memory_full_info() for pid in pids]
    return {
        "pss_mib": sum(memory.pss for memory in found) / len(found) / (1 << 20),
        "uss_mib": sum(memory.uss for memory in found) / len(found) / (1 << 20),
        "rss_mib": sum(memory.rss for memory in found) / len(found) / (1 << 20),
    }
