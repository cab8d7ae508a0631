"""What workers tell their supervisor, which is on the same host: lines through a pipe."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

ARRIVED, RENEW, DEADLINE, PROGRESS, WORK = "arrived", "renew", "deadline", "progress", "work"


class News:
    """The pipe. A line is written whole or not at all."""

    def __init__(self, reader: int = -1, writer: int = -1) -> None:
        self.reader, self.writer = reader, writer
        self._begun = b""

    def open(self) -> None:
        """Made before workers are forked."""
        if self.reader < 0:
            self.reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def tell(self, what: str, more: int | str = 0) -> None:
        """Of this process. Where the supervisor is dead, or does not read, the line is lost."""
        with suppress(OSError):
            os.write(self.writer, f"{what} {os.getpid()} {more}\n".encode())

    def heard(self) -> Iterator[tuple[str, int, str]]:
        """What was told since: what, of which process, and a word more."""
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
