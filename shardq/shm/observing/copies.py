"""Copies of what stands in a segment: entries of its tables, and records.

The fixed part of a segment always has memory, and is read where it is. All else is copied by the kernel. A look at a
page that was given back just now would give it memory again, and where there is none it would end this process; a copy
of it is all zeros.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from shardq.shm import words as at
from shardq.shm.memory import record
from shardq.shm.memory.places import Places
from shardq.shm.memory.record import JUMP, MESSAGES, Record
from shardq.shm.segment import Segment
from shardq.shm.tubes.directory import digest_of
from shardq.shm.words import WORD

_THREAD, _TUBE = struct.Struct(f"<{at.THREAD_WORDS}Q{at.NAME_BYTES}s"), struct.Struct(f"<{at.TUBE_WORDS}Q")


class ThreadSeen(NamedTuple):
    """A copy of a thread entry."""

    words: tuple[int, ...]
    key: str


class Messages(NamedTuple):
    """A copy of a record. `found` stands at the beginning of `bytes`."""

    name: str
    """Of the segment."""
    bytes: bytes
    found: Record


class Copies(Places):
    """Reads a segment without a guard. Methods raise one of `steadily.NOWHERE` where what they read leads nowhere."""

    def __init__(self, segment: Segment) -> None:
        super().__init__(segment.layout)
        self.segment = segment
        self.words = segment.words
        """Of the fixed part."""

    def thread(self, thread: int) -> ThreadSeen:
        """A thread entry in use, with its whole name."""
        *words, name = _THREAD.unpack(self.segment.copied(self.layout.thread_word(thread) * WORD, _THREAD.size))
        length = words[at.THREAD_NAME_BYTES]
        key = name[:length].decode()
        if length > at.NAME_BYTES or words[at.THREAD_HASH] != digest_of(key):
            raise ValueError(f"thread {thread} has no name")
        return ThreadSeen(tuple(words), key)

    def generation(self, thread: int) -> bytes:
        """What changes when the entry is given up, or gets another tube."""
        word = self.layout.thread_word(thread)
        first, last = word + at.THREAD_HASH, word + at.THREAD_NAME_BYTES
        return self.segment.copied(first * WORD, (last + 1 - first) * WORD)

    def words_of(self, thread: int) -> bytes:
        """What changes also when the thread is claimed, let go, or a batch of it is taken."""
        return self.segment.copied(self.layout.thread_word(thread) * WORD, at.THREAD_WORDS * WORD)

    def tube(self, tube: int) -> tuple[int, ...]:
        """The words of a tube entry."""
        return _TUBE.unpack(self.segment.copied(self.layout.tube_word(tube) * WORD, _TUBE.size))

    def tubes_of(self, thread: int, seen: ThreadSeen) -> dict[int, list[int]]:
        """The tubes of a thread by priority, the oldest first; what is in front of each comes first."""
        return {priority: [*tubes] for priority, tubes in self.entries_of(thread, seen).items()}

    def entries_of(self, thread: int, seen: ThreadSeen) -> dict[int, dict[int, tuple[int, ...]]]:
        """The same with the words of each tube."""
        tubes, entry = list[tuple[int, tuple[int, ...]]](), seen.words[at.THREAD_FIRST_TUBE]
        while entry:
            if entry > self.layout.tubes or len(tubes) > self.layout.tubes:
                raise ValueError(f"the tubes of thread {thread} lead nowhere")
            words = self.tube(entry - 1)
            if words[at.TUBE_THREAD] != thread + 1:
                raise ValueError(f"tube {entry - 1} is not thread {thread}'s")
            tubes.append((entry - 1, words))
            entry = words[at.TUBE_NEXT]
        found = dict[int, dict[int, tuple[int, ...]]]()
        for tube, words in reversed(tubes):
            priority = signed(words[at.TUBE_PRIORITY])
            its = found.get(priority, {})
            found[priority] = {tube: words} | its if words[at.TUBE_FRONT] else its | {tube: words}
        return found

    def handler(self, number: int) -> str:
        """The name of the handler with this number. Empty: there is none, or its name is just being written."""
        try:
            length = int.from_bytes(self.segment.copied(self.layout.handler_word(number) * WORD, WORD), "little")
            return self.segment.copied(self.layout.handler_name(number), min(length, at.NAME_BYTES)).decode()
        except (OSError, ValueError):
            return ""

    def through(self, words: tuple[int, ...]) -> int:
        """The number behind the last message of a tube with these words."""
        tail = words[at.TUBE_TAIL]
        return self.record(tail).next_sequence if tail else words[at.TUBE_NEXT_SEQUENCE]

    def records(self, words: tuple[int, ...], start: int = 0) -> Iterator[Record]:
        """Headers from the record on that holds the head of a tube with these words, or from the one at `start`, to its
        last.
        """
        head, address = words[at.TUBE_HEAD_SEQUENCE], start or words[at.TUBE_HEAD_RECORD]
        expected, through, jumped = -1, self.through(words), False
        while expected < through:
            found = self._header(address)
            if found.format == JUMP and not jumped:
                address, jumped = found.next_record, True
                continue
            # Numbers that only grow, up to one that is known, lead round no circle.
            if found.format != MESSAGES or not found.count or found.sequence != expected >= 0:
                raise ValueError(f"there is no record of the tube at {address}")
            expected, jumped = found.next_sequence, False
            if expected > head:
                yield found
            address = found.end

    def record(self, address: int) -> Record:
        """The header of the record at an address."""
        found = self._header(address)
        if found.format != MESSAGES or not found.count:
            raise ValueError(f"there is no record at {address}")
        return found

    def cancelled_bits(self, found: Record) -> int:
        """One bit for each message of a record that was taken out."""
        return int.from_bytes(self.segment.copied(found.cancelled, found.ends - found.cancelled), "little")

    def messages(self, found: Record) -> Messages:
        """A record with its messages. Another record may stand there by now, which need not end where this one did."""
        data = self.segment.copied(found.address, found.end - found.address)
        if record.parsed(found.address, data) != found:
            raise ValueError(f"there is another record at {found.address}")
        return Messages(self.segment.name, data, record.parsed(0, data))

    def _header(self, address: int) -> Record:
        extent = self.extent_at(address)
        found = record.parsed(address, self.segment.copied(address, record.HEADER_BYTES))
        if found.format == MESSAGES and found.end > self.start_of(extent) + self.class_of(extent).size:
            raise ValueError(f"the record at {address} is larger than its place")
        return found


def living(copy: Messages, above: int) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of the messages of a record that were not taken out, from that number on."""
    found, bits = copy.found, record.cancelled_bits(copy, copy.found)
    for index in range(max(0, above - found.sequence), found.count):
        if not bits >> index & 1:
            yield found.sequence + index, record.message(copy, found, index)


def signed(word: int) -> int:
    """The number that a word of two's complement stands for."""
    return word - (1 << 64) if word >> 63 else word
