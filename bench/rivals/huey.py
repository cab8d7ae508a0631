"""A rival: the package `huey` with its storage in a file of SQLite, each request a task, and one worker that looks for
them. It has no way to send several at once, and is sent a sixteenth of what others send.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from huey import SqliteHuey  # type: ignore[import-untyped]  # it ships none

from bench.harness.contestant import Figures
from bench.harness.size import Size
from bench.load.jobs import TOTALS, Job, Nothing, calls_of
from bench.rivals.consumer import consumer

_SHARE = 16


def calls(size: Size) -> Figures:
    """Single requests."""
    total = size.count(TOTALS[1] // _SHARE)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "tasks.db"))
        with consumer(partial(_serve, path)) as wait:
            handle, flush = _tasks(path, flushed=lambda: None)
            _seconds_for(handle, flush, wait, max(1, total // 10))  # to warm up
            return {"end_to_end_per_s": total / _seconds_for(handle, flush, wait, total)}


def _seconds_for(handle: Any, flush: Any, wait: Callable[[], None], total: int) -> float:
    start = time.perf_counter()
    for [request] in calls_of(1, total):
        handle(request)
    flush()
    wait()
    return time.perf_counter() - start


def _tasks(path: str, flushed: Callable[[], None]) -> tuple[Any, Any]:
    """The tasks of producer and consumer, which find them by their names."""
    huey, handler = SqliteHuey(filename=path, results=False), Nothing()

    @huey.task()  # type: ignore[untyped-decorator]  # an untyped package
    def handle(request: Job) -> None:
        handler.handle(request)

    @huey.task()  # type: ignore[untyped-decorator]  # an untyped package
    def flush() -> None:
        flushed()

    return handle, flush


def _serve(path: str, flushed: Callable[[], None]) -> None:
    logging.disable()
    handle, _ = _tasks(path, flushed)
    handle.huey.create_consumer(workers=1, periodic=False).run()
