"""A child that a handler's code forks is a process of its own: it has the signals of any Python program, does not run
the worker's loop, and does not end as the worker does.

This module acts on forks by `multiprocessing` and `os.fork`. A program that a handler starts gets the same from the
kernel.
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
from shardq.system import stacks

#: Exit code of a child that went on in the worker's loop.
_STRAYED = 70
_STRAYED_WHY = (
    "shardq: a child that a handler forked waits in the event loop of its worker, which is not its own, and ends: "
    "let it end by os._exit, or start it with multiprocessing\n"
)


_SIGNALS = (*signals.LISTENED, signal.SIGALRM, signal.SIGCHLD)

_watching = False
#: What children close that modules fork.
_own: set[int] = set()
#: The signal mask of a thread before it forked.
_forking = threading.local()


def give_defaults_to_children() -> None:
    """From now on children of this process have the signals of any Python program, except those of `signals.fork`."""
    global _watching
    if not _watching:
        _watching = True
        os.register_at_fork(before=_hold, after_in_parent=_go_on, after_in_child=_part)


def keep_from_children(descriptor: int) -> None:
    """From now on children that modules fork close this descriptor: its end of file says that this process ended."""
    _own.add(descriptor)


class Offspring:
    """The children that the handlers of a worker fork. From `watch` on they are processes of their own. `descriptors`
    are those of the worker that a child closes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptors: Iterable[int]) -> None:
        self._loop = loop
        self._descriptors = tuple(descriptors)
        self._is_child = False

    def watch(self) -> None:
        """Begin. It cannot be undone: it holds until this process ends."""
        give_defaults_to_children()
        os.register_at_fork(after_in_child=self._part)

    def end_child(self, outcome: BaseException | None) -> None:
        """In a child: end it, as a program ends whose code returned, raised or waits. In the worker: do nothing.
        `outcome` is how the step of the code that forked ended: `StopIteration`: it returned; None: it waits.
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
        stacks.part()
        interpreter.part_from_parent()
        for descriptor in self._descriptors:
            with suppress(OSError):
                os.close(descriptor)
        # Ends a child that another task of the handler forked, at the second turn: an exception ends the loop before.
        self._loop.call_soon(self._loop.call_soon, self._leave, None)
        self._loop.set_exception_handler(self._hear)

    def _hear(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """In a child: end it with the exit that its task asked for. From Python 3.14 on a child has no current task, so
        the end of the task's step fails, and the loop is told of that instead of being ended by the exit.
        """
        error = context.get("exception")
        asked = error.__context__ if isinstance(error, RuntimeError) else None
        if isinstance(asked, SystemExit | KeyboardInterrupt):
            self._leave(asked)
        loop.default_exception_handler(context)


def _hold() -> None:
    """Hold signals back. One that hit the child before it has its own handlers would be reported to the parent, through
    the wake-up descriptor that they share.
    """
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _go_on() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _part() -> None:
    if not signals.own_fork:
        for descriptor in _own:
            with suppress(OSError):
                os.close(descriptor)
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            _give_back(number)
    _own.clear()
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _give_back(number: signal.Signals) -> None:
    """Set a signal back to its default if shardq or its loop listens to it. What the user's code set stays."""
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
