"""Programs as a user runs them: started, listened to, and sent signals by their process id."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import IO, Any, cast

import psutil

from shardq.supervisor.wishes.stopping import ONE_WISH_S
from tests.support import python
from tests.support.python import Program
from tests.support.tasks import LIMIT_S

ROOT = Path(__file__).resolve().parents[2]


def until(happened: Callable[[], bool], what: str) -> None:
    """Wait for what no descriptor tells of. Where one does, wait for that instead."""
    deadline = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < deadline, f"it did not happen that {what}"
        time.sleep(0.005)


def wait_out_one_wish() -> None:
    """Until a signal is a new wish, after one that was heard."""
    end = time.monotonic() + ONE_WISH_S
    until(lambda: time.monotonic() > end, "the time of one wish is over")


class Supervise:
    """`python -m shardq.supervise` with these arguments, in a process group of its own."""

    def __init__(
        self,
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        on_terminal: bool = False,
        by: Sequence[str] = (),
        python: str = sys.executable,
        **others: Any,
    ) -> None:
        """`by`: a command that starts it, with arguments. `others`: for `subprocess.Popen`."""
        self._errors, theirs = pty.openpty() if on_terminal else os.pipe()
        self.heard = ""
        """What it wrote to its standard error so far, with that of its workers."""
        options = {"cwd": ROOT, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "process_group": 0} | others
        self._process = Program[bytes](
            (*by, python, "-m", "shardq.supervise", *map(str, arguments)),
            env=clean_environment() | dict(environment or {}),
            stderr=theirs,
            **cast(Any, options),
        )
        os.close(theirs)

    @property
    def pid(self) -> int:
        return self._process.pid

    def hear(self, pattern: str) -> re.Match[str]:
        """Wait until its standard error has a match of this."""
        deadline = time.monotonic() + LIMIT_S
        while not (found := re.search(pattern, self.heard)):
            assert self._listen(deadline), f"{pattern!r} was not to be heard in:\n{self.heard}"
        return found

    def hear_times(self, text: str, times: int) -> None:
        """Wait until its standard error has this text so often."""
        deadline = time.monotonic() + LIMIT_S
        while self.heard.count(text) < times:
            assert self._listen(deadline), f"{text!r} was not to be heard {times} times in:\n{self.heard}"

    def serving(self) -> Supervise:
        """Wait until it serves its storage and takes signals as wishes."""
        self.hear(r"serving url=\w")
        return self

    def workers(self, count: int) -> set[int]:
        """Wait until it has so many workers, and return their process ids."""
        found: set[int] = set()

        def complete() -> bool:
            nonlocal found
            found = self._living()
            return len(found) == count

        until(complete, f"{self.pid} has {count} workers")
        return found

    def some_workers(self) -> set[int]:
        """Wait until it has any workers, and return their process ids."""
        found: set[int] = set()

        def any_there() -> bool:
            nonlocal found
            found = self._living()
            return bool(found)

        until(any_there, f"{self.pid} has workers")
        return found

    def told_workers_to_stop(self, left: int) -> None:
        """After a signal: wait until only so many workers are left, because the others had nothing in hand. It took
        note of their end, so it has told those that are left as well.
        """
        until(lambda: len(self._family()) <= left, f"{self.pid} let its idle workers go")

    def signal(self, number: Signals) -> None:
        self._process.send_signal(number)

    def signal_group(self, number: Signals) -> None:
        """What a terminal does on Ctrl-C."""
        os.killpg(self.pid, number)

    def end(self) -> int:
        """Wait until it has ended, and return its exit code. Its workers ended before it: callers count on that."""
        family = self._family()
        if self._process.poll() is None:
            self._hear_until_death()
        code = self._process.wait(LIMIT_S)
        assert [process for process in family if _lives(process)] == []
        self.hear_all()
        return code

    def hear_all(self) -> str:
        """Wait until no process has its standard error any more: not it, and none of its workers."""
        deadline = time.monotonic() + LIMIT_S
        while self._listen(deadline):
            continue
        assert time.monotonic() < deadline, f"a process still has the standard error of {self.pid}:\n{self.heard}"
        return self.heard

    def stop(self, number: Signals = SIGTERM) -> int:
        """Send the signal, wait until it has ended, and return its exit code."""
        self.signal(number)
        return self.end()

    def printed(self) -> str:
        """What it wrote to its standard output, once it has ended."""
        out: IO[bytes] | None = self._process.stdout
        assert out is not None
        return out.read().decode()

    def kill(self) -> None:
        """Kill it alone, and wait until the kernel says that it is dead."""
        self.signal(SIGKILL)
        self._process.wait(LIMIT_S)

    def kill_family(self) -> None:
        """Kill it and its workers at one blow, and wait until none of them is left: they end in no order."""
        family = self._family()
        self.signal_group(SIGKILL)
        self._process.wait(LIMIT_S)
        until(lambda: not any(map(_lives, family)), f"the workers of {self.pid} die")
        self.hear_all()

    def discard(self) -> None:
        """End what is left of it and of its workers, in whatever state the test left them."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, SIGKILL)
        self._process.communicate()
        os.close(self._errors)

    def _living(self) -> set[int]:
        return {process.pid for process in psutil.Process(self.pid).children() if _lives(process)}

    def _hear_until_death(self) -> None:
        deadline = time.monotonic() + LIMIT_S
        with _watched(self.pid) as death:
            while self._listen(deadline, death):
                continue

    def _family(self) -> list[psutil.Process]:
        if self._process.poll() is not None:
            return []
        return psutil.Process(self.pid).children(recursive=True)

    def _listen(self, deadline: float, death: int = -1) -> bool:
        """Take in more of its standard error. False at its end, where nothing came until the deadline, and at a death
        when nothing more is to be heard.
        """
        sources = [self._errors] if death < 0 else [self._errors, death]
        readable, _, _ = select.select(sources, (), (), max(0.0, deadline - time.monotonic()))
        if self._errors not in readable:
            return False
        try:
            data = os.read(self._errors, 1 << 16)
        except OSError:  # a terminal says so when its last user has gone
            return False
        self.heard += data.decode()
        return bool(data)


@contextmanager
def _watched(pid: int) -> Iterator[int]:
    """A descriptor that becomes readable when the process ends."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def run_together(commands: Sequence[Sequence[str]], url: str) -> list[subprocess.CompletedProcess[str]]:
    """Run these commands of `python -m shardq` on a segment, all at the same time: each may wait for seconds."""

    def run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "shardq", *words, "--url", url)
        return python.run(command, cwd=ROOT, capture_output=True, text=True)

    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(run, commands))


def clean_environment() -> dict[str, str]:
    """Without the settings of the user that runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("QUEUE_")}


def lives(pid: int) -> bool:
    """Whether the process is there, and more than a corpse that no parent has reaped."""
    try:
        return _lives(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
