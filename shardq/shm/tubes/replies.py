"""How many replies came into inboxes of callers and left them, by what processes counted of these.

The totals in the header have them among the requests.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from shardq.model import INBOX, Counts
from shardq.shm import words as at
from shardq.shm.segment import Segment
from shardq.shm.words import WORD

_COUNTED = struct.Struct("<4Q")  # TALLY_ACCEPTED, TALLY_DONE, TALLY_DEAD, TALLY_CANCELLED


class Replies:
    """Reads single words, and takes no guard. A death may lose the counts of a batch; then its replies count as
    requests, and so do all where so many handlers came first that inboxes are not counted by name.
    """

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._layout = segment.layout
        self._read = 0
        """How many entries of the handler table are other handlers."""

    def counted_apart(self, totals: Callable[[], Counts]) -> Counts:
        """What `totals` reads in the header, with replies apart."""
        came, left = self._seen()
        found = totals()
        accepted, handled = found.accepted - came, found.handled - left
        return found._replace(accepted=accepted, handled=handled, replies=came, replies_taken=left)

    def _seen(self) -> tuple[int, int]:
        """How many ever came, and how many of them left."""
        number = self._number()
        if not number:
            return 0, 0
        came = left = 0
        first, behind = self._layout.slot_word(0), self._layout.slot_word(self._layout.slots)
        incarnations = self._segment.words[first + at.SLOT_INCARNATION : behind : at.SLOT_WORDS].tolist()
        for slot, incarnation in enumerate(incarnations):
            if not incarnation:  # no process ever had it
                continue
            address = self._layout.tally_word(slot, number) * WORD
            accepted, *others = _COUNTED.unpack(self._segment.copied(address, _COUNTED.size))
            came, left = came + accepted, left + sum(others)
        return came, left

    def _number(self) -> int:
        """The number of inboxes as a handler. 0: it has none."""
        entries = min(self._segment.words[at.HANDLERS], at.LARGEST_HANDLER)
        while self._read < entries:
            if self._name(self._read + 1) == INBOX.encode():
                return self._read + 1
            self._read += 1
        return 0

    def _name(self, number: int) -> bytes:
        length = int.from_bytes(self._segment.copied(self._layout.handler_word(number) * WORD, WORD), "little")
        return self._segment.copied(self._layout.handler_name(number), min(length, at.NAME_BYTES))
