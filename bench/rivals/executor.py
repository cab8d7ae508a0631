"""A rival of the standard library: `ProcessPoolExecutor.map`, in chunks of one call."""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import chain

from bench.harness.contestant import Figures
from bench.harness.size import Size
from bench.load.jobs import CALL, TOTALS, Job, Nothing, answer, calls_of, chunk_of, compute, tasks
from bench.load.mapped import mapped

_CONTEXT = multiprocessing.get_context("fork")
_HANDLER = Nothing()


def calls(size: Size, *, workers: int, call: int) -> Figures:
    total = size.count(TOTALS[call], call)
    with ProcessPoolExecutor(workers, mp_context=_CONTEXT) as pool:
        _seconds_for(pool, call, total // 10)  # to warm up
        return {"end_to_end_per_s": total / _seconds_for(pool, call, total)}


def computing(size: Size, *, tasks: int, seconds: float, workers: int) -> Figures:
    count = size.count(tasks, workers)
    with ProcessPoolExecutor(workers, mp_context=_CONTEXT) as pool:
        _exhaust(pool.map(compute, [seconds] * workers))
        start = time.perf_counter()
        _exhaust(pool.map(compute, [seconds] * count, chunksize=chunk_of(seconds)))
        return {"of_ideal": count * seconds / workers / (time.perf_counter() - start)}


def mapping(size: Size, *, total: int, seconds: float, workers: int) -> Figures:
    count = size.count(total, CALL)
    with ProcessPoolExecutor(workers, mp_context=_CONTEXT) as pool:
        _exhaust(pool.map(answer, tasks(2 * CALL, 0.0), chunksize=CALL))
        start = time.perf_counter()
        _exhaust(pool.map(answer, tasks(count, seconds), chunksize=CALL))
        return mapped(count, seconds, workers, time.perf_counter() - start)


def _seconds_for(pool: ProcessPoolExecutor, call: int, total: int) -> float:
    requests = chain.from_iterable(calls_of(call, total))
    start = time.perf_counter()
    _exhaust(pool.map(_handle, requests, chunksize=call))
    return time.perf_counter() - start


def _handle(request: Job) -> None:
    _HANDLER.handle(request)


def _exhaust(results: Iterable[object]) -> None:
    deque(results, maxlen=0)
