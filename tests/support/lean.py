"""A small process, which calls functions of tests that fork a lot.

A fork, and the end of what was forked, take the longer the more memory the forking process has, and the one that runs
the tests has all of them. This one has imported what it was told to, and forks a process for each call: a call finds
nothing of an earlier one.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NoReturn, ParamSpec, TypeVar

import psutil

from shardq.drivers.shared.engine import VARIABLE
from tests.support import leaks

P = ParamSpec("P")
T = TypeVar("T")

_ROOT = Path(__file__).parents[2]


class CallFailed(AssertionError):
    """The function raised, or its process ended without an answer."""


class LeanProcess:
    """It is started at the first call, with these modules imported."""

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        self._process: subprocess.Popen[bytes] | None = None
        self._calls: Connection | None = None

    def call(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """What a function of a module returns there. It, its arguments and its result have to be such that they can be
        pickled. Raises `CallFailed`.
        """
        calls = self._started()
        try:
            calls.send((function, arguments, named))
            raised, answer = calls.recv()
        except BaseException:
            self.end()
            raise
        if raised:
            raise CallFailed(answer)
        result: T = answer
        return result

    def end(self) -> None:
        """End it, with what a call that was cut off left at work."""
        process, self._process = self._process, None
        if process is None:
            return
        assert self._calls
        self._calls.close()
        for each in psutil.Process(process.pid).children(recursive=True):
            each.kill()
        process.kill()
        process.wait()
        leaks.lasting.remove(process.pid)

    def _started(self) -> Connection:
        if self._process is None or self._calls is None:
            self._calls, theirs = Pipe()
            with theirs:
                # As in the process that runs the tests, warnings are errors.
                words = (sys.executable, "-W", "error", "-m", __name__, str(theirs.fileno()), *self._modules)
                # It is cut off at lines of Python, and the frequent case has none where it is done in C.
                variables = {**os.environ, VARIABLE: "python"}
                self._process = subprocess.Popen(words, cwd=_ROOT, pass_fds=(theirs.fileno(),), env=variables)
            leaks.lasting.add(self._process.pid)
        return self._calls


def _serve(calls: Connection) -> None:
    """Fork a process for each call, until the other end is closed."""
    while True:
        try:
            call = calls.recv_bytes()
        except EOFError:
            return
        answers, answering = Pipe(duplex=False)
        pid = os.fork()
        if pid == 0:
            _answer_and_exit(answering, call)
        answering.close()
        with answers:
            answer = _answer_of(pid, answers)
        _, status = os.waitpid(pid, 0)  # the caller is to find it gone
        calls.send_bytes(answer or pickle.dumps((True, f"the process of the call ended with wait status {status}")))


def _answer_of(pid: int, answers: Connection) -> bytes:
    """What the process says; nothing where it ends without a word, whatever it leaves at work."""
    end = os.pidfd_open(pid)
    try:
        wait([answers, end])
        return answers.recv_bytes() if answers.poll() else b""
    except EOFError:
        return b""
    finally:
        os.close(end)


def _answer_and_exit(answering: Connection, call: bytes) -> NoReturn:
    """In a forked process: nothing of the server may run on in it."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        answering.send_bytes(_answer(call))
    finally:
        os._exit(0)


def _answer(call: bytes) -> bytes:
    """Whether the call raised, and what it returned or a text of what it raised."""
    unraisable = list[str]()
    sys.unraisablehook = lambda found: unraisable.append(f"{found.exc_value!r} in {found.object!r}")
    try:
        function, arguments, named = pickle.loads(call)
        result = function(*arguments, **named)
        gc.collect()
        assert not unraisable, unraisable
        return pickle.dumps((False, result))
    except BaseException:
        return pickle.dumps((True, traceback.format_exc()))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the tests and to all that they started
    for module in sys.argv[2:]:
        import_module(module)
    gc.freeze()  # a collection in a process of a call would copy all that was imported here
    _serve(Connection(int(sys.argv[1])))
