"""Which handlers are served, as their processes say."""

from __future__ import annotations

from shardq.shm import words as at
from shardq.shm.observing.copies import Copies
from shardq.shm.processes.slots import Slots
from shardq.shm.words import WORD


class Serving:
    """What is served at one moment. What is asked for first is remembered: it takes a question to the kernel for each
    process.
    """

    def __init__(self, copies: Copies, slots: Slots) -> None:
        self._copies = copies
        self._words = copies.words
        self._layout = copies.layout
        self._slots = slots
        self._looked_for: int | None = None
        self._known: dict[int, bool] = {}

    def pid_of(self, owner: int) -> int:
        """Pid of the process behind the owner word of a slot."""
        return self._words[self._layout.slot_word((owner & 0xFFFF) - 1) + at.SLOT_PID]

    def serves(self, number: int) -> bool:
        """Whether a process looks for work of the handler; where none looks for any, whether one ever did."""
        if number > at.OTHER_HANDLER:
            raise ValueError("there is a thread of no handler")
        if number not in self._known:
            self._known[number] = self._serves(number)
        return self._known[number]

    def _serves(self, number: int) -> bool:
        if self._looked_for is None:
            self._looked_for = self._bits()
        if self._looked_for:
            return bool(self._looked_for & (1 << number | 1 << at.UNNUMBERED))
        return self._ever(number) or not any(map(self._ever, range(1, self._entries() + 1)))

    def _bits(self) -> int:
        """The numbers of all handlers that living processes look for, one bit for each."""
        place, found, maps = self._layout.served_map, 0, self._copies.segment.bytes
        for slot in range(self._layout.slots):
            bits = int.from_bytes(maps[place : place + at.SERVED_BYTES], "little")
            place += at.SERVED_BYTES
            if bits and self._slots.occupied(slot):
                found |= bits
        return found

    def _entries(self) -> int:
        return min(self._words[at.HANDLERS], at.LARGEST_HANDLER)

    def _ever(self, number: int) -> bool:
        if number >= at.OTHER_HANDLER or number < 1:
            return number == at.OTHER_HANDLER
        word = self._layout.handler_word(number) + at.HANDLER_SERVED
        return any(self._copies.segment.copied(word * WORD, WORD))
