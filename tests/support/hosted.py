"""Handlers that do with their process what everyday programs do: fork, start programs, run loops of their own.

What to do stands in the request. What came of it is a line in the file `told` of its folder.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from shardq import Handler, Retry
from shardq.supervisor.wishes.signals import LISTENED
from shardq.system import stacks
from tests.support.programs import until
from tests.support.tasks import LIMIT_S

VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


class Act(NamedTuple):
    folder: str
    what: str


def told(folder: Path) -> list[str]:
    """What was told so far."""
    path = folder / "told"
    return path.read_text().splitlines() if path.exists() else []


def until_told(folder: Path, what: str) -> str:
    """Wait until it is told what came of this, and return it."""

    def found() -> list[str]:
        return [line.partition("=")[2] for line in told(folder) if line.partition("=")[0] == what]

    until(lambda: bool(found()), f"it is told what came of {what!r}")
    return found()[0]


def tell(folder: str | Path, what: str, came: object) -> None:
    """Add a line; the kernel keeps so short a one together."""
    with Path(folder, "told").open("a") as file:
        file.write(f"{what}={came}\n")


def _status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _child(work: Callable[[], Any]) -> int:
    pid = os.fork()
    if pid == 0:
        work()
    return pid


def _forever() -> None:
    """In short sleeps: a signal that comes just before a sleep begins does not end it."""
    end_s = time.monotonic() + LIMIT_S * 10
    while time.monotonic() < end_s:
        time.sleep(0.05)


def _fail() -> NoReturn:
    raise ValueError("the child fails")


def _pool_left_by_timeout() -> str:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        try:
            pool.apply_async(_forever).get(timeout=0.1)
        except multiprocessing.TimeoutError:
            return "left"
    raise AssertionError


def _terminated() -> object:
    process = multiprocessing.get_context("fork").Process(target=_forever)
    process.start()
    process.terminate()
    process.join()
    return process.exitcode


def _terminated_from_thread() -> object:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_terminated).result()


def _interrupted() -> int:
    ready, say = os.pipe()

    def wait() -> None:
        try:
            os.write(say, b".")
            _forever()
        except KeyboardInterrupt:
            os._exit(7)

    pid = _child(wait)
    os.read(ready, 1)
    os.kill(pid, signal.SIGINT)
    os.close(ready)
    os.close(say)
    return _status(pid)


def _hung_up() -> int:
    pid = _child(_forever)
    os.kill(pid, signal.SIGHUP)
    return _status(pid)


def _on_terminal() -> int:
    pid, terminal = pty.fork()
    if pid == 0:
        sys.exit(4)
    try:
        return _status(pid)
    finally:
        os.close(terminal)


def _asked_child() -> str:
    """Whether a child listens as its worker does to those who ask for stacks, and what it tells them."""
    ready, say = os.pipe()

    def wait() -> None:
        os.write(say, b".")
        _forever()

    pid = _child(wait)
    os.read(ready, 1)
    caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    told = stacks.ask([pid])[pid]
    os.kill(pid, signal.SIGKILL)
    _status(pid)
    os.close(ready)
    os.close(say)
    assert caught
    return f"{int(caught[1], 16) >> (stacks.SIGNAL - 1) & 1} {told.text!r} {told.silent.partition(':')[0]}"


def _runs_loop_in_child() -> int:
    async def code() -> int:
        await asyncio.sleep(0)
        return 9

    return _status(_child(lambda: os._exit(asyncio.run(code()))))


def _signals_of(pid: int) -> str:
    """Those of the signals of a family that a program ignores, catches or holds back; and what it has open of its
    worker beside standard input and output, of which uvloop gives it copies.
    """
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    masks = [int(status[name], 16) for name in ("SigIgn", "SigCgt", "SigBlk")]
    strange = sorted(number.name for number in LISTENED if any(mask >> (number - 1) & 1 for mask in masks))
    standard = {os.readlink(f"/proc/self/fd/{number}") for number in range(3)}
    return f"{strange} {sorted(_open_in(pid) & _open_in(os.getpid()) - standard)}"


def _open_in(pid: int) -> set[str]:
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def _until_executed(pid: int) -> None:
    until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", "the program is executed")


_SLEEP = ["/bin/sleep", str(LIMIT_S * 10)]


def _program() -> str:
    with subprocess.Popen(_SLEEP, close_fds=False) as process:
        _until_executed(process.pid)
        seen = _signals_of(process.pid)
        process.kill()
    return seen


def _spawned() -> str:
    pid = os.posix_spawn(_SLEEP[0], _SLEEP, dict(os.environ))
    _until_executed(pid)
    seen = _signals_of(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return seen


def _executed() -> str:
    pid = _child(lambda: os.execv(_SLEEP[0], _SLEEP))
    _until_executed(pid)
    seen = _signals_of(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return seen


async def _program_of_loop() -> str:
    process = await asyncio.create_subprocess_exec(*_SLEEP)
    _until_executed(process.pid)
    seen = _signals_of(process.pid)
    process.kill()
    await process.wait()
    return seen


async def _exits_in_coroutine() -> int:
    return _status(_child(lambda: sys.exit(5)))


async def _waits_in_loop() -> int:
    pid = os.fork()
    if pid == 0:
        await asyncio.sleep(0)
    return _status(pid)


async def _exits_in_task() -> int:
    async def fork() -> int:
        return _status(_child(lambda: sys.exit(6)))

    return await asyncio.create_task(fork())


async def _waits_in_task() -> int:
    return await asyncio.create_task(_waits_in_loop())


def _runs_loop_that_takes_signals() -> str:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGUSR1):
            loop.add_signal_handler(number, print)
        await asyncio.sleep(0)
        return "ran"

    return asyncio.run(main())


def _orphan() -> int:
    """A program in the background whose shell ends before it."""
    return subprocess.run(("sh", "-c", "sleep 0.1 & exit 0"), check=True).returncode


def _orphan_of_child() -> int:
    def leave() -> None:
        if os.fork():
            os._exit(0)
        time.sleep(0.1)
        os._exit(0)

    return _status(_child(leave))


def _orphan_of_signal() -> int:
    """A program that dies by a signal when its parent is gone."""
    return subprocess.run(("sh", "-c", "(sleep 0.1; kill -9 $$) & exit 0"), check=True).returncode


PLAIN: dict[str, Callable[[], object]] = {
    "leave a pool by timeout": _pool_left_by_timeout,
    "terminate a process": _terminated,
    "terminate a process from a thread": _terminated_from_thread,
    "child exits": lambda: _status(_child(lambda: sys.exit(0))),
    "child exits with a code": lambda: _status(_child(lambda: sys.exit(3))),
    "child exits with a text": lambda: _status(_child(lambda: sys.exit("a text"))),
    "child raises": lambda: _status(_child(_fail)),
    "child is interrupted": _interrupted,
    "child is hung up": _hung_up,
    "child on a terminal exits": _on_terminal,
    "child runs a loop": _runs_loop_in_child,
    "child is asked for its stack": _asked_child,
    "program": _program,
    "spawned program": _spawned,
    "executed program": _executed,
    "loop that takes signals": _runs_loop_that_takes_signals,
    "standard files": lambda: [os.readlink(f"/proc/self/fd/{number}") for number in range(3)],
    "orphan": _orphan,
    "orphan of a child": _orphan_of_child,
    "orphan of a signal": _orphan_of_signal,
    "secrets": lambda: [name for name, value in os.environ.items() if ":secret@" in value],
    "nothing": lambda: "done",
}

ASYNC: dict[str, Callable[[], Any]] = {
    "child exits in a coroutine": _exits_in_coroutine,
    "child waits in the loop": _waits_in_loop,
    "child exits in a task": _exits_in_task,
    "child waits in a task": _waits_in_task,
    "program of a loop": _program_of_loop,
}


class Plain(Handler[Act]):
    retry = Retry(max_attempts=1)

    def perform(self, *acts: Act) -> None:
        for act in acts:
            tell(act.folder, act.what, PLAIN[act.what]())


class Async(Handler[Act]):
    retry = Retry(max_attempts=1)

    async def perform(self, *acts: Act) -> None:
        for act in acts:
            tell(act.folder, act.what, await ASYNC[act.what]())


class Returning(Handler[Act]):
    """Forks, and lets both of them return."""

    retry = Retry(max_attempts=1)

    def perform(self, *acts: Act) -> None:
        for act in acts:
            pid = os.fork()
            if pid:
                tell(act.folder, act.what, _status(pid))
