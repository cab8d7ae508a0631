"""Whether the calling code is a handler's: it must not wait for room that only its own worker could make.

A handler's code is what runs in its calls, in the tasks it creates and in what it gives to `asyncio.to_thread`, all of
which carry a context variable. A thread that it starts carries none. In a supervised worker process every thread counts
as a handler's, because such a process is there for handlers only; so does every thread of a process that is forked from
it. Elsewhere a `Worker` may run beside an application's own threads. There a thread counts that a handler's code
started, or that such a thread started.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakSet

from shardq.handler import handling

_threads: WeakSet[threading.Thread] = WeakSet()
"""Started by handlers' code."""
_had_threads = False
"""Whether there ever were some."""
_whole_process = False
_loops, _counting = 0, threading.Lock()

_Start = Callable[[threading.Thread], None]
_former: _Start = threading.Thread.start
_noting: _Start | None = None
"""What stood in the place of `Thread.start` before the worker's loop, and what stands there since."""


def inside_handler() -> bool:
    """Whether the calling code is a handler's, in any thread."""
    return bool(handling.get()) or _whole_process or (_had_threads and threading.current_thread() in _threads)


def take_process() -> None:
    """This process is there for handlers only, from now on."""
    global _whole_process
    _whole_process = True


@contextmanager
def threads_noted() -> Iterator[None]:
    """Within, take note of the threads that handlers' code starts. A thread does not know which code started it, so
    `Thread.start` is replaced as long as a worker's loop runs.
    """
    # mypy lets no method be replaced, hence the two `type: ignore`.
    global _loops, _former, _noting
    with _counting:
        _loops += 1
        if _loops == 1:
            _former = threading.Thread.start
            threading.Thread.start = _noting = _noting_start(_former)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        with _counting:
            _loops -= 1
            # Other code may have replaced it meanwhile by a function that calls it.
            if not _loops and threading.Thread.start is _noting:
                threading.Thread.start = _former  # type: ignore[method-assign, assignment]


def _noting_start(start: _Start) -> _Start:
    """One that calls the method of this moment, which other code may have put there, as tracers do."""

    def noted_start(thread: threading.Thread) -> None:
        global _had_threads
        if inside_handler():
            _threads.add(thread)
            _had_threads = True
        start(thread)

    return noted_start


def _renew_lock() -> None:
    global _counting
    _counting = threading.Lock()  # another thread may have held it when the fork came


os.register_at_fork(after_in_child=_renew_lock)
