"""Signals as values in a loop: the handlers of signals only enqueue them."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self

from shardq.errors import HandlerTimeout
from shardq.supervisor.exits import Exit
from shardq.supervisor.output import standard
from shardq.supervisor.workers.orphans import inherits_orphans
from shardq.system.signals import handler_of
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
#: How the supervisor sets these signals, because its parent or an imported module may have set them otherwise. With
#: SIGCHLD ignored the kernel does not keep how workers ended; with SIGPIPE at its default a write to a reader that has
#: left would end the supervisor.
_OWN = {signal.SIGCHLD: signal.SIG_DFL, signal.SIGPIPE: signal.SIG_IGN}
_WISHES = frozenset({*LISTENED, signal.SIGCHLD})
#: How soon an alarm strikes again: the code may have swallowed its exception, or another task may have run.
_ALARM_AGAIN_S = 0.2

#: Signals that a worker does not follow: they are meant for its supervisor.
UNHEARD = tuple(set(LISTENED) - {signal.SIGTERM, signal.SIGUSR2})
#: What the kernel sends to a background process that uses the terminal.
_ON_TERMINAL = {signal.SIGTTIN, signal.SIGTTOU}

_Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None


#: Signals that arrived before `Signals` listens, in order.
_noted: list[signal.Signals] = []


def note_wishes(ends: Collection[signal.Signals] = ()) -> None:
    """Note signals until `Signals` listens: without a handler they would end or stop this process. They are not held
    back, because a program that an imported module starts would hold them back as well. `ends` are left as they are:
    there are no workers yet to end in order, so they end this process at once, INT without a `KeyboardInterrupt` in the
    module that is being imported.
    """
    if signal.SIGINT in ends and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    for number in LISTENED:
        if number not in ends:
            _listen(number, _note)
    # This process holds them back if it executed itself anew, or was forked by its supervisor to be executed.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*LISTENED, signal.SIGALRM})  # time limits need the last one


def ends_at_start() -> tuple[signal.Signals, ...]:
    """The signals that end a supervisor which has not served yet. The first process of a container notes them, because
    signals at their default do not reach it.
    """
    return () if inherits_orphans() else (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def hold_back() -> None:
    """Let signals wait from now on, also those noted before, until the program that this process executes next listens
    to them.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, LISTENED)
    noted = _noted.copy()
    _noted.clear()
    _send_again(noted)


def noted_one_of(numbers: Collection[signal.Signals]) -> signal.Signals | None:
    """The first of these signals that was noted although they are held back: a thread that an imported module started
    does not hold them back. It is noted no more.
    """
    for number in _noted:
        if number in numbers:
            _noted.remove(number)
            return number
    return None


class Signals:
    """While entered, signals arrive as numbers through a descriptor, for which a selector can wait."""

    def __init__(self) -> None:
        self.descriptor = -1
        self._sender = -1
        self._former: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> Self:
        self.descriptor, self._sender = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.pthread_sigmask(signal.SIG_BLOCK, LISTENED)
        signal.set_wakeup_fd(self._sender, warn_on_full_buffer=False)
        for number in LISTENED:
            former = signal.signal(number, _enqueued)
            self._former[number] = signal.SIG_DFL if former is _note else former
        for number, handler in _OWN.items():
            self._former[number] = signal.signal(number, handler)
        if inherits_orphans():
            signal.signal(signal.SIGCHLD, _enqueued)
            os.kill(os.getpid(), signal.SIGCHLD)  # children may have ended before this process listened
        signal.pthread_sigmask(signal.SIG_UNBLOCK, LISTENED)
        _send_again(_noted)
        _noted.clear()
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
        """The same, also for those that arrived and were not `received`."""
        hold_back()
        _send_again(self.received())

    def go_on(self) -> None:
        """Let the signals arrive that were held back."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, LISTENED)

    @property
    def pending(self) -> bool:
        """Whether signals wait to be `received`."""
        waiting = self.received()
        os.write(self._sender, bytes(waiting))
        return bool(waiting)

    def received(self) -> list[signal.Signals]:
        """Signals since the last call, in order; without those that only other code of this process listens to."""
        try:
            numbers = os.read(self.descriptor, 4096)
        except BlockingIOError:
            return []
        return [signal.Signals(number) for number in numbers if number in _WISHES]


#: Whether this process forks to have a worker or a probe, and not because a module does.
own_fork = False


def fork() -> int:
    """`os.fork`, with signals held back. A signal that hit the child before `reset_in_child` would be reported to the
    parent, through the wake-up descriptor that they share.
    """
    global own_fork
    # No flush where there are other threads: one of them may hang in a stream. The child then executes a program, so it
    # never writes what the streams hold.
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
        for stream in held:  # the parent writes its text as well, so it would be written twice
            standard.forget(stream)
    return pid


def reset_in_child() -> int:
    """Give a forked child the signals of a worker, and let those arrive that were held back, except TERM. Returns the
    descriptor that stacks are written to.
    """
    signal.set_wakeup_fd(-1)
    # A signal to the whole process group, as by Ctrl-C, is meant for the supervisor, which decides what its workers do.
    # Workers have an empty handler for it. They do not ignore it, or programs that they start would ignore it as well.
    for number in UNHEARD:
        _listen(number, _unheard)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if signal.getsignal(signal.SIGUSR2) is not signal.SIG_DFL:
        faulthandler.unregister(signal.SIGUSR2)
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    dumps = standard.dump_stacks_on(signal.SIGUSR2)
    # TERM waits until the worker listens to it: see `Term`.
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTERM})
    return dumps


def end_when_told() -> None:
    """For an executed worker while it imports: it has no batch in hand, so TERM ends it at once. No signal is held
    back, because a program that an imported module starts would hold it back as well.
    """
    for number in UNHEARD:
        _listen(number, _unheard)
    faulthandler.register(signal.SIGUSR2, file=2, all_threads=True, chain=False)
    signal.signal(signal.SIGTERM, _end)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class Term:
    """TERM in a worker: the supervisor asks it to stop. `follow` begins to listen."""

    def __init__(self, loop: asyncio.AbstractEventLoop, worker: Worker) -> None:
        self._loop = loop
        self._worker = worker
        self._wakeup = -1
        self.told_at: float | None = None
        """Monotonic time of the first TERM."""

    def follow(self) -> None:
        """From now on TERM stops the worker, whatever it is doing. Call it in the running loop."""
        self._wakeup = signal.set_wakeup_fd(-1)
        self.keep_awake()
        self.keep_following()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def keep_following(self) -> None:
        """Listen to TERM again: a handler's code may have run an event loop of its own, whose end removes `_told`."""
        if handler_of(signal.SIGTERM) != self._told:
            signal.signal(signal.SIGTERM, self._told)
            signal.siginterrupt(signal.SIGTERM, False)

    def keep_awake(self) -> None:
        """Set the descriptor again by which a signal wakes the worker's loop: the end of another loop removes it."""
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)

    def _told(self, number: int, frame: FrameType | None) -> None:
        self.told_at = self.told_at or time.monotonic()
        self._worker.stopping = True
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._worker.stop)


@contextmanager
def alarm(timeout_s: float) -> Iterator[None]:
    """Raise `HandlerTimeout` in the code of the task that enters, if it still runs after so many seconds and does not
    give the event loop its turn. A task that waits is not interrupted: its caller can cancel it.

    If the alarm strikes late, the process was stopped at the time it was due. Then the time begins anew.
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
        # If another loop or none is running, the handler's code runs, maybe in a loop of its own.
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


def _listen(number: signal.Signals, handler: _Handler) -> None:
    signal.signal(number, handler)
    # TTIN and TTOU must interrupt a read or write of a terminal: see `_sent_by_terminal`.
    if number not in _ON_TERMINAL:
        signal.siginterrupt(number, False)


def _unheard(number: int, frame: FrameType | None) -> None:
    """Does nothing, except for TTIN and TTOU."""
    _sent_by_terminal(number)


def _note(number: int, frame: FrameType | None) -> None:
    if not _sent_by_terminal(number):
        _noted.append(signal.Signals(number))


def _sent_by_terminal(number: int) -> bool:
    """Whether this is TTIN or TTOU in a background process that uses the terminal. The kernel would send these again
    and again. So such a process ignores the signal from now on, and gets an error from the terminal instead.
    """
    if number not in _ON_TERMINAL:
        return False
    with suppress(OSError):
        if os.tcgetpgrp(0) != os.getpgrp():
            signal.signal(number, signal.SIG_IGN)
            return True
    return False


def _send_again(numbers: Iterable[signal.Signals]) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(Exit.OK)


def _enqueued(number: int, frame: FrameType | None) -> None:
    """The number is in the wake-up descriptor already."""
