"""A rival: `joblib.Parallel` with its own processes (loky), in batches of one call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import chain, repeat
from typing import Any

from joblib import Parallel, delayed  # type: ignore[import-untyped]  # it ships none

from bench.harness.contestant import Figures
from bench.harness.size import Size
from bench.load.jobs import CALL, TOTALS, Job, Nothing, answer, calls_of, chunk_of, compute, tasks
from bench.load.mapped import mapped

_HANDLER = Nothing()


def calls(size: Size, *, workers: int, call: int) -> Figures:
    """With one worker it would stay in this process."""
    total = size.count(TOTALS[call], call)
    with Parallel(workers, batch_size=call) as parallel:
        _seconds_for(parallel, handle, chain.from_iterable(calls_of(call, total // 10)))  # to warm up
        return {"end_to_end_per_s": total / _seconds_for(parallel, handle, chain.from_iterable(calls_of(call, total)))}


def computing(size: Size, *, tasks: int, seconds: float, workers: int) -> Figures:
    count = size.count(tasks, workers)
    with Parallel(workers, batch_size=chunk_of(seconds)) as parallel:
        _seconds_for(parallel, compute, repeat(seconds, workers))  # to warm up
        return {"of_ideal": count * seconds / workers / _seconds_for(parallel, compute, repeat(seconds, count))}


def mapping(size: Size, *, total: int, seconds: float, workers: int) -> Figures:
    count = size.count(total, CALL)
    with Parallel(workers, batch_size=CALL) as parallel:
        _seconds_for(parallel, answer, tasks(2 * CALL, 0.0))  # to warm up
        return mapped(count, seconds, workers, _seconds_for(parallel, answer, tasks(count, seconds)))


def _seconds_for(parallel: Any, function: Callable[[Any], object], items: Iterable[Any]) -> float:
    task = delayed(function)
    start = time.perf_counter()
    parallel(task(item) for item in items)
    return time.perf_counter() - start


def handle(request: Job) -> None:
    """Found by its name in joblib's processes, which import this module."""
    _HANDLER.handle(request)
