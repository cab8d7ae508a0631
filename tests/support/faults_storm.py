"""Producers and consumers for a storm, and the history they leave in files.

A message is `WHO BATCH POSITION SIZE`. A producer notes a batch after it was accepted; consumers note what they were
handed, one file per tube, in order, because nobody else is at that tube. Notes are single writes, each line marked at
its end, so that whoever is killed while writing leaves a line that does not count.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple

from shardq.drivers.shared import SharedStorage
from shardq.model import key_of
from tests.support.faults_fsck import runs
from tests.support.faults_scene import everything

PIPES = [f"app/Storm/{thread}/{priority}" for thread in range(4) for priority in (0, 1)]
LARGEST_BATCH = 24
MARK = ";"


class TwoHolders(AssertionError):
    """A thread was claimed while somebody alive held it."""


class Message(NamedTuple):
    who: str
    batch: int
    position: int
    size: int

    def encoded(self) -> bytes:
        return " ".join(map(str, self)).encode()

    @classmethod
    def parsed(cls, words: list[str]) -> Message:
        return cls(words[0], int(words[1]), int(words[2]), int(words[3]))


class Delivery(NamedTuple):
    sequence: int
    message: Message


@dataclass(frozen=True)
class History:
    """Where the notes are."""

    folder: Path

    def note_accepted(self, pipe: str, first: Message) -> None:
        self._write("accepted", [f"{pipe} {first.encoded().decode()}"])

    def note_delivered(self, pipe: str, first: int, messages: list[bytes]) -> None:
        lines = [f"{first + n} {message.decode()}" for n, message in enumerate(messages)]
        self._write(f"delivered-{pipe.replace('/', '-')}", lines)

    def accepted(self) -> Iterator[tuple[str, Message]]:
        """First message of every batch whose producer was told that it was accepted."""
        for words in self._read("accepted"):
            yield words[0], Message.parsed(words[1:])

    def delivered(self, pipe: str) -> list[Delivery]:
        """In the order in which they were handed out."""
        name = f"delivered-{pipe.replace('/', '-')}"
        return [Delivery(int(words[0]), Message.parsed(words[1:])) for words in self._read(name)]

    def _write(self, name: str, lines: list[str]) -> None:
        note = "".join(f"\n{line} {MARK}" for line in lines).encode()
        descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, note)
        os.close(descriptor)

    def _read(self, name: str) -> Iterator[list[str]]:
        path = self.folder / name
        for line in path.read_text().split("\n") if path.exists() else ():
            *words, mark = line.split() or [""]
            if mark == MARK:
                yield words


async def produce(storage: SharedStorage, history: History, who: str, random: Random) -> None:
    """Append batches to tubes for ever."""
    number = 0
    while True:
        size = random.randint(1, LARGEST_BATCH)
        batch = [Message(who, number, n, size) for n in range(size)]
        pipe = random.choice(PIPES)
        assert await storage.append_when_room(pipe, [message.encoded() for message in batch])
        history.note_accepted(pipe, batch[0])
        number += 1


async def consume(storage: SharedStorage, history: History, random: Random) -> None:
    """Bind threads and handle what they have, for ever."""
    while True:
        key = await storage.wait(everything)
        token = await storage.claim(key) if key else 0
        if key and token:
            await _serve(storage, history, key, token, random)


async def _serve(storage: SharedStorage, history: History, key: str, token: int, random: Random) -> None:
    lock = _take_lock(history.folder, key)
    for pipe in (pipe for pipe in PIPES if key_of(pipe) == key):
        batch = await storage.take([pipe], random.randint(1, 4 * LARGEST_BATCH), token)
        if batch.count:
            history.note_delivered(pipe, batch.sequence, batch.messages)
            await storage.pop(pipe, batch.through, token)
    lock.unlink()
    assert await storage.unclaim(key, token)


def _take_lock(folder: Path, key: str) -> Path:
    """A file that says who holds the thread, independent of what is tested. It may be left by the dead."""
    lock, mine = folder / f"lock-{key.replace('/', '-')}", folder / f"pid-{os.getpid()}"
    mine.write_text(str(os.getpid()))
    for _ in range(2):
        with suppress(FileExistsError):
            os.link(mine, lock)
            return lock
        holder = int(lock.read_text())
        if runs(holder):
            raise TwoHolders(f"{key} was given to {os.getpid()} while {holder} holds it")
        lock.unlink()
    raise TwoHolders(f"{key} was given to two at the same time")
