"""A number for each handler, and which handlers each attached process serves.

Each thread entry has the number of its handler. So looking for a ready thread of some handlers is a search for a few
bytes, however many threads of other handlers are ready. Numbers are given once and stay. A name is written before the
count that makes it one of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from shardq.shm import words as at
from shardq.shm.damage import damaged
from shardq.shm.memory.extents import Extents
from shardq.shm.segment import Segment
from shardq.shm.words import PAGE


class Served(NamedTuple):
    """The handlers for which a process looks for work."""

    names: frozenset[str] | None
    """None: not known, so all handlers that have these numbers."""
    numbers: Sequence[int]
    """Their numbers, each once."""
    bits: int
    """The same, one bit for each number."""
    left_out: frozenset[str] = frozenset()
    """Names of handlers that are none of these, whatever else is said."""


#: The bit that says so in a set of numbers.
_SOME_UNNUMBERED = 1 << at.UNNUMBERED
#: All handlers that there are.
ALL_HANDLERS = Served(None, range(1, at.OTHER_HANDLER + 1), (1 << at.OTHER_HANDLER + 1) - 1)


class HandlerTable:
    """The handler table of a segment and the map of what is served. Methods want the guard held."""

    def __init__(self, segment: Segment, extents: Extents, slot: int) -> None:
        self._name_of_segment = segment.name
        self._words = segment.words
        self._bytes = segment.bytes
        self._layout = segment.layout
        self._extents = extents
        self._slot = slot
        self._known: dict[str, int] = {}
        self._read = 0
        """How many entries of the table are in `_known`."""
        self._served: dict[frozenset[str], tuple[Served, int]] = {}
        """What `served` found for these names, and how many entries the table had then."""
        self._published = 0

    def number(self, name: str) -> int:
        """The number of a handler, a new one where it has none yet. All for which there is no entry or no memory have
        `OTHER_HANDLER`.
        """
        number, encoded = self.known_number(name), name.encode()
        if number:
            return number
        if self._read == at.LARGEST_HANDLER or len(encoded) > at.NAME_BYTES or not self._back(self._read + 1):
            return at.OTHER_HANDLER
        number = self._read + 1
        address = self._layout.handler_name(number)
        self._bytes[address : address + len(encoded)] = encoded
        self._words[self._layout.handler_word(number) + at.HANDLER_NAME_BYTES] = len(encoded)
        self._words[at.HANDLERS] = number
        self._known[name] = self._read = number
        return number

    def known_number(self, name: str) -> int:
        """The number of a handler, 0: it has none of its own."""
        return self._known.get(name) or self._look_up(name)

    def served(self, names: frozenset[str] | None) -> Served:
        """The numbers of these handlers (None: of all), after they were noted as served by this process."""
        if names is None:
            self._publish(ALL_HANDLERS)
            return ALL_HANDLERS
        found, entries = self._served.get(names, (ALL_HANDLERS, -1))
        if entries < 0 or (found.bits & _SOME_UNNUMBERED and entries != self._words[at.HANDLERS]):
            found = self._numbered(names)
            self._served[names] = found, self._words[at.HANDLERS]
            self._publish(found)
        return found

    def begin(self) -> None:
        """Forget what an earlier process in this slot served."""
        place = self._layout.served_map + self._slot * at.SERVED_BYTES
        self._bytes[place : place + at.SERVED_BYTES] = bytes(at.SERVED_BYTES)

    def looks(self, slot: int) -> bool:
        """Whether the process of that slot has looked for work of any handler."""
        return self._bits(slot) != 0

    def serves(self, slot: int, number: int) -> bool:
        """Whether the process of that slot has looked for work of the handler, or may have."""
        return bool(self._bits(slot) & (1 << number | _SOME_UNNUMBERED))

    def of(self, slot: int) -> Served:
        """All that the process of that slot has looked for."""
        bits = self._bits(slot)
        if bits & _SOME_UNNUMBERED:
            return ALL_HANDLERS
        return Served(None, [number for number in ALL_HANDLERS.numbers if bits >> number & 1], bits)

    def ever_served(self, number: int) -> bool:
        """Whether any process has ever looked for work of the handler."""
        if number == at.OTHER_HANDLER:
            return True
        return bool(self._words[self._layout.handler_word(number) + at.HANDLER_SERVED])

    def any_served(self) -> bool:
        """Whether any process has ever looked for work."""
        entries = min(self._words[at.HANDLERS], at.LARGEST_HANDLER)
        return any(self.ever_served(number) for number in range(1, entries + 1))

    def _numbered(self, names: frozenset[str]) -> Served:
        found = [self.number(name) for name in names]
        # A thread may be older than the number of its handler.
        numbers = sorted({at.OTHER_HANDLER, *found})
        for number in numbers[:-1]:
            self._words[self._layout.handler_word(number) + at.HANDLER_SERVED] = 1
        bits = sum(1 << number for number in numbers)
        return Served(names, numbers, bits | _SOME_UNNUMBERED if at.OTHER_HANDLER in found else bits)

    def _bits(self, slot: int) -> int:
        place = self._layout.served_map + slot * at.SERVED_BYTES
        return int.from_bytes(self._bytes[place : place + at.SERVED_BYTES], "little")

    def _publish(self, served: Served) -> None:
        """Add to what this process is known to serve; nothing is taken off. A process that is called to a thread that
        it does not look for any more passes the call on.
        """
        if self._published | served.bits == self._published:
            return
        self._published |= served.bits
        place = self._layout.served_map + self._slot * at.SERVED_BYTES
        self._bytes[place : place + at.SERVED_BYTES] = self._published.to_bytes(at.SERVED_BYTES, "little")

    def _back(self, entries: int) -> bool:
        """Make sure that so many entries of the table have memory. False: there is no room. Numbers only save time, so
        they take nothing of what is kept for follow-ups: without them a full storage could not be worked off.
        """
        backed, wanted = self._words[at.HANDLERS_BACKED], -(-entries * at.HANDLER_BYTES // PAGE) * PAGE
        if wanted <= backed:
            return True
        if not self._extents.secure(self._layout.handler_table + backed, wanted - backed, share=at.GENERAL):
            return False
        self._words[at.HANDLERS_BACKED] = wanted
        return True

    def _look_up(self, name: str) -> int:
        """The number that another process gave the handler, 0: none did."""
        while self._read < min(self._words[at.HANDLERS], at.LARGEST_HANDLER):
            self._known[self._name(self._read + 1)] = self._read + 1
            self._read += 1
        return self._known.get(name, 0)

    def _name(self, number: int) -> str:
        address = self._layout.handler_name(number)
        length = self._words[self._layout.handler_word(number) + at.HANDLER_NAME_BYTES]
        if length > at.NAME_BYTES:
            raise damaged(self._name_of_segment, f"handler {number} has no name")
        return self._bytes[address : address + length].decode()
