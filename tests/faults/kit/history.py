"""What producers and consumers of a storm note in files, for the test that looks at it afterwards.

A message is `WHO BATCH POSITION SIZE`. A producer notes a batch after it was accepted. Consumers note what they were
handed and what they are about to do with it, one file per tube, in order, because no other one is at that tube. Notes
are single writes, each line marked at its end, so that a process killed while writing leaves a line that does not
count.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args
from zlib import crc32

from shardq.model import Batch

MARK = ";"
#: One message in so many fails whenever it is handled.
POISON_PART = 1999

Fate = Literal["done", "failed", "buried"]


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
    """A message was handed to a consumer."""

    sequence: int
    message: Message
    by: str = ""


class Intent(NamedTuple):
    """A consumer was about to do this with a message."""

    sequence: int
    fate: Fate
    by: str


class Letter(NamedTuple):
    """What lies in a grave in the place of a message."""

    pipe: str
    sequence: int

    def encoded(self) -> bytes:
        return " ".join(map(str, self)).encode()

    @classmethod
    def parsed(cls, text: bytes) -> Letter:
        pipe, sequence = text.decode().split()
        return cls(pipe, int(sequence))


def is_poison(message: bytes) -> bool:
    """Whether it fails whenever it is handled."""
    return crc32(message) % POISON_PART == 0


@dataclass(frozen=True)
class History:
    """Where the notes are."""

    folder: Path

    def note_accepted(self, pipe: str, first: Message) -> None:
        self._write("accepted", [f"{pipe} {first.encoded().decode()}"])

    def note_delivered(self, by: str, batch: Batch) -> None:
        each = zip(batch.numbers, batch.messages, strict=True)
        lines = [f"delivered {by} {number} {message.decode()}" for number, message in each]
        self._write(_file_of(batch.pipe), lines)

    def note_intent(self, by: str, pipe: str, fate: Fate, numbers: Sequence[int]) -> None:
        if numbers:
            self._write(_file_of(pipe), [f"{fate} {by} {' '.join(map(str, numbers))}"])

    def accepted(self) -> Iterator[tuple[str, Message]]:
        """First message of every batch whose producer was told that it was accepted."""
        for words in self._read("accepted"):
            yield words[0], Message.parsed(words[1:])

    def events(self, pipe: str) -> Iterator[Delivery | Intent]:
        """What became of the messages of a tube, in order."""
        for kind, by, number, *words in self._read(_file_of(pipe)):
            if kind == "delivered":
                yield Delivery(int(number), Message.parsed(words), by)
                continue
            fate = next(fate for fate in get_args(Fate) if fate == kind)
            yield from (Intent(int(each), fate, by) for each in (number, *words))

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


def _file_of(pipe: str) -> str:
    return f"handled-{pipe.replace('/', '-')}"
