"""A rival of the standard library: `multiprocessing.Pool.imap`, in chunks of one call."""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from itertools import chain, repeat
from multiprocessing.pool import Pool

from bench.harness.contestant import Figures
from bench.harness.size import Size
from bench.load.jobs import CALL, TOTALS, Job, Nothing, answer, calls_of, chunk_of, compute, tasks
from bench.load.mapped import mapped

_CONTEXT = multiprocessing.get_context("fork")
_HANDLER = Nothing()


def calls(size: Size, *, workers: int, call: int) -> Figures:
    total = size.count(TOTALS[call], call)
    with _CONTEXT.Pool(workers) as pool:
        _seconds_for(pool, call, total // 10)  # to warm up
        return {"end_to_end_per_s": total / _seconds_for(pool, call, total)}


def computing(size: Size, *, tasks: int, seconds: float, workers: int) -> Figures:
    count = size.count(tasks, workers)
    with _CONTEXT.Pool(workers) as pool:
        deque(pool.imap(compute, repeat(seconds, workers)), maxlen=0)  # to warm up
        start = time.perf_counter()
        deque(pool.imap(compute, repeat(seconds, count), chunk_of(seconds)), maxlen=0)
        return {"of_ideal": count * seconds / workers / (time.perf_counter() - start)}


def mapping(size: Size, *, total: int, seconds: float, workers: int) -> Figures:
    count = size.count(total, CALL)
    with _CONTEXT.Pool(workers) as pool:
        deque(pool.imap(answer, tasks(2 * CALL, 0.0), CALL), maxlen=0)  # to warm up
        start = time.perf_counter()
        deque(pool.imap(answer, tasks(count, seconds), CALL), maxlen=0)
        return mapped(count, seconds, workers, time.perf_counter() - start)


def _seconds_for(pool: Pool, call: int, total: int) -> float:
    requests = chain.from_iterable(calls_of(call, total))
    start = time.perf_counter()
    deque(pool.imap(_handle, requests, call), maxlen=0)
    return time.perf_counter() - start


def _handle(request: Job) -> None:
    _HANDLER.handle(request)
