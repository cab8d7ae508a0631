"""Signals as values in a loop: handlers only enqueue."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from shardq.binding import ran_late
from shardq.errors import HandlerTimeout
from shardq.worker import Worker

#: What the supervisor listens to.
LISTENED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
#: How soon code that swallowed the exception of an alarm, or was not at its turn, gets the next one.
_ALARM_AGAIN_S = 0.2

_Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None


def hold_back_wishes() -> None:
    """Let signals that ask for something wait until somebody listens: without a handler they would end this process, or
    stop it. Those that ask for the end may end it, while there is nothing to end in order.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, set(LISTENED) - {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


class Signals:
    """While entered, signals arrive as numbers through a descriptor that a selector can wait on."""

    def __init__(self) -> None:
        self.descriptor = -1
        self._sender = -1
        self._former: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> Self:
        self.descriptor, self._sender = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._sender, warn_on_full_buffer=False)
        for number in LISTENED:
            self._former[number] = signal.signal(number, _enqueued)
        # Held back where this process executed itself anew.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, LISTENED)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._former.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        os.close(self.descriptor)
        os.close(self._sender)

    def hold_back(self) -> None:
        """Let signals wait from now on, those included that arrived and were not `received`: for a program that is
        executed in this process.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, LISTENED)
        for number in self.received():
            os.kill(os.getpid(), number)

    @property
    def pending(self) -> bool:
        """Whether signals wait to be `received`."""
        return bool(select.select((self.descriptor,), (), (), 0)[0])

    def received(self) -> list[signal.Signals]:
        """Signals since the last call, in order."""
        try:
            return [signal.Signals(number) for number in os.read(self.descriptor, 4096)]
        except BlockingIOError:
            return []


def fork() -> int:
    """`os.fork`, with signals held back: one that hit the child before `reset_in_child` would be reported to the
    parent, through the wake-up descriptor they share.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, LISTENED)
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, LISTENED)
    return pid


def reset_in_child() -> None:
    """Give a forked child the signals of a fresh process, and let those held back come."""
    signal.set_wakeup_fd(-1)
    # What reaches the whole process group, Ctrl-C for one, is the supervisor's: it decides what it means for a worker.
    for number in set(LISTENED) - {signal.SIGTERM, signal.SIGUSR2}:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Below Python, so that it works while native code holds the interpreter.
    faulthandler.register(signal.SIGUSR2, all_threads=True, chain=False)
    # TERM waits until the worker can follow it: see `on_term`.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, set(LISTENED) - {signal.SIGTERM})


def on_term(loop: asyncio.AbstractEventLoop, worker: Worker) -> None:
    """Let TERM stop a worker: the loop's handler wakes it where it sleeps, and where a plain handler keeps the loop
    busy, Python's own sets the mark that is looked at before the next batch.
    """

    def mark(number: int, frame: FrameType | None) -> None:
        worker.stopping = True

    loop.add_signal_handler(signal.SIGTERM, worker.stop)
    signal.signal(signal.SIGTERM, mark)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


@contextmanager
def alarm(timeout_s: float) -> Iterator[None]:
    """Raise `HandlerTimeout` in the code of the task that enters, should it still run after so many seconds without
    giving the event loop its turn. Code that waits is not touched: whoever waits can be cancelled.

    An alarm that comes late found the process stopped when it was due: then the time begins anew.
    """
    task, armed, due = asyncio.current_task(), True, time.monotonic() + timeout_s

    def strike(number: int, frame: FrameType | None) -> None:
        nonlocal due
        now = time.monotonic()
        if not armed:
            return
        if ran_late(due, now, timeout_s):
            due = now + timeout_s
            signal.setitimer(signal.ITIMER_REAL, timeout_s, _ALARM_AGAIN_S)
            return
        due = now + _ALARM_AGAIN_S
        if asyncio.current_task() is task:
            raise HandlerTimeout(f"it took longer than timeout_s, {timeout_s} s")

    former = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, timeout_s, _ALARM_AGAIN_S)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def _enqueued(number: int, frame: FrameType | None) -> None:
    """The number is in the wake-up descriptor already."""
