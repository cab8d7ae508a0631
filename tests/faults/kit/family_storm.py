"""A handler for a storm over a whole family, and the notes it leaves in files.

One file for each thread, in which only the one worker that has the thread can write, as an independent lock file makes
sure. A note is a single write, each line marked at its end, so that a process killed while writing leaves a line that
does not count.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from shardq import Handler, Retry, Route
from tests.support.lock_file import TwoHolders, take_lock_file

THREADS = 4
LARGEST_CALL = 24
MARK = ";"


class Gust(NamedTuple):
    folder: str
    thread: int
    who: str
    """Its producer."""
    call: int
    """Which of the producer's calls of `register`."""
    position: int
    """In that call."""

    @property
    def poisonous(self) -> bool:
        """Whether it fails always."""
        return self.call % 17 == 5 and self.position == 1


class Delivery(NamedTuple):
    pid: int
    who: str
    call: int
    position: int
    ended: bool
    """Whether its batch came to its end in the handler."""


class Stormy(Handler[Gust]):
    retry = Retry(max_attempts=5, backoff_s=0.01, backoff_max_s=0.02)

    @classmethod
    def route(cls, *gusts: Gust) -> list[Route]:
        return [Route(gust.thread) for gust in gusts]

    def handle(self, *gusts: Gust) -> None:
        folder, thread = Path(gusts[0].folder), gusts[0].thread
        lock = _take_lock(folder, thread)
        lines = [f"{os.getpid()} {gust.who} {gust.call} {gust.position}" for gust in gusts]
        _write(folder / f"thread-{thread}", ["begin", *lines])
        try:
            if any(gust.poisonous for gust in gusts):
                raise ValueError("poison")
            _write(folder / f"thread-{thread}", ["end"])
        finally:
            lock.unlink()


def deliveries(folder: Path, thread: int) -> list[Delivery]:
    """In the order in which the thread's workers were handed them."""
    found: list[Delivery] = []
    begin = 0
    for words in read(folder / f"thread-{thread}"):
        if words == ["begin"]:
            begin = len(found)
        elif words == ["end"]:
            found[begin:] = [delivery._replace(ended=True) for delivery in found[begin:]]
        else:
            found.append(Delivery(int(words[0]), words[1], int(words[2]), int(words[3]), ended=False))
    return found


def note_accepted(folder: Path, gusts: Sequence[Gust]) -> None:
    """Write down what `register` returned for."""
    _write(folder / "accepted", [f"{gust.thread} {gust.who} {gust.call} {gust.position}" for gust in gusts])


def read(path: Path) -> Iterator[list[str]]:
    """The words of each whole line."""
    for line in path.read_text().split("\n") if path.exists() else ():
        *words, mark = line.split() or [""]
        if mark == MARK:
            yield words


def _write(path: Path, lines: Sequence[str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, "".join(f"\n{line} {MARK}" for line in lines).encode())
    os.close(descriptor)


def _take_lock(folder: Path, thread: int) -> Path:
    try:
        return take_lock_file(folder, str(thread))
    except TwoHolders as error:
        _write(folder / "violations", [str(error)])
        raise
