"""Many threads with their tubes, copied at once. Where nothing changes meanwhile, that takes a few calls of the kernel
for all of them. What changes is left out, and so is what is seldom; that needs looks of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct

from shardq.shm import words as at
from shardq.shm.memory import record
from shardq.shm.memory.record import HEADER_BYTES
from shardq.shm.observing.copies import Copies, signed
from shardq.shm.observing.spots import Spots
from shardq.shm.observing.steadily import NOWHERE
from shardq.shm.tubes.directory import digest_of_name
from shardq.shm.words import THREAD_BYTES, WORD

#: As much of an entry as is needed.
_THREAD, _TUBE = Struct(f"<{at.THREAD_HANDLER + 1}Q"), Struct(f"<{at.TUBE_ATTEMPTS + 1}Q")
#: What changes when a thread is claimed, let go or given up, or gets another tube, are the first words of its entry.
_GENERATION_BYTES = (at.THREAD_NAME_BYTES + 1) * WORD
#: A thread with more tubes is seldom.
_MOST_TUBES = 16

#: The first words of an entry.
Words = tuple[int, ...]
#: The requests of a thread with one priority: that, the words of the tube that has the first one, how many they are,
#: and when the first one was accepted.
Filled = tuple[int, Words, int, int]
#: The words of a thread, its name, and what is in its tubes.
Found = tuple[Words, str, Sequence[Filled]]
#: Tubes with the threads that they should hang on, in the order of the tubes, which count from 1.
_Hanging = Sequence[tuple[int, int]]
#: The tubes of each thread.
_Tubes = dict[int, list[Words]]
#: What a record says: the numbers of its first message and behind its last one, and when they were accepted.
_Header = tuple[int, int, int]


class Many:
    """Looks at many threads."""

    def __init__(self, copies: Copies) -> None:
        self._copies = copies
        self._segment = copies.segment
        self._layout = copies.layout

    def found(self, threads: Sequence[int]) -> dict[int, Found]:
        """Those of these threads, which ascend, that were copied whole."""
        try:
            return self._found(threads)
        except NOWHERE:
            return {}

    def _found(self, threads: Sequence[int]) -> dict[int, Found]:
        spots = Spots(self._segment, [self._layout.thread_word(thread) * WORD for thread in threads], THREAD_BYTES)
        seen = {thread: _named(*place) for thread, place in zip(threads, spots.places, strict=True)}
        tubes, copied = self._tubes(seen)
        headers, found = self._headers(tubes.values()), dict[int, Found]()
        for thread, its in tubes.items():
            if (filled := _filled(its, headers)) is not None:
                found[thread] = *seen[thread], filled
        for hanging, its_spots in copied:
            for number in its_spots.moved(_TUBE.size):
                found.pop(hanging[number][1], None)
        for number in spots.moved(_GENERATION_BYTES):
            found.pop(threads[number], None)
        return found

    def _tubes(self, seen: Mapping[int, tuple[Words, str]]) -> tuple[_Tubes, list[tuple[_Hanging, Spots]]]:
        """The tubes of each thread, graves apart, and what was copied for that: first all that hang on a thread, then
        those that hang on these.
        """
        found, copied = _Tubes(), list[tuple[_Hanging, Spots]]()
        behind = list[tuple[int, int]]()
        for thread, (words, _) in seen.items():
            found[thread] = []
            if not words[at.THREAD_APART]:
                behind.append((words[at.THREAD_FIRST_TUBE], thread))
        while (hanging := sorted(its for its in behind if its[0])) and len(copied) < _MOST_TUBES:
            places = [self._layout.tube_word(tube - 1) * WORD for tube, _ in hanging]
            spots, behind = Spots(self._segment, places, _TUBE.size), []
            copied.append((hanging, spots))
            for (_, thread), place in zip(hanging, spots.places, strict=True):
                words = _TUBE.unpack_from(*place)
                if words[at.TUBE_THREAD] == thread + 1:
                    found[thread].append(words)
                    behind.append((words[at.TUBE_NEXT], thread))
                else:
                    del found[thread]
        for _, thread in hanging:
            del found[thread]
        return found, copied

    def _headers(self, every: Iterable[Sequence[Words]]) -> dict[int, _Header]:
        """The records at the heads and at the ends of tubes, by their addresses."""
        addresses = set[int]()
        for tubes in every:
            for words in tubes:
                if words[at.TUBE_TAIL]:
                    addresses.add(words[at.TUBE_TAIL])
                    addresses.add(words[at.TUBE_HEAD_RECORD])
        ordered, found, end = sorted(addresses), dict[int, _Header](), 0
        for address, place in zip(ordered, Spots(self._segment, ordered, HEADER_BYTES).places, strict=True):
            if address >= end:
                group = self._copies.class_at(address)
                base, size, end = group.base, group.size, group.base + group.size * group.count
            nbytes, header = record.glanced(*place)
            if 0 < nbytes <= size - (address - base) % size:
                found[address] = header
        return found


def _named(data: bytes, start: int) -> tuple[Words, str]:
    """Words and name of a thread. Raises `ValueError` where it has no name."""
    words = _THREAD.unpack_from(data, start)
    length, first = words[at.THREAD_NAME_BYTES], start + at.THREAD_WORDS * WORD
    name = data[first : first + length]
    if length > at.NAME_BYTES or digest_of_name(name) != words[at.THREAD_HASH]:
        raise ValueError("a thread has no name")
    return words, name.decode()


def _filled(tubes: Sequence[Words], headers: Mapping[int, _Header]) -> list[Filled] | None:
    """What is in the tubes of a thread. None: it takes more to know that."""
    if len(tubes) > 1 and len({words[at.TUBE_PRIORITY] for words in tubes}) < len(tubes):
        return None
    found = list[Filled]()
    for words in reversed(tubes):
        head, tail = words[at.TUBE_HEAD_SEQUENCE], words[at.TUBE_TAIL]
        if not tail and head == words[at.TUBE_NEXT_SEQUENCE]:
            continue
        first, last = headers.get(words[at.TUBE_HEAD_RECORD]), headers.get(tail)
        if first is None or last is None or words[at.TUBE_CANCELLED]:
            return None
        its = last if last[0] <= head else first
        if its[0] <= head < its[1]:
            found.append((signed(words[at.TUBE_PRIORITY]), words, last[1] - head, its[2]))
        elif head != last[1]:
            return None
    return found
