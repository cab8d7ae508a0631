"""Whether a segment at rest is whole. Reads its words by itself and shares only their addresses with what it checks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from shardq.shm import words as at
from shardq.shm.layout import ExtentClass
from shardq.shm.memory import record
from shardq.shm.memory.record import JUMP, Record
from shardq.shm.segment import Segment
from shardq.shm.words import PAGE
from tests.faults.kit.fsck_pending import PendingFsck

_AT_REST_ZERO = {
    "intent on a thread": at.INTENT_THREAD,
    "intents on other threads": at.TOUCHED,
    "intent on a tube": at.INTENT_TUBE,
    "commit under way": at.STORES,
    "guard owner": at.GUARD_OWNER,
    "intent on what waits for its time": at.INTENT_PENDING,
    "memory of a pending record": at.PENDING_CELL,
    "heap being put in order": at.SIFT_RECORD,
}


class _Damage(Exception):
    """A chain that cannot be followed any further."""


class Fsck:
    """One look over a segment in which no process is at work."""

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
            self._check_attempts(tube, apart=self._apart(tubes[tube]))
        pending = PendingFsck(self._segment)
        work = {tube: _pipe_of(self._segment, tube) for tube, thread in tubes.items() if not self._apart(thread)}
        self._complaints += pending.run({tube: pipe.removesuffix("^") for tube, pipe in work.items()})
        self._check_extents(pending.owners)
        held = {thread: sum(self._queued.get(tube, 0) for tube in tubes if tubes[tube] == thread) for thread in threads}
        for thread, count in held.items():
            self._check_state(thread, count)
        self._check_totals(
            queued=sum(count for thread, count in held.items() if not self._apart(thread)),
            dead=sum(count for thread, count in held.items() if self._apart(thread)),
        )
        return self._complaints

    def _check_totals(self, queued: int, dead: int) -> None:
        accepted, handled, buried, unburied, evicted = (
            self._words[word] for word in (at.ACCEPTED, at.HANDLED, at.BURIED, at.UNBURIED, at.EVICTED)
        )
        self._expect(accepted - handled == queued, f"{accepted} accepted, {handled} handled, but {queued} queued")
        self._expect(buried - unburied == dead, f"{buried} buried, {unburied} unburied, but {dead} dead letters")
        self._expect(buried <= handled, f"{buried} buried, but {handled} handled")
        self._expect(evicted <= unburied, f"{evicted} evicted, but {unburied} unburied")

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
        places = [(self._word(tube, at.TUBE_PRIORITY), self._word(tube, at.TUBE_FRONT)) for tube in tubes]
        self._expect(len(set(places)) == len(places), f"thread {thread} has a priority twice: {places}")
        self._expect(all(front in (0, 1) for _, front in places), f"thread {thread}: in front, or not: {places}")
        self._expect(not self._apart(thread) or len(tubes) <= 1, f"grave {thread} has tubes {tubes}")
        return tubes

    def _word(self, tube: int, word: int) -> int:
        return self._words[self._layout.tube_word(tube) + word]

    def _apart(self, thread: int) -> bool:
        return self._words[self._layout.thread_word(thread) + at.THREAD_APART] == 1

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

    def _check_attempts(self, tube: int, *, apart: bool) -> None:
        """What is said of batches in hand and of failures can be true."""
        tail, end = self._word(tube, at.TUBE_TAIL), self._word(tube, at.TUBE_NEXT_SEQUENCE)
        if tail:
            end = record.read(self._segment, tail).next_sequence
        said = {
            "handed out": self._word(tube, at.TUBE_HANDED),
            "smaller batches": self._word(tube, at.TUBE_LIMIT_THROUGH),
        }
        for what, through in said.items():
            self._expect(through <= end, f"tube {tube}: {what} up to {through}, its numbers end at {end}")
            self._expect(not apart or not through, f"grave {tube}: {what} up to {through}")
        self._expect(
            not self._word(tube, at.TUBE_LIMIT_THROUGH) or self._word(tube, at.TUBE_LIMIT) > 0,
            f"tube {tube}: batches of none",
        )
        self._check_failures(tube, apart=apart)

    def _check_failures(self, tube: int, *, apart: bool) -> None:
        head, failed = self._word(tube, at.TUBE_HEAD_SEQUENCE), self._word(tube, at.TUBE_FAILED_SEQUENCE)
        attempts, killer = self._word(tube, at.TUBE_ATTEMPTS), self._word(tube, at.TUBE_FAILED_BY)
        first_us, last_us = self._word(tube, at.TUBE_FIRST_FAILED_US), self._word(tube, at.TUBE_LAST_FAILED_US)
        self._expect(failed <= head, f"tube {tube}: message {failed} failed, and {head} is at the head")
        self._expect(not apart or not attempts, f"grave {tube}: {attempts} failures")
        self._expect(
            not attempts or 0 < first_us <= last_us, f"tube {tube}: failed first at {first_us}, last at {last_us}"
        )
        self._expect((killer & 0xFFFF) <= self._layout.slots, f"tube {tube}: killed {killer:#x}")

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

    def _check_extents(self, others: dict[int, int]) -> None:
        """`others` are the owner words of extents that no tube uses."""
        for extent in range(self._layout.extents):
            lent = bool(self._bytes[self._layout.extent_map + extent])
            owner = self._words[self._layout.extent_owners_word + extent]
            expected = self._used.get(extent, others.get(extent, 0) - 1) + 1
            self._expect(lent == (expected > 0), f"extent {extent}: lent {lent}, used by tube {expected - 1}")
            self._expect(owner == expected, f"extent {extent}: lent to tube {owner - 1}, used by {expected - 1}")

    def _check_state(self, thread: int, queued: int) -> None:
        owner = self._words[self._layout.thread_word(thread) + at.THREAD_OWNER]
        state = self._bytes[self._layout.thread_map + thread]
        if owner and self._lives(owner):
            expected = at.THREAD_BOUND
        elif self._apart(thread):
            expected = at.THREAD_DEAD_LETTERS if queued else at.THREAD_IDLE
        else:
            self._expect(not owner, f"thread {thread} is bound to the dead {owner:#x}")
            expected = self._unbound_state(thread) if queued else at.THREAD_IDLE
        self._expect(state == expected, f"thread {thread} with {queued} queued: state {state}, not {expected}")

    def _unbound_state(self, thread: int) -> int:
        not_before_ns = self._words[self._layout.thread_word(thread) + at.THREAD_NOT_BEFORE_NS]
        return at.THREAD_PAUSED if not_before_ns > time.clock_gettime_ns(time.CLOCK_BOOTTIME) else at.THREAD_READY

    def _lives(self, owner: int) -> bool:
        word = self._layout.slot_word((owner & 0xFFFF) - 1)
        if self._words[word + at.SLOT_INCARNATION] != owner >> 16:
            return False
        return runs(self._words[word + at.SLOT_PID])


class Failures(NamedTuple):
    """What a tube says of the message at its head."""

    head: int
    attempts: int


def failures_at_heads(segment: Segment) -> dict[str, Failures]:
    """How often the message at the head of each tube failed, read without the code that counts."""
    layout, words, found = segment.layout, segment.words, {}
    for tube in (tube for tube in range(layout.tubes) if segment.bytes[layout.tube_map + tube]):
        word = layout.tube_word(tube)
        head, failed = words[word + at.TUBE_HEAD_SEQUENCE], words[word + at.TUBE_FAILED_SEQUENCE]
        attempts = words[word + at.TUBE_ATTEMPTS] if failed == head else 0
        found[_pipe_of(segment, tube)] = Failures(head, attempts)
    return found


def _pipe_of(segment: Segment, tube: int) -> str:
    """The pipe of a tube, with a mark where it has what is in front of it."""
    layout, word = segment.layout, segment.layout.tube_word(tube)
    thread = segment.words[word + at.TUBE_THREAD] - 1
    start, length = layout.thread_name(thread), segment.words[layout.thread_word(thread) + at.THREAD_NAME_BYTES]
    priority = int.from_bytes(segment.words[word + at.TUBE_PRIORITY].to_bytes(8, "little"), "little", signed=True)
    return f"{segment.bytes[start : start + length].decode()}/{priority}{'^' * segment.words[word + at.TUBE_FRONT]}"


def fsck(segment: Segment) -> list[str]:
    """What is wrong with a segment in which no process is at work, one line each."""
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
