"""Handlers for tests that run a supervisor, and the folder through which they and the test hear of each other.

Each request carries the folder. In it is a FIFO `journal`, to which handlers write a line for whatever they do, and a
FIFO `permits`, from which `Gated` takes a byte before it does an item. So a test waits for lines, and lets things go on
when it wants to, without looking at a clock.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, NamedTuple

from shardq import Handler, Retry, Route
from tests.support.tasks import LIMIT_S


class Note(NamedTuple):
    folder: str
    number: int
    thread: int = 0
    padding: bytes = b""


class Line(NamedTuple):
    """What a handler wrote to the journal."""

    what: str
    pid: int
    thread: int
    number: int


class Folder:
    """The test's side of the journal and of the permits."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[Line] = []
        self._rest = b""
        os.mkfifo(path / "journal")
        os.mkfifo(path / "permits")
        # For reading and writing: handlers find the other side open whenever they come.
        self._journal = os.open(path / "journal", os.O_RDWR | os.O_NONBLOCK)
        self._permits = os.open(path / "permits", os.O_RDWR)

    def notes(self, numbers: Iterable[int], threads: int = 1, padding: int = 0) -> list[Note]:
        """Requests that report here, spread over so many threads, each with so many bytes in it that no code reads."""
        return [Note(str(self.path), number, number % threads, bytes(padding)) for number in numbers]

    def permit(self, count: int) -> None:
        """Let so many items of `Gated` be done."""
        os.write(self._permits, b"." * count)

    def until(self, what: str, *numbers: int) -> list[Line]:
        """Wait until the journal has such a line for each of the numbers, and return these, the latest of each."""
        deadline = time.monotonic() + LIMIT_S
        while missing := set(numbers) - {line.number for line in self.lines if line.what == what}:
            assert self._read(deadline), f"no line {what!r} for {sorted(missing)} in {self.lines}"
        latest = {line.number: line for line in self.lines if line.what == what}
        return [latest[number] for number in numbers]

    def until_again(self, line: Line) -> Line:
        """Wait until another process writes this line, and return it."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            for other in self.lines:
                if other.pid != line.pid and other._replace(pid=line.pid) == line:
                    return other
            assert self._read(deadline), f"no process wrote {line}"

    def done(self, thread: int | None = None) -> list[int]:
        """Numbers of what was done so far, in order, of one thread or of all."""
        while self._read(0.0):
            continue
        return [line.number for line in self.lines if line.what == "done" and thread in (None, line.thread)]

    def close(self) -> None:
        os.close(self._journal)
        os.close(self._permits)

    def _read(self, deadline: float) -> bool:
        """Take in more of the journal. False where nothing came until the deadline."""
        readable, _, _ = select.select((self._journal,), (), (), max(0.0, deadline - time.monotonic()))
        if not readable:
            return False
        *texts, self._rest = (self._rest + os.read(self._journal, 1 << 16)).split(b"\n")
        for what, *numbers in map(str.split, map(bytes.decode, texts)):
            self.lines.append(Line(what, *map(int, numbers)))
        return True


def _write(what: str, note: Note) -> None:
    """Add a line to the journal; the kernel keeps so short a one together."""
    descriptor = os.open(f"{note.folder}/journal", os.O_WRONLY)
    try:
        os.write(descriptor, f"{what} {os.getpid()} {note.thread} {note.number}\n".encode())
    finally:
        os.close(descriptor)


def _take_permit(note: Note) -> None:
    """Block the whole process until there is a permit, as code does that never comes back to the event loop."""
    descriptor = os.open(f"{note.folder}/permits", os.O_RDONLY)
    try:
        os.read(descriptor, 1)
    finally:
        os.close(descriptor)


class _Routed(Handler[Note]):
    @classmethod
    def route(cls, *notes: Note) -> list[Route]:
        return [Route(note.thread) for note in notes]


class Record(_Routed):
    """Does every item at once."""

    async def perform(self, *notes: Note) -> None:
        for note in notes:
            _write("done", note)


class Gated(_Routed):
    """Begins an item, and does it when there is a permit."""

    def perform(self, *notes: Note) -> None:
        for note in notes:
            _write("begin", note)
            _take_permit(note)
            _write("done", note)


class Tracked(_Routed):
    """As `Gated`, and says how far it is."""

    def perform(self, *notes: Note) -> None:
        for done, note in enumerate(notes):
            self.progress(done, len(notes), f"number {note.number} \x1b[31m")
            _write("begin", note)
            _take_permit(note)
            _write("done", note)


class Bloated(_Routed):
    """Keeps 256 MiB for ever, item by item."""

    kept: ClassVar[list[bytearray]] = []

    def perform(self, *notes: Note) -> None:
        for note in notes:
            self.kept.append(bytearray(b"x" * (256 << 20)))
            _write("done", note)


class Forward(_Routed):
    """Hands every item on to `Record`."""

    async def perform(self, *notes: Note) -> None:
        await self.queue.register(Record, *notes)


class Failing(_Routed):
    """Fails for odd numbers when it sees them for the first time."""

    def perform(self, *notes: Note) -> None:
        for note in notes:
            seen = Path(note.folder, f"seen-{note.number}")
            if note.number % 2 and not seen.exists():
                seen.touch()
                raise ValueError(f"number {note.number} is odd")
            _write("done", note)


class Doomed(_Routed):
    """Fails once and for all."""

    retry = Retry(on_failure="skip")

    def perform(self, *notes: Note) -> None:
        raise ValueError("doomed")


class Patient(_Routed):
    """Fails, and tries again in an hour."""

    retry = Retry(backoff_s=3600.0, backoff_max_s=3600.0, jitter=False)

    def perform(self, *notes: Note) -> None:
        raise ValueError("not yet")


class Broken(_Routed):
    """Fails until there is a file `mended` in the folder."""

    retry = Retry(max_attempts=1_000_000, backoff_s=0.01, backoff_max_s=0.01)

    def perform(self, *notes: Note) -> None:
        for note in notes:
            if not Path(note.folder, "mended").exists():
                raise ValueError(f"number {note.number} is broken")
            _write("done", note)
