"""Whether a segment at rest is whole. Reads its words by itself and shares only their addresses with what it checks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

from shardq.shm import layout as at
from shardq.shm import record
from shardq.shm.layout import PAGE, ExtentClass
from shardq.shm.record import JUMP, Record
from shardq.shm.segment import Segment

_AT_REST_ZERO = {
    "intent on a thread": at.INTENT_THREAD,
    "intent on a tube": at.INTENT_TUBE,
    "commit under way": at.COMMIT_COUNTER,
    "guard owner": at.GUARD_OWNER,
}


class _Damage(Exception):
    """A chain that cannot be followed any further."""


class Fsck:
    """One look over a segment in which nobody is at work."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._words = segment.words
        self._bytes = segment.bytes
        self._layout = segment.layout
        self._complaints: list[str] = []
        self._queued: dict[int, int] = {}
        self._used: dict[int, int] = {}
        """Tube of every extent that some chain goes through."""

    def run(self) -> list[str]:
        """What is wrong, one line each."""
        self._check_header()
        threads = self._linked_threads()
        tubes = {tube: thread for thread in threads for tube in self._tubes_of(thread)}
        self._check_tube_map(set(tubes))
        for tube in tubes:
            self._check_tube(tube)
        self._check_extents()
        for thread in threads:
            self._check_state(thread, sum(self._queued.get(tube, 0) for tube in tubes if tubes[tube] == thread))
        accepted, handled = self._words[at.ACCEPTED], self._words[at.HANDLED]
        queued = sum(self._queued.values())
        self._expect(accepted - handled == queued, f"{accepted} accepted, {handled} handled, but {queued} queued")
        return self._complaints

    def _expect(self, holds: bool, complaint: str) -> None:
        if not holds:
            self._complaints.append(complaint)

    def _check_header(self) -> None:
        for name, word in _AT_REST_ZERO.items():
            self._expect(self._words[word] == 0, f"{name}: {self._words[word]:#x}")
        self._expect(self._segment.semaphore.value == 1, f"{self._segment.semaphore.value} tokens")

    def _linked_threads(self) -> list[int]:
        linked: list[int] = []
        for bucket in range(self._layout.buckets):
            entry = self._words[self._layout.index_word + bucket]
            while entry:
                if entry - 1 in linked:
                    self._complaints.append(f"thread {entry - 1} is linked twice")
                    break
                linked.append(entry - 1)
                self._check_thread(entry - 1, bucket)
                entry = self._words[self._layout.thread_word(entry - 1) + at.THREAD_NEXT]
        for thread in range(self._layout.threads):
            state = self._bytes[self._layout.thread_map + thread]
            self._expect(
                (state != at.THREAD_FREE) == (thread in linked), f"thread {thread}: linked, or not, at {state}"
            )
        return linked

    def _check_thread(self, thread: int, bucket: int) -> None:
        word, address = self._layout.thread_word(thread), self._layout.thread_name(thread)
        name = self._bytes[address : address + self._words[word + at.THREAD_NAME_BYTES]]
        digest = int.from_bytes(blake2b(name, digest_size=8).digest(), "little")
        self._expect(self._words[word + at.THREAD_HASH] == digest, f"thread {thread}: the hash of {name!r} is wrong")
        self._expect(digest % self._layout.buckets == bucket, f"thread {thread}: {name!r} in bucket {bucket}")

    def _tubes_of(self, thread: int) -> list[int]:
        tubes: list[int] = []
        entry = self._words[self._layout.thread_word(thread) + at.THREAD_FIRST_TUBE]
        while entry and entry - 1 not in tubes:
            tubes.append(entry - 1)
            word = self._layout.tube_word(entry - 1)
            self._expect(self._words[word + at.TUBE_THREAD] == thread + 1, f"tube {entry - 1} is not thread {thread}'s")
            entry = self._words[word + at.TUBE_NEXT]
        self._expect(not entry, f"the tubes of thread {thread} go round")
        priorities = [self._words[self._layout.tube_word(tube) + at.TUBE_PRIORITY] for tube in tubes]
        self._expect(len(set(priorities)) == len(priorities), f"thread {thread} has a priority twice")
        return tubes

    def _check_tube_map(self, linked: set[int]) -> None:
        used = {tube for tube in range(self._layout.tubes) if self._bytes[self._layout.tube_map + tube]}
        self._expect(used == linked, f"tubes in use {sorted(used)}, linked {sorted(linked)}")

    def _check_tube(self, tube: int) -> None:
        word = self._layout.tube_word(tube)
        head, rest = self._words[word + at.TUBE_HEAD_SEQUENCE], self._words[word + at.TUBE_NEXT_SEQUENCE]
        if not self._words[word + at.TUBE_TAIL]:
            self._queued[tube] = 0
            self._expect(head == rest, f"tube {tube} is empty, its head is {head} and its next number {rest}")
            return
        try:
            records = list(self._records(tube))
        except _Damage as damage:
            self._complaints.append(str(damage))
            return
        self._check_records(tube, head, records)

    def _check_records(self, tube: int, head: int, records: list[Record]) -> None:
        for former, later in pairwise(records):
            self._expect(former.next_sequence == later.sequence, f"tube {tube}: a gap after {former.next_sequence}")
        first, last = records[0], records[-1]
        self._expect(first.sequence <= head < first.next_sequence, f"tube {tube}: head {head} not in its first record")
        live = [number for found in records for number in self._live(found) if number >= head]
        self._expect(bool(live) and live[0] == head, f"tube {tube}: nothing to handle at its head {head}")
        self._expect(all(number < last.next_sequence for number in live), f"tube {tube}: numbers beyond its tail")
        self._queued[tube] = len(live)

    def _live(self, found: Record) -> Iterator[int]:
        bits = int.from_bytes(self._bytes[found.cancelled : found.ends], "little")
        return (found.sequence + n for n in range(found.count) if not bits >> n & 1)

    def _records(self, tube: int) -> Iterator[Record]:
        word = self._layout.tube_word(tube)
        address, tail = self._words[word + at.TUBE_HEAD_RECORD], self._words[word + at.TUBE_TAIL]
        extent = self._enter_extent(tube, address)
        while True:
            found = record.read(self._segment, address)
            if found.format == JUMP:
                self._check_jump(tube, extent, found)
                address = found.next_record
                extent = self._enter_extent(tube, address)
                continue
            if found.format != record.MESSAGES or found.end > self._backed_end(extent):
                raise _Damage(f"tube {tube}: no record at {address}")
            yield found
            if address == tail:
                return
            address = found.end

    def _check_jump(self, tube: int, extent: int, jump: Record) -> None:
        target = self._extent_at(jump.next_record)
        noted = self._words[self._layout.extent_next_word + extent]
        self._expect(noted == target + 1, f"tube {tube}: extent {extent} goes on in {noted - 1}, its jump in {target}")

    def _enter_extent(self, tube: int, address: int) -> int:
        extent = self._extent_at(address)
        if extent in self._used:
            raise _Damage(f"tubes {tube} and {self._used[extent]} share extent {extent}")
        self._used[extent] = tube
        return extent

    def _extent_at(self, address: int) -> int:
        for group in self._layout.classes:
            if group.base <= address < group.base + group.size * group.count:
                return group.first + (address - group.base) // group.size
        raise _Damage(f"address {address} lies in no extent")

    def _backed_end(self, extent: int) -> int:
        return self._start(extent) + self._words[self._layout.extent_backed_word + extent]

    def _start(self, extent: int) -> int:
        group = _group_of(self._layout.classes, extent)
        return group.base + (extent - group.first) * group.size

    def _check_extents(self) -> None:
        for extent in range(self._layout.extents):
            lent = bool(self._bytes[self._layout.extent_map + extent])
            owner = self._words[self._layout.extent_owners_word + extent]
            expected = self._used.get(extent, -1) + 1
            self._expect(lent == (extent in self._used), f"extent {extent}: lent {lent}, used by tube {expected - 1}")
            self._expect(owner == expected, f"extent {extent}: lent to tube {owner - 1}, used by {expected - 1}")

    def _check_state(self, thread: int, queued: int) -> None:
        owner = self._words[self._layout.thread_word(thread) + at.THREAD_OWNER]
        state = self._bytes[self._layout.thread_map + thread]
        if owner and self._lives(owner):
            expected = at.THREAD_BOUND
        else:
            self._expect(not owner, f"thread {thread} is bound to the dead {owner:#x}")
            expected = self._unbound_state(thread) if queued else at.THREAD_IDLE
        self._expect(state == expected, f"thread {thread} with {queued} queued: state {state}, not {expected}")

    def _unbound_state(self, thread: int) -> int:
        not_before_us = self._words[self._layout.thread_word(thread) + at.THREAD_NOT_BEFORE_US]
        return at.THREAD_PAUSED if not_before_us > time.time_ns() // 1000 else at.THREAD_READY

    def _lives(self, owner: int) -> bool:
        word = self._layout.slot_word((owner & 0xFFFF) - 1)
        if self._words[word + at.SLOT_INCARNATION] != owner >> 16:
            return False
        return runs(self._words[word + at.SLOT_PID])


def fsck(segment: Segment) -> list[str]:
    """What is wrong with a segment in which nobody is at work, one line each."""
    return Fsck(segment).run()


def uncounted_bytes(segment: Segment) -> int:
    """Memory that the segment takes and that none of its words accounts for."""
    layout, words = segment.layout, segment.words
    # Tables never shrink: what a death left uncounted there is found again when they grow.
    backed = [(0, layout.extents_base)]
    for group in layout.classes:
        for n in range(group.count):
            nbytes = words[layout.extent_backed_word + group.first + n]
            backed.append((group.base + n * group.size, nbytes))
    pages = {page for start, nbytes in backed for page in range(start // PAGE, -(-(start + nbytes) // PAGE))}
    return max(0, segment.used_bytes - PAGE * len(pages))


def _group_of(classes: tuple[ExtentClass, ...], extent: int) -> ExtentClass:
    return next(group for group in reversed(classes) if extent >= group.first)


def runs(pid: int) -> bool:
    """Whether the process lives; a corpse that waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return pid == os.getpid() or state not in "ZX"
