"""Signals as values in a loop: handlers only enqueue."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self

from shardq.errors import HandlerTimeout
from shardq.supervisor.exits import Exit
from shardq.supervisor.output import standard
from shardq.supervisor.workers.orphans import inherits_orphans
from shardq.working.time_limit import ran_late
from shardq.working.worker import Worker

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
#: What the supervisor needs to be so, whatever its parent or an imported module made of it: with SIGCHLD ignored the
#: system throws away how workers ended, and with SIGPIPE at its default a reader that left would end the family.
_OWN = {signal.SIGCHLD: signal.SIG_DFL, signal.SIGPIPE: signal.SIG_IGN}
_WISHES = frozenset({*LISTENED, signal.SIGCHLD})
#: How soon code that swallowed the exception of an alarm, or was not at its turn, gets the next one.
_ALARM_AGAIN_S = 0.2

#: What a worker leaves to its supervisor.
UNHEARD = tuple(set(LISTENED) - {signal.SIGTERM, signal.SIGUSR2})
#: What the kernel sends to those in the background that use the terminal.
_ON_TERMINAL = {signal.SIGTTIN, signal.SIGTTOU}

_Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None


def hold_back_wishes() -> None:
    """Let signals that ask for something wait until somebody listens: without a handler they would end this process, or
    stop it. Those that ask for the end may end it, while there is nothing to end in order: Ctrl-C by itself, and not by
    an exception that comes out of whatever module is being imported. But the first process of a container would never
    hear of them.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    ends = set() if inherits_orphans() else {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}
    signal.pthread_sigmask(signal.SIG_BLOCK, set(LISTENED) - ends)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})  # which ends what would be waited for without an end


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
        for number, handler in _OWN.items():
            self._former[number] = signal.signal(number, handler)
        if inherits_orphans():
            signal.signal(signal.SIGCHLD, _enqueued)
            os.kill(os.getpid(), signal.SIGCHLD)  # of those that ended before this one listened
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

    @property
    def descriptors(self) -> tuple[int, int]:
        """Both ends, which no child may keep."""
        return self.descriptor, self._sender

    def hold_back(self) -> None:
        """Let signals wait from now on, those included that arrived and were not `received`: for a program that is
        executed in this process.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, LISTENED)
        for number in self.received():
            os.kill(os.getpid(), number)

    def go_on(self) -> None:
        """Let signals arrive again that were held back."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, LISTENED)

    @property
    def pending(self) -> bool:
        """Whether signals wait to be `received`."""
        waiting = self.received()
        os.write(self._sender, bytes(waiting))
        return bool(waiting)

    def received(self) -> list[signal.Signals]:
        """Signals since the last call, in order; without those that somebody else listens to in this process."""
        try:
            numbers = os.read(self.descriptor, 4096)
        except BlockingIOError:
            return []
        return [signal.Signals(number) for number in numbers if number in _WISHES]


#: Whether this process forks to have a worker or a probe, and not because a module does.
own_fork = False


def fork() -> int:
    """`os.fork`, with signals held back: one that hit the child before `reset_in_child` would be reported to the
    parent, through the wake-up descriptor they share.
    """
    global own_fork
    # Where there are threads one may hang in a stream, and what is forked executes a program, which has none of it.
    held = standard.flush() if threading.active_count() == 1 else []
    signal.pthread_sigmask(signal.SIG_BLOCK, LISTENED)
    pid, own_fork = -1, True
    try:
        pid = os.fork()
    finally:
        own_fork = False
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, LISTENED)
    if pid == 0:
        for stream in held:  # it is the parent's, and would be written twice
            standard.forget(stream)
    return pid


def reset_in_child() -> int:
    """Give a forked child the signals of a worker, and let those held back come. Returns the descriptor that the stacks
    are written to.
    """
    signal.set_wakeup_fd(-1)
    # What reaches the whole process group, Ctrl-C for one, is the supervisor's: it decides what it means for a worker.
    # Not ignored: programs that a handler starts would ignore it as well.
    for number in UNHEARD:
        signal.signal(number, _unheard)
    # A background process that reads or writes a terminal must come to know of it: see `_unheard`.
    for number in set(UNHEARD) - _ON_TERMINAL:
        signal.siginterrupt(number, False)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    dumps = standard.dump_stacks_on(signal.SIGUSR2)
    # TERM waits until the worker can follow it: see `Term`.
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTERM})
    return dumps


def end_when_told() -> None:
    """While a process that was executed to be a worker imports: nothing is in hand, so TERM ends it at once."""
    for number in UNHEARD:
        signal.signal(number, _unheard)
    signal.signal(signal.SIGTERM, _end)
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR2})


class Term:
    """TERM, in a worker: the wish to stop. `follow` begins to listen."""

    def __init__(self, loop: asyncio.AbstractEventLoop, worker: Worker) -> None:
        self._loop = loop
        self._worker = worker
        self._wakeup = -1
        self.told_at: float | None = None
        """Monotonic time of the first wish."""

    def follow(self) -> None:
        """Stop the worker at TERM, wherever it is. Call it in the running loop."""
        self._wakeup = signal.set_wakeup_fd(-1)
        self.keep_awake()
        self.keep_following()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def keep_following(self) -> None:
        """A handler's code may run a loop of its own, which leaves the signal without a handler."""
        if signal.getsignal(signal.SIGTERM) != self._told:
            signal.signal(signal.SIGTERM, self._told)
            signal.siginterrupt(signal.SIGTERM, False)

    def keep_awake(self) -> None:
        """Or which leaves the worker's loop without the descriptor that wakes it."""
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)

    def _told(self, number: int, frame: FrameType | None) -> None:
        self.told_at = self.told_at or time.monotonic()
        self._worker.stopping = True
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._worker.stop)


@contextmanager
def alarm(timeout_s: float) -> Iterator[None]:
    """Raise `HandlerTimeout` in the code of the task that enters, should it still run after so many seconds without
    giving the event loop its turn. Code that waits is not touched: whoever waits can be cancelled.

    An alarm that comes late found the process stopped when it was due: then the time begins anew.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    armed, due = True, time.monotonic() + timeout_s

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
        # Where the loop of this thread does not show, plain code runs, maybe in a loop of its own.
        if asyncio._get_running_loop() is not loop or asyncio.current_task(loop) is task:
            raise HandlerTimeout(f"it took longer than timeout_s, {timeout_s} s")

    former = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, timeout_s, _ALARM_AGAIN_S)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def _unheard(number: int, frame: FrameType | None) -> None:
    """Nothing to do. But for a process in the background that uses the terminal the kernel would send the signal again
    and again: one that ignores it gets an error instead.
    """
    if number not in _ON_TERMINAL:
        return
    with suppress(OSError):
        if os.tcgetpgrp(0) != os.getpgrp():
            signal.signal(number, signal.SIG_IGN)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(Exit.OK)


def _enqueued(number: int, frame: FrameType | None) -> None:
    """The number is in the wake-up descriptor already."""
