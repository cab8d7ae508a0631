"""Programs of tests that need no interpreter of their own: forked from the process that runs the tests.

To start one takes some milliseconds; a new interpreter takes a third of a second before it has imported the package.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn


class Forked:
    """A process that runs `main` with these arguments. It has pipes for its standard input and output."""

    def __init__(self, main: Callable[[], object], arguments: Sequence[str]) -> None:
        theirs, self._input = os.pipe()
        self._output, out = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._input)
            os.close(self._output)
            _run_and_exit(main, arguments, theirs, out)
        os.close(theirs)
        os.close(out)
        self._status: int | None = None

    def line(self) -> str:
        """Wait until it printed something; empty where it ended before."""
        said = b""
        while not said.endswith(b"\n") and (more := os.read(self._output, 1 << 12)):
            said += more
        return said.decode()

    async def line_soon(self) -> str:
        """The same, and others run meanwhile."""
        loop, printed = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._output, printed.set)
        try:
            await printed.wait()
        finally:
            loop.remove_reader(self._output)
        return self.line()

    def kill(self) -> None:
        """SIGKILL, and wait until the kernel reported the death."""
        if self._status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """End its input, wait until it has ended, and return its exit code."""
        if self._status is None:
            os.close(self._input)
            _, status = os.waitpid(self.pid, 0)
            os.close(self._output)
            self._status = os.waitstatus_to_exitcode(status)
        return self._status


def _run_and_exit(main: Callable[[], object], arguments: Sequence[str], theirs: int, out: int) -> NoReturn:
    """Nothing of the test runner may run on in the child."""
    code = 1
    try:
        os.dup2(theirs, 0)
        os.dup2(out, 1)
        os.close(theirs)
        os.close(out)
        sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
        sys.argv = [sys.argv[0], *arguments]
        main()
        sys.stdout.flush()
        code = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)
