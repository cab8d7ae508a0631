"""Calls of the sizes that people have, end to end: one producer, and one or more workers, over 16 threads."""

from __future__ import annotations

import os
from collections.abc import Iterator

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.family import seconds_for
from bench.load.jobs import CALL, CAPACITY_BYTES, TOTALS, Nothing, calls_of
from shardq import Supervisor
from shardq.drivers.shared.engine import VARIABLE

_WORKERS = (1, 2, 4)

_CAVEATS = """
One producer; shardq's workers and the rivals' consumers are processes of their own, except those of `sharded-queue`,
whose in-memory driver has but the producer's process, and which is drained after each call. shardq keeps order within
each of 16 threads and loses nothing when a process is killed. `multiprocessing.Queue` (each call put as one list),
`ProcessPoolExecutor.map`, `Pool.imap` and joblib (chunks of one call) keep no order between consumers, and what a
killed consumer had in hand is lost. `faster-fifo` (`put_many` for a call, `get_many` for a batch) is held up for ever
by a process that is killed while it has the ring's lock. `localqueue` and `huey` keep requests in a file of SQLite in
the folder for temporary files: where that is on a disk, requests outlive a restart of the machine. Each of the two
looks for new requests from time to time. The first floor routes, groups, encodes and frames each call as a queue in
pure Python has to, writes it to a pipe at once, and decodes each thread's part in one other process: with its core in
C, which groups and frames in less, shardq may be above it. The second floor carries each call as one msgspec blob and
routes nothing. Both can lose what they carry. More processes than cores slow each other down, whatever the queue."""


def family(size: Size, *, workers: int, call: int, sync: bool = False, engine: str = "") -> Figures:
    """`engine`: what does the frequent case. Empty: the core in C, where it is there."""
    if engine:
        os.environ[VARIABLE] = engine
    return uvloop.run(_family(size, workers, call, sync))


async def _family(size: Size, workers: int, call: int, sync: bool) -> Figures:
    total = size.count(TOTALS[call], call)
    async with Supervisor(Nothing, workers=workers, capacity_bytes=CAPACITY_BYTES) as served:
        await seconds_for(served, Nothing, calls_of(call, total // 10), sync=sync)  # to warm up
        return {"end_to_end_per_s": total / await seconds_for(served, Nothing, calls_of(call, total), sync=sync)}


def _scenario(call: int) -> Scenario:
    sync = call == 1
    verb = ", register_sync" if sync else ""
    put = "single" if call == 1 else "lists"
    own = [
        Contestant(
            f"shardq{verb}, {workers} worker{'s' * (workers > 1)}",
            f"{__name__}:family",
            {"workers": workers, "call": call, "sync": sync},
        )
        for workers in _WORKERS
    ]
    if sync:
        own.append(Contestant("shardq, await register, 1 worker", f"{__name__}:family", {"workers": 1, "call": call}))
    if call == max(TOTALS):
        arguments = {"workers": 1, "call": call, "engine": "python"}
        own.append(Contestant("shardq without its core in C, 1 worker", f"{__name__}:family", arguments))
    queues = [
        Contestant(
            f"multiprocessing.Queue, {put}, {consumers} consumer{'s' * (consumers > 1)}",
            "bench.rivals.process_queue:calls",
            {"consumers": consumers, "call": call},
            Kind.RIVAL,
            against=mine.name,
        )
        for consumers, mine in zip(_WORKERS, own, strict=False)
    ]
    return Scenario(
        f"calls-{call}",
        "single requests, end to end" if call == 1 else f"calls of {call:,} requests over 16 threads, end to end",
        (Figure("end_to_end_per_s", "end to end", "requests/s"),),
        (*own, *queues, *_others(call)),
        _CAVEATS,
    )


def _others(call: int) -> Iterator[Contestant]:
    """Those that have one consumer, but for joblib."""
    arguments = {"call": call}
    yield _rival("ProcessPoolExecutor.map, 1 worker", "executor:calls", {**arguments, "workers": 1})
    yield _rival("multiprocessing.Pool.imap, 1 worker", "pool:calls", {**arguments, "workers": 1})
    if call == CALL:
        yield _rival("joblib, 2 workers", "joblib:calls", {**arguments, "workers": 2}, "joblib", "shardq, 2 workers")
    yield _rival("sharded-queue, in process", "ancestor:calls", arguments, "sharded_queue")
    yield _rival("faster-fifo", "faster_fifo:calls", arguments, "faster_fifo")
    if call in (1, CALL):
        yield _rival("localqueue, SQLite", "localqueue:calls", arguments, "localqueue")
    if call == 1:
        yield _rival("huey, SQLite", "huey:calls", {}, "huey")
    yield Contestant("routed, grouped, one pipe", "bench.rivals.floor:calls", arguments, Kind.FLOOR)
    yield Contestant("pipe, msgspec blobs", "bench.rivals.pipe:calls", arguments, Kind.FLOOR)


def _rival(
    name: str, function: str, arguments: dict[str, int], needs: str | None = None, against: str | None = None
) -> Contestant:
    return Contestant(name, f"bench.rivals.{function}", arguments, Kind.RIVAL, against, needs)


SCENARIOS = tuple(map(_scenario, TOTALS))
