"""A supervisor that executed itself anew and cannot import its code: it tries again until that works, or it is to end.

Its workers go on with the code they have. This process has no storage yet: it knows its workers by their pids alone.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Collection, Sequence
from contextlib import suppress

from shardq.supervisor.code.program import Program
from shardq.supervisor.wishes.control import Control
from shardq.supervisor.wishes.reload import Resumption, execute_again
from shardq.supervisor.wishes.signals import hold_back, noted_one_of
from shardq.supervisor.wishes.stopping import StopWishes, Wish, time_after
from shardq.supervisor.workers.member import Member

#: How soon to try again, and to look again at what no signal tells.
_AGAIN_S = 1.0
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def resume_later(program: Program, resumption: Resumption, shutdown_timeout_s: float, control: Control | None) -> None:
    """Run this program anew each second. Called when the code changed once more after its probe and does not import
    now. Returns once the end was asked for, and no worker is left: a signal asked for it, the application that embeds
    this supervisor, or the terminal that went away.

    Signals wait meanwhile for the program that is executed, but for those that ask for the end.
    """
    hold_back()
    while (asked := _received(_ENDS, _AGAIN_S)) is None:
        if control:
            control.heard()
            wanted = resumption.workers if control.workers is None else control.workers
            resumption = resumption._replace(workers=wanted)
        if resumption.terminal.gone or (control and control.ended):
            asked = signal.SIGTERM
            break
        with suppress(OSError):
            execute_again(program, resumption)
    _end([Member.of_child(pid, number) for pid, number in resumption.members.items()], asked, shutdown_timeout_s)


def _received(numbers: Collection[signal.Signals], timeout_s: float) -> signal.Signals | None:
    """One of these signals, once it comes; None: none came in time."""
    if noted := noted_one_of(numbers):
        return noted
    received = signal.sigtimedwait(numbers, timeout_s)
    return None if received is None else signal.Signals(received.si_signo)


def _end(workers: Sequence[Member], asked: signal.Signals, shutdown_timeout_s: float) -> None:
    """End the workers with TERM, and with KILL at the deadline or where the end is asked for once more. Without a
    storage none can be excused: a batch that is in hand at a KILL counts an attempt.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # an imported module may have had it ignored
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    wishes = StopWishes()
    wishes.heard(asked, time.monotonic())
    deadline = time.monotonic() + time_after(asked, shutdown_timeout_s)
    for worker in workers:
        worker.signal(signal.SIGTERM)
    while left := [worker for worker in workers if worker.reap() is None]:
        received = _received((*_ENDS, signal.SIGCHLD), min(_AGAIN_S, max(0.0, deadline - time.monotonic())))
        now, wish = time.monotonic(), Wish.NONE
        if received in _ENDS:
            wish = wishes.heard(received, now)
            deadline = min(deadline, now + time_after(received, shutdown_timeout_s))
        if wish is Wish.KILL or now >= deadline:
            for worker in left:
                if worker.signal(signal.SIGKILL):
                    worker.wait()
            break
    for worker in workers:
        worker.close()
