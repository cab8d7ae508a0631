"""Whether the messages of each tube are all there, in the tube's own memory, and what is said of them can be true."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from shardq.shm import words as at
from shardq.shm.checking.look import Look
from shardq.shm.memory.record import JUMP, Record
from shardq.shm.segment import Segment
from shardq.shm.words import WORD


class Fifos(Look):
    """A look at the records of tubes, and at the extents they lie in."""

    def __init__(self, segment: Segment) -> None:
        super().__init__(segment)
        self._used: dict[int, int] = {}
        """Tube of every extent that some chain goes through."""

    def check(self, tube: int, *, grave: bool) -> int:
        """Look at a tube. Returns how many messages it has."""
        queued = 0
        with self.noting(f"tube {tube}"):
            queued = self._check_messages(tube)
            self._check_attempts(tube, grave=grave)
        return queued

    def check_extents(self, others: dict[int, int]) -> None:
        """Whether each extent is lent to the tube that uses it. `others` are the owner words of extents that no tube
        uses.
        """
        owners = self.layout.extent_owners_word * WORD
        said = {place // WORD for place in self.marked(owners, self.layout.extents * WORD)}
        lent = set(self.marked(self.layout.extent_map, self.layout.extents))
        for extent in sorted(said | lent | self._used.keys() | others.keys()):
            owner = self.words[self.layout.extent_owners_word + extent]
            expected = self._used.get(extent, others.get(extent, 0) - 1) + 1
            self.expect(
                (extent in lent) == (expected > 0), f"extent {extent}: lent {extent in lent}, used by {expected - 1}"
            )
            self.expect(owner == expected, f"extent {extent}: lent to tube {owner - 1}, used by {expected - 1}")

    def _check_messages(self, tube: int) -> int:
        head, rest = self._word(tube, at.TUBE_HEAD_SEQUENCE), self._word(tube, at.TUBE_NEXT_SEQUENCE)
        if not self._word(tube, at.TUBE_TAIL):
            self.expect(head == rest, f"tube {tube} is empty, its head is {head} and its next number {rest}")
            return 0
        records = list(self._records(tube))
        for former, later in pairwise(records):
            self.expect(former.next_sequence == later.sequence, f"tube {tube}: a gap after {former.next_sequence}")
        first, last = records[0], records[-1]
        self.expect(first.sequence <= head < first.next_sequence, f"tube {tube}: head {head} not in its first record")
        live = [number for found in records for n in self.living(found) if (number := found.sequence + n) >= head]
        self.expect(bool(live) and live[0] == head, f"tube {tube}: nothing to handle at its head {head}")
        self.expect(all(number < last.next_sequence for number in live), f"tube {tube}: numbers beyond its tail")
        return len(live)

    def _check_attempts(self, tube: int, *, grave: bool) -> None:
        """What is said of batches in hand and of failures can be true."""
        tail, end = self._word(tube, at.TUBE_TAIL), self._word(tube, at.TUBE_NEXT_SEQUENCE)
        if tail:
            end = self.record_at(tail).next_sequence
        said = {
            "handed out": self._word(tube, at.TUBE_HANDED),
            "smaller batches": self._word(tube, at.TUBE_LIMIT_THROUGH),
        }
        for what, through in said.items():
            self.expect(through <= end, f"tube {tube}: {what} up to {through}, its numbers end at {end}")
            self.expect(not grave or not through, f"grave {tube}: {what} up to {through}")
        self.expect(
            not self._word(tube, at.TUBE_LIMIT_THROUGH) or self._word(tube, at.TUBE_LIMIT) > 0,
            f"tube {tube}: batches of none",
        )
        self._check_failures(tube, grave=grave)

    def _check_failures(self, tube: int, *, grave: bool) -> None:
        head, failed = self._word(tube, at.TUBE_HEAD_SEQUENCE), self._word(tube, at.TUBE_FAILED_SEQUENCE)
        attempts, killer = self._word(tube, at.TUBE_ATTEMPTS), self._word(tube, at.TUBE_FAILED_BY)
        first_us, last_us = self._word(tube, at.TUBE_FIRST_FAILED_US), self._word(tube, at.TUBE_LAST_FAILED_US)
        self.expect(failed <= head, f"tube {tube}: message {failed} failed, and {head} is at the head")
        self.expect(not grave or not attempts, f"grave {tube}: {attempts} failures")
        self.expect(
            not attempts or 0 < first_us <= last_us, f"tube {tube}: failed first at {first_us}, last at {last_us}"
        )
        self.expect((killer & 0xFFFF) <= self.layout.slots, f"tube {tube}: killed {killer:#x}")

    def _records(self, tube: int) -> Iterator[Record]:
        address, tail = self._word(tube, at.TUBE_HEAD_RECORD), self._word(tube, at.TUBE_TAIL)
        extent = self._enter(tube, address)
        while True:
            found = self.record_at(address)
            if found.format == JUMP:
                self._check_jump(tube, extent, found)
                address = found.next_record
                extent = self._enter(tube, address)
                continue
            yield found
            if address == tail:
                return
            address = found.end

    def _check_jump(self, tube: int, extent: int, jump: Record) -> None:
        target = self.extent_at(jump.next_record)
        noted = self.words[self.layout.extent_next_word + extent]
        self.expect(noted == target + 1, f"tube {tube}: extent {extent} goes on in {noted - 1}, its jump in {target}")

    def _enter(self, tube: int, address: int) -> int:
        extent = self.extent_at(address)
        if extent in self._used:
            raise ValueError(f"shares extent {extent} with tube {self._used[extent]}, or goes round")
        self._used[extent] = tube
        return extent

    def _word(self, tube: int, word: int) -> int:
        return int(self.words[self.layout.tube_word(tube) + word])
