"""What workers tell their supervisor, which is on the same host: lines through a pipe."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from fcntl import F_SETPIPE_SZ, fcntl

ARRIVED, RENEW, DEADLINE, PROGRESS, WORK = "arrived", "renew", "deadline", "progress", "work"

#: Bytes that the pipe is to hold, the most that Linux gives to any process: a worker with time limits writes two lines
#: a batch, and a supervisor that waits for its server does not read meanwhile.
_CAPACITY_BYTES = 1 << 20

#: Handlers' threads and timers tell as well. Reentrant: a line that a signal interrupts may be written twice.
_turns = threading.RLock()


class News:
    """The pipe. A line is written whole or not at all. Where the supervisor does not read, the newest line of each kind
    waits until it does.
    """

    def __init__(self, reader: int = -1, writer: int = -1) -> None:
        self.reader, self.writer = reader, writer
        self._begun = b""
        self._unsaid: dict[str, bytes] = {}
        """Lines that had no room, by kind, in their order."""

    def open(self) -> None:
        """Made before workers are forked."""
        if self.reader < 0:
            self.reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            with suppress(OSError):  # the user has many pipes already: this one keeps the size of all others
                fcntl(self.writer, F_SETPIPE_SZ, _CAPACITY_BYTES)

    def tell(self, what: str, more: int | str = 0) -> None:
        """Of this process. Where the supervisor is dead the line is lost. One that had no room is written in a later
        step of the running loop, or before the next line.
        """
        line = f"{what} {os.getpid()} {more}\n".encode()
        with _turns:
            self._unsaid.pop(what, None)
            self._unsaid[what] = line
            if self._write():
                return
        with suppress(RuntimeError):  # no loop runs
            loop = asyncio.get_running_loop()
            loop.add_writer(self.writer, self._write_later, loop)

    def _write(self) -> bool:
        """Write what is unsaid. False: there is no room for all of it."""
        while self._unsaid:
            what = next(iter(self._unsaid))
            try:
                os.write(self.writer, self._unsaid[what])
            except BlockingIOError:
                return False
            except OSError:  # nothing reads any more
                pass
            self._unsaid.pop(what, None)
        return True

    def _write_later(self, loop: asyncio.AbstractEventLoop) -> None:
        with _turns:
            if self._write():
                loop.remove_writer(self.writer)

    def heard(self) -> Iterator[tuple[str, int, str]]:
        """What was told since: what, of which process, and a word more."""
        if self.reader < 0:
            return
        with suppress(BlockingIOError):
            while some := os.read(self.reader, 1 << 16):
                self._begun += some
        *lines, self._begun = self._begun.split(b"\n")
        for line in lines:
            what, pid, more = line.decode().split()
            yield what, int(pid), more

    def close_reader(self) -> None:
        """In a worker."""
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1

    def close(self) -> None:
        self.close_reader()
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1


def _renew_lock() -> None:
    global _turns
    _turns = threading.RLock()  # another thread may have held it when the fork came


os.register_at_fork(after_in_child=_renew_lock)
