"""The end of a forked process that must not return to its callers, because they are the code of its parent. It does
what the interpreter does at its end, and ends. And a time limit for the end of any process.

    wait for threads and pools  ->  what `atexit` holds  ->  flush  ->  os._exit
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

log = logging.getLogger("shardq.supervisor")

#: How long a worker that breaks off waits for the end of the child processes that it killed, so that it leaves none: on
#: a busy machine they live on for a moment. It is less than what the worker has until its supervisor kills it.
_DYING_S = 0.3


def end(code: int) -> NoReturn:
    """End this process as a Python program ends. Does not return, and raises nothing."""
    try:
        _try(threading._shutdown)  # type: ignore[attr-defined]  # what the interpreter calls; pools have entries there
        _try(atexit._run_exitfuncs)
        flush()
    finally:
        os._exit(code)


def end_within(code: int, timeout_s: float) -> NoReturn:
    """The same, within so many seconds. Then it logs which threads go on, kills child processes, waits a moment for
    their end, and ends.
    """
    try:
        limit_end("worker", code, timeout_s)
    finally:
        end(code)


def limit_end(whose: str, code: int, timeout_s: float) -> None:
    """Have the end of this process take no more than so many seconds from now on, whatever imported code waits for."""

    def overdue(number: int, frame: FrameType | None) -> None:
        try:
            threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
            fields = {"pid": os.getpid(), "threads": ", ".join(threads)}
            log.warning(f"threads of the {whose} did not end in time", extra=fields)
            children = list(_children())
            for child in children:
                child.kill()
            flush()
            over_at = time.monotonic() + _DYING_S
            for child in children:
                child.join(max(0.0, over_at - time.monotonic()))
        finally:
            os._exit(code)

    signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, max(timeout_s, 0.001), 1.0)


def part_from_parent() -> None:
    """In a forked child: forget the finalizers and child processes of the parent, which removes itself what it made.
    Functions that `atexit` holds stay: each process that has their module calls them.
    """
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]  # no other way to those of others
        finalizer.atexit = False
    _children().clear()
    _forget_fork_server()


def started_by_modules() -> set[int]:
    """Pids of the processes that this one started with `multiprocessing`."""
    return {child.pid for child in list(_children())}


def flush() -> None:
    """Write out what standard output and error hold."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # the reader may be gone, and a handler may have put any object in the stream's place
            stream.flush()


def _children() -> set[Any]:
    """Children that `multiprocessing` knows of, where it is in use."""
    module = sys.modules.get("multiprocessing.process")
    found = getattr(module, "_children", None)
    return found if isinstance(found, set) else set()


def _forget_fork_server() -> None:
    """The server from which `multiprocessing` forks by its method `forkserver` belongs to the parent, which alone can
    wait for it. Without it this process starts one of its own where it needs one.
    """
    server: Any = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    if getattr(server, "_forkserver_pid", None) is None:
        return
    with suppress(OSError):
        os.close(server._forkserver_alive_fd)
    server._forkserver_address = server._forkserver_alive_fd = server._forkserver_pid = None


def _try(function: Callable[[], Any]) -> None:
    try:
        function()
    except BaseException:
        with suppress(BaseException):
            traceback.print_exc()
