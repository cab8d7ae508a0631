"""A handler that dies in every way there is, at every place where a handler's code runs.

Where and how stands in the request, for `perform`, or in a file `plan` of the folder, for what runs without one. Those
that die while a request is decoded are in `tests.support.delicate`: they need pydantic, which takes time to import.

Once there is a file `mended` no handler crashes by plan any more.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from shardq import Handler, Retry
from shardq.supervisor.workers import hung
from shardq.working import failure
from tests.support.tasks import LIMIT_S

#: The folder, for the handlers of a supervisor that was started with this in its environment.
FOLDER = "TESTS_CRASHING_FOLDER"
TIMEOUT_S, GRACE_S = 0.3, hung.GRACE_S
TIMEOUT, _GRACE = "TESTS_CRASHING_TIMEOUT", "TESTS_CRASHING_GRACE"

if FOLDER in os.environ:  # in a supervisor and its workers
    failure._NEWS_S = LIMIT_S
    hung.GRACE_S = float(os.environ.get(_GRACE, LIMIT_S))


def environment(folder: Path, how: str = "") -> dict[str, str]:
    """For a supervisor of these handlers, that crash like this. Time is short only where something is to run out of
    it: a pause of the machine is not to look like one that hangs.
    """
    short = {"sleep": {TIMEOUT: TIMEOUT_S}, "spin": {TIMEOUT: TIMEOUT_S}}
    short |= {how: {TIMEOUT: TIMEOUT_S, _GRACE: GRACE_S} for how in ("hang", "stop-in-native-code")}
    return {FOLDER: str(folder), **{name: str(seconds) for name, seconds in short.get(how, {}).items()}}


class Ask(NamedTuple):
    number: int
    how: str = ""


def crash(how: str) -> None:
    """Die, or raise, or never come back."""
    _CRASHES[how]()


def _raise() -> None:
    raise KeyError("out of luck")


def _exhaust_memory() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (256 << 20, hard))
    try:
        bytearray(1 << 30)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _recurse() -> None:
    _recurse()


def _interrupt() -> None:
    raise KeyboardInterrupt


def _leave_generator() -> None:
    raise GeneratorExit


def _cancel() -> None:
    """As code that takes its worker's task, where it can see one, for a task of its own."""
    with suppress(RuntimeError):
        if task := asyncio.current_task():
            task.cancel()
    raise asyncio.CancelledError


def _spin() -> None:
    while True:
        pass


def _hang_in_native_code() -> None:
    """Wait for a lock twice, holding the interpreter: no signal handler of Python's ever runs again."""
    native = ctypes.PyDLL(None)
    lock = ctypes.create_string_buffer(64)
    native.pthread_mutex_lock(lock)
    native.pthread_mutex_lock(lock)


def _stop() -> None:
    """Stop the process, in the middle of native code that holds the interpreter, until the test lets it go on."""
    ctypes.PyDLL(None).kill(os.getpid(), signal.SIGSTOP)


_CRASHES: dict[str, Any] = {
    "raise": _raise,
    "system-exit": lambda: sys.exit("out of luck"),
    "recursion": _recurse,
    "interrupt": _interrupt,
    "generator-exit": _leave_generator,
    "cancel": _cancel,
    "memory": _exhaust_memory,
    "exit": lambda: os._exit(3),
    "exit-0": lambda: os._exit(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "sleep": lambda: time.sleep(3600),
    "spin": _spin,
    "stop-in-native-code": _stop,
    "hang": _hang_in_native_code,
}


def note(what: str) -> None:
    """Add a line to the file `done`, or to `crashed`, of the folder."""
    name, _, text = what.partition(" ")
    descriptor = os.open(Path(os.environ[FOLDER], name), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{text}\n".encode())
    os.close(descriptor)


def _maybe(where: str) -> None:
    """Crash where the plan says so."""
    folder = Path(os.environ[FOLDER])
    plan = folder / "plan"
    if plan.exists() and not (folder / "mended").exists():
        place, how = plan.read_text().split()
        if place == where:
            note(f"crashed {where}")
            crash(how)


class Fragile(Handler[Ask]):
    retry = Retry(max_attempts=2, backoff_s=0.01)
    timeout_s = float(os.environ.get(TIMEOUT, LIMIT_S))

    @classmethod
    def create(cls) -> Fragile:
        _maybe("create")
        return cls()

    def start(self) -> None:
        _maybe("start")

    def perform(self, *asks: Ask) -> None:
        for ask in asks:
            if ask.how:
                crash(ask.how)
            note(f"done {ask.number}")

    def stop(self) -> None:
        _maybe("stop")


class Dozing(Handler[Ask]):
    """Is stopped while it works, and has a single attempt."""

    retry = Retry(max_attempts=1)
    timeout_s = 1.0
    batch_size = 1

    def perform(self, ask: Ask) -> None:
        _stop()
        note(f"done {ask.number}")


class AsyncDozing(Dozing):
    async def perform(self, ask: Ask) -> None:
        _stop()
        for _ in range(10):  # turns of the loop, in which it may find that the time is over
            await asyncio.sleep(0)
        note(f"done {ask.number}")


class Router(Handler[Ask]):
    """Crashes in the process that registers."""

    @classmethod
    def route(cls, *asks: Ask) -> Any:
        crash(asks[0].how)

    def perform(self, *asks: Ask) -> None:
        raise AssertionError("nothing can be registered")
