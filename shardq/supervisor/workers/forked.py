"""What the code of a handler forks is a process of its own: it has the signals of any Python program, and neither the
loop of the worker nor its end.

`multiprocessing` and `os.fork` come by here; a program that is started gets the same from the kernel.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NoReturn

from shardq.supervisor.wishes import signals
from shardq.supervisor.workers import interpreter

#: How a child ends that went on in the worker's loop.
_STRAYED = 70
_STRAYED_WHY = (
    "shardq: a child that a handler forked waits in the event loop of its worker, which is not its own, and ends: "
    "let it end by os._exit, or start it with multiprocessing\n"
)


_SIGNALS = (*signals.LISTENED, signal.SIGALRM, signal.SIGCHLD)

_watching = False
#: The signal mask of a thread before it forked.
_forking = threading.local()


def give_defaults_to_children() -> None:
    """From now on what this process forks has the signals of any Python program, but for what `signals.fork` forks."""
    global _watching
    if not _watching:
        _watching = True
        os.register_at_fork(before=_hold, after_in_parent=_go_on, after_in_child=_default_signals)


class Offspring:
    """The children that the handlers of a worker fork. From `watch` on they are processes of their own. `descriptors`
    are the worker's alone.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptors: Iterable[int]) -> None:
        self._loop = loop
        self._descriptors = tuple(descriptors)
        self._is_child = False

    def watch(self) -> None:
        """There is no way back: it holds for the rest of this process."""
        give_defaults_to_children()
        os.register_at_fork(after_in_child=self._part)

    def end_child(self, outcome: BaseException | None) -> None:
        """In the worker nothing. A child ends here, as any program does that comes to its end like this: the code that
        forked it has returned (`StopIteration`), raised, or waits (None).
        """
        if self._is_child:
            self._leave(outcome)

    def _leave(self, outcome: BaseException | None) -> NoReturn:
        interpreter.end(_exit_code(outcome))

    def _part(self) -> None:
        if self._is_child:
            return
        self._is_child = True
        faulthandler.unregister(signal.SIGUSR2)
        interpreter.part_from_parent()
        for descriptor in self._descriptors:
            with suppress(OSError):
                os.close(descriptor)
        # For what a handler started beside itself. At the second turn: an exception ends the loop before.
        self._loop.call_soon(self._loop.call_soon, self._leave, None)


def _hold() -> None:
    """A signal that hit the child before it has its own handlers would be reported to the parent, through the wake-up
    descriptor they share.
    """
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _go_on() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _default_signals() -> None:
    mask = _forking.mask
    if not signals.own_fork:
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            _give_back(number)
        mask -= set(signals.LISTENED)  # held back in a supervisor that imports
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _give_back(number: signal.Signals) -> None:
    """The default for a signal that the parent or its loop listens to. What the user's code set stays."""
    held: Any = signal.getsignal(number)
    if held is signal.SIG_IGN or (callable(held) and not _is_ours(held)):
        return
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _is_ours(function: Any) -> bool:
    return (getattr(function, "__module__", None) or "").partition(".")[0] in ("shardq", "uvloop")


def _exit_code(outcome: BaseException | None) -> int:
    if isinstance(outcome, StopIteration):
        return 0
    if isinstance(outcome, SystemExit):
        return _asked(outcome.code)
    with suppress(Exception):
        if outcome is None:
            sys.stderr.write(_STRAYED_WHY)
        else:
            traceback.print_exception(outcome)
    return _STRAYED if outcome is None else 1


def _asked(code: Any) -> int:
    """The status of `sys.exit(code)`."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    with suppress(Exception):
        sys.stderr.write(f"{code}\n")
    return 1
