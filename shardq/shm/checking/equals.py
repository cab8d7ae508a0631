"""Whether the table of equal messages finds what it has to find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

from shardq.model.trace import untraced
from shardq.shm import words as at
from shardq.shm.checking.look import Look
from shardq.shm.checking.pending import PendingSeen
from shardq.shm.memory import record
from shardq.shm.unique_index import ADDRESS_BITS, UNLISTED
from shardq.shm.words import WORD

_ADDRESS = (1 << ADDRESS_BITS) - 1


class Equals(Look):
    """A look at the table of equal messages."""

    def check(self, records: Sequence[PendingSeen], pipes: Mapping[int, str]) -> None:
        """Look at the table, whether it has all that waits, and what it should have of each tube. `pipes`: by tube."""
        with self.noting("the table of equal messages"):
            self._check_table()
            for found in records:
                self._check_listed(found)
            for tube, pipe in pipes.items():
                self._check_indexed(tube, pipe)

    def _check_table(self) -> None:
        state, steps = self.words[at.EQUALITY_STATE], self.layout.equality_steps
        maps = self.bytes[self.layout.equality_map : self.layout.equality_map + 2 * steps]
        self.expect(set(maps) <= {0, 1}, "the map of equal messages has other bytes than 0 and 1")
        if not state:
            self.expect(not any(maps), "there is no table of equal messages, but memory for it")
            return
        for side, log in self._sides():
            taken = sum(1 for place in range(1 << log) if self._entry(side, place)[0])
            self.expect(8 * taken <= 7 * (1 << log), f"table {side}: {taken} of {1 << log} places are taken")
        most = 1 << (state >> 8 & 255) if state >> 8 & 255 else 2 << (state >> 1 & 127)
        self.expect(state >> 16 <= most, f"the progress of the tables is {state >> 16}, and {most} at most")

    def _sides(self) -> list[tuple[int, int]]:
        """Side and log2 of the places of each table there is."""
        state = self.words[at.EQUALITY_STATE]
        current, former = (state & 1, state >> 1 & 127), (1 - (state & 1), state >> 8 & 255)
        sides = [side for side in (current, former) if side[1]]
        if any(1 << log > self.layout.equality_steps * at.EQUAL_STEP for _, log in sides):
            raise ValueError(f"a table has 2 to the power of {max(log for _, log in sides)} places")
        return sides

    def _entry(self, side: int, place: int) -> tuple[int, int, int]:
        if not self.bytes[self.layout.equality_map + side * self.layout.equality_steps + place // at.EQUAL_STEP]:
            return 0, 0, 0
        word = self.layout.equality_table(side) // WORD + place * at.EQUAL_WORDS
        digest, its_record, number = self.words[word : word + at.EQUAL_WORDS]
        return digest, its_record, number

    def _entries(self, pipe: str, message: bytes) -> list[tuple[int, int]]:
        """Record and number of the entries that are found for a message."""
        key = self.bytes[at.EQUALITY_KEY * WORD : (at.EQUALITY_KEY + 2) * WORD]
        hashed = blake2b(f"{pipe}\0".encode() + untraced(message), digest_size=8, salt=key).digest()
        digest, found = int.from_bytes(hashed, "little") or 1, []
        for side, log in self._sides():
            for n in range(1 << log):
                stands, its_record, number = self._entry(side, digest + n & (1 << log) - 1)
                if not stands:
                    break
                if stands == digest:
                    found.append((its_record, number))
        return found

    def _check_listed(self, found: PendingSeen) -> None:
        """Each living message is found by what it says."""
        for index in self.living(found.messages):
            number = found.first + index
            entries = self._entries(found.pipe, record.message(self.segment, found.messages, index))
            listed = (found.address, number) in entries
            unlisted = any(its_record >> ADDRESS_BITS == UNLISTED and said for its_record, said in entries)
            self.expect(listed or unlisted, f"pending message {number} of {found.pipe} is not among the equal ones")

    def _check_indexed(self, tube: int, pipe: str) -> None:
        """Each message below TUBE_INDEXED is found, or a living one behind it that stands for it."""
        word = self.layout.tube_word(tube)
        head, tail = self.words[word + at.TUBE_HEAD_SEQUENCE], self.words[word + at.TUBE_TAIL]
        below = self.words[word + at.TUBE_INDEXED] - 1
        if not tail:
            self.expect(below < 0, f"tube {tube} is empty, and {below} of its messages are among the equal ones")
            return
        last = self.record_at(tail)
        self.expect(below <= last.next_sequence, f"tube {tube}: equal ones up to {below}, of {last.next_sequence}")
        address = self.words[word + at.TUBE_HEAD_RECORD]
        while below > head:
            found = self.record_at(address)
            for index in self.living(found) if found.format == record.MESSAGES else ():
                number = found.sequence + index
                if head <= number < below:
                    entries = self._entries(pipe, record.message(self.segment, found, index))
                    listed = any(self._stands_for(tube, number, *entry) for entry in entries)
                    self.expect(listed, f"message {number} of {pipe} is not among the equal ones")
            if address == tail:
                return
            address = found.next_record if found.format == record.JUMP else found.end

    def _stands_for(self, tube: int, number: int, field: int, said: int) -> bool:
        """Whether an entry is found for the message of this number: its own, or that of a living one behind it."""
        if field >> ADDRESS_BITS != tube + 1 or said < number:
            return False
        word = self.layout.tube_word(tube)
        # What a process was putting in as it died is put in once more. What was with a worker is looked for itself.
        if said >= self.words[word + at.TUBE_INDEXED] - 1 or number < self.words[word + at.TUBE_STAYED]:
            return True
        try:
            found = self.record_at(field & _ADDRESS)
        except ValueError:
            return False
        index = said - found.sequence
        return 0 <= index < found.count and not record.is_cancelled(self.segment, found, index)
