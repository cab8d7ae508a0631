"""One process that consumes, for rivals that have no pool of their own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_CONTEXT = multiprocessing.get_context("fork")
#: Longer than all that a round sends can take.
_LIMIT_S = 300


@contextmanager
def consumer(serve: Callable[[Callable[[], None]], None]) -> Iterator[Callable[[], None]]:
    """A process that runs `serve(flushed)` until it is killed. Yields what waits until that has called `flushed()`
    once more.
    """
    done = _CONTEXT.Semaphore(0)
    process = _CONTEXT.Process(target=serve, args=(done.release,), daemon=True)

    def wait() -> None:
        if not done.acquire(timeout=_LIMIT_S):
            raise RuntimeError(f"the consumer did not get through within {_LIMIT_S} seconds")

    process.start()
    try:
        yield wait
    finally:
        process.kill()
        process.join()
