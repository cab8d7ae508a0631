"""Rivals of the standard library whose workers are killed. Each runs in a group of processes of its own, since what is
left of a pool after that cannot always be ended in order.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess

from bench.harness.contestant import Figures
from bench.harness.size import Size
from bench.load.jobs import Noted, note
from bench.load.killing import KILLS, REQUESTS, WORKERS, Journal, await_end, kill_workers

_CONTEXT = multiprocessing.get_context("fork")
#: A rival that has done nothing for so long is given up.
_STILL_S = 1.5

Serve = Callable[[Sequence[Noted]], None]


def of_queue(size: Size, *, seed: int | None = None) -> Figures:
    return _outcome(size, _queue, seed)


def of_executor(size: Size, *, seed: int | None = None) -> Figures:
    return _outcome(size, _executor, seed)


def of_pool(size: Size, *, seed: int | None = None) -> Figures:
    return _outcome(size, _pool, seed)


def _outcome(size: Size, serve: Serve, seed: int | None) -> Figures:
    total, kills = size.count(REQUESTS), size.count(KILLS)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(folder)
        with _group(partial(serve, journal.requests(total))) as goes_on:
            killed = kill_workers(journal, total, kills, goes_on, _STILL_S, seed)
            await_end(journal, goes_on, _STILL_S)
        return journal.outcome(total, killed)


def _queue(requests: Sequence[Noted]) -> None:
    """Has another consumer for each that died."""
    queue = _CONTEXT.Queue()
    for item in (*requests, *[None] * WORKERS):
        queue.put(item)

    def consumer() -> ForkProcess:
        process = _CONTEXT.Process(target=_consume, args=(queue,))
        process.start()
        return process

    running = [consumer() for _ in range(WORKERS)]
    while running:
        wait([process.sentinel for process in running])
        ended = [process for process in running if process.exitcode is not None]
        running = [process for process in running if process not in ended]
        running += [consumer() for process in ended if process.exitcode]


def _consume(queue: multiprocessing.Queue[Noted | None]) -> None:
    while request := queue.get():
        note(request)


def _executor(requests: Sequence[Noted]) -> None:
    with ProcessPoolExecutor(WORKERS, mp_context=_CONTEXT) as pool, suppress(BrokenProcessPool):
        deque(pool.map(note, requests), maxlen=0)


def _pool(requests: Sequence[Noted]) -> None:
    with _CONTEXT.Pool(WORKERS) as pool:
        deque(pool.imap(note, requests), maxlen=0)


@contextmanager
def _group(serve: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """A group of processes, of which one serves. Yields whether that one has not ended, and kills all in the end."""
    leader = _CONTEXT.Process(target=_lead, args=(serve,))
    leader.start()
    assert leader.pid is not None
    with suppress(PermissionError):  # it has done that itself, and gone on
        os.setpgid(leader.pid, leader.pid)
    try:
        yield leader.is_alive
    finally:
        with suppress(ProcessLookupError):
            os.killpg(leader.pid, signal.SIGKILL)
        leader.join()


def _lead(serve: Callable[[], None]) -> None:
    os.setpgid(0, 0)
    serve()
