"""Which handlers are served, as their processes say."""

from __future__ import annotations

from shardq.model import INBOX
from shardq.shm import words as at
from shardq.shm.observing.copies import Copies
from shardq.shm.processes.slots import Slots
from shardq.shm.words import WORD


class Serving:
    """What is served at one moment. What is asked for first is remembered: it takes questions to the kernel, which
    knows what processes live.
    """

    def __init__(self, copies: Copies, slots: Slots) -> None:
        self._copies = copies
        self._words = copies.words
        self._layout = copies.layout
        self._slots = slots
        self._looking: dict[int, int] | None = None
        """The handlers that each process looks for or looked for, one bit for each, by its slot."""
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

    def names(self, slot: int) -> tuple[str, ...] | None:
        """The handlers that the process of the slot looks for; empty: it looks for none. None: for all."""
        bits = self._bits_of(slot)
        if bits & 1 << at.UNNUMBERED:
            return None
        numbers = (number for number in range(1, self._entries() + 1) if bits >> number & 1)
        return tuple(sorted(name for number in numbers if (name := self._copies.handler(number)) not in ("", INBOX)))

    def looks(self, slot: int) -> bool:
        """Whether the process of the slot ever looked for work."""
        return bool(self._bits_of(slot))

    def _serves(self, number: int) -> bool:
        if self._looking is None:
            every = ((slot, self._bits_of(slot)) for slot in range(self._layout.slots))
            self._looking = {slot: bits for slot, bits in every if bits}
        wanted = 1 << number | 1 << at.UNNUMBERED
        if any(bits & wanted and self._slots.occupied(slot) for slot, bits in self._looking.items()):
            return True
        if any(map(self._slots.occupied, self._looking)):
            return False
        return self._ever(number) or not any(map(self._ever, range(1, self._entries() + 1)))

    def _bits_of(self, slot: int) -> int:
        place = self._layout.served_map + slot * at.SERVED_BYTES
        return int.from_bytes(self._copies.segment.bytes[place : place + at.SERVED_BYTES], "little")

    def _entries(self) -> int:
        return min(self._words[at.HANDLERS], at.LARGEST_HANDLER)

    def _ever(self, number: int) -> bool:
        if number >= at.OTHER_HANDLER or number < 1:
            return number == at.OTHER_HANDLER
        word = self._layout.handler_word(number) + at.HANDLER_SERVED
        return any(self._copies.segment.copied(word * WORD, WORD))
