"""What a segment takes and hands out. The word CLOSED is 0 where it is all there is: so callers look at that first."""

from __future__ import annotations

from shardq.errors import MoveRefused, SegmentMissing, StorageMoved
from shardq.model import Stand, Standing
from shardq.shm import words as at
from shardq.shm.damage import damaged
from shardq.shm.segment import Segment

#: What the word CLOSED says. A segment that is about to go is open to all that look into it.
_STANDINGS = {at.SHUT: Standing.OPEN, **{int(standing): standing for standing in Standing}}


class Gate:
    """The gate of a segment. All methods want the guard held, unless they only look."""

    def __init__(self, segment: Segment) -> None:
        self._name = segment.name
        self._words = segment.words
        self._bytes = segment.bytes

    def takes(self) -> bool:
        """Whether the segment takes what is new to it, or changes that a caller makes to what is in it. Raises
        `SegmentMissing` and `StorageMoved`.
        """
        self.check_not_shut()
        self.check_stays()
        return bool(self._words[at.CLOSED] == at.OPEN)

    def hands_out(self) -> bool:
        """Whether the segment hands out messages. Raises `StorageMoved`."""
        self.check_stays()
        return bool(self._words[at.CLOSED] != at.ARRIVING)

    def check_stays(self) -> None:
        """Raise `StorageMoved` where the content goes elsewhere. Wants no guard."""
        if self._words[at.CLOSED] in (at.LEAVING, at.LEFT):
            raise StorageMoved(self._target())

    def check_not_shut(self) -> None:
        """Raise `SegmentMissing` where the segment is about to go."""
        if self._words[at.CLOSED] == at.SHUT:
            raise SegmentMissing(
                f"segment {self._name!r} was closed by its supervisor, which ended, or was destroyed: nothing was "
                f"stored; start a supervisor and connect again"
            )

    @property
    def may_go(self) -> bool:
        """Whether the segment is no signpost, and waits for no content."""
        return self._words[at.CLOSED] in (at.OPEN, at.SHUT)

    def stand(self) -> Stand:
        """How the segment stands. Raises `SegmentForeign`. Wants no guard."""
        closed = self._words[at.CLOSED]
        to = self._target() if closed in (at.LEAVING, at.LEFT) else ""
        standing = _STANDINGS.get(closed)
        if standing is None:
            raise damaged(self._name, f"it stands as {closed}, which means nothing")
        come_from = self._text(at.ORIGIN, at.ORIGIN_BYTES) if closed == at.ARRIVING else ""
        return Stand(standing, self._words[at.LEAVING_BY], to, self._words[at.ARRIVING_BY], come_from)

    def shut(self) -> None:
        """Take nothing any more: the segment goes. Wants no guard."""
        if self._words[at.CLOSED] == at.OPEN:
            self._words[at.CLOSED] = at.SHUT

    def reopen(self) -> None:
        """The segment stays after all. Wants no guard."""
        if self._words[at.CLOSED] == at.SHUT:
            self._words[at.CLOSED] = at.OPEN

    def leave(self, move: int, to: str) -> None:
        """See `Movable.leave`."""
        words = self._words
        if words[at.CLOSED] in (at.LEAVING, at.LEFT) and words[at.LEAVING_BY] == move:
            return
        if words[at.CLOSED] != at.OPEN:
            raise MoveRefused(f"segment {self._name!r} is closed, or another move has to do with it")
        self._write(at.TARGET, at.TARGET_BYTES, to)
        words[at.LEAVING_BY] = move
        words[at.CLOSED] = at.LEAVING  # last: it makes the others count

    def pass_through(self, former: int, move: int, later: int) -> bool:
        """Go from the standing that this move has brought about to the next. False: that is not how it stands."""
        words, by = self._words, at.ARRIVING_BY if former == at.ARRIVING else at.LEAVING_BY
        stands = words[at.CLOSED] == former and words[by] == move
        if stands:
            words[at.CLOSED] = later
        return bool(stands)

    def arrive(self, move: int, come_from: str, *, empty: bool) -> bool:
        """See `Movable.arrive`. False: it is refused."""
        words = self._words
        if words[at.CLOSED] == at.ARRIVING:
            return bool(words[at.ARRIVING_BY] == move)
        if words[at.CLOSED] not in (at.OPEN, at.LEFT) or words[at.ARRIVING_BY] == move or not empty:
            return False
        self._write(at.ORIGIN, at.ORIGIN_BYTES, come_from)
        words[at.ARRIVED] = 0
        words[at.ARRIVING_BY] = move
        words[at.CLOSED] = at.ARRIVING
        return True

    def _target(self) -> str:
        return self._text(at.TARGET, at.TARGET_BYTES)

    def _text(self, address: int, length: int) -> str:
        return self._bytes[address : address + min(self._words[length], at.LONGEST_PLACE)].decode(errors="replace")

    def _write(self, address: int, length: int, text: str) -> None:
        """Write a text that counts once CLOSED says so. Raises `MoveRefused` where it is too long."""
        encoded = text.encode()
        if len(encoded) > at.LONGEST_PLACE:
            raise MoveRefused(f"{text} is longer than {at.LONGEST_PLACE} bytes: give a shorter URL")
        self._bytes[address : address + len(encoded)] = encoded
        self._words[length] = len(encoded)
