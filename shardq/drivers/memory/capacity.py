"""How many bytes of messages an in-memory storage has, and how many it may have."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from shardq.errors import MessageTooLarge
from shardq.model import Limits, Part
from shardq.text.wording import counted

#: One part in so many of a bounded storage is kept for dead letters. What handlers register may use half of that, and
#: what hands over no more requests than it acknowledges half of the rest.
RESERVE_PART, FOLLOW_UP_PART, HAND_OVER_PART = 16, 32, 64
#: One append takes at most one part in so many of a bounded storage.
_STEP_PART = 4


class Capacity:
    """`most_bytes`: None means no bound."""

    def __init__(self, most_bytes: int | None) -> None:
        self._most_bytes = most_bytes
        self.used_bytes = 0

    @property
    def limits(self) -> Limits:
        if self._most_bytes is None:
            return Limits(sys.maxsize, sys.maxsize, sys.maxsize)
        message_bytes = self._most_bytes - self._most_bytes // RESERVE_PART
        return Limits(sys.maxsize, sys.maxsize, self._most_bytes // _STEP_PART, message_bytes=message_bytes)

    @property
    def reserve_bytes(self) -> int | None:
        """How many bytes are kept for dead letters, None where there is no bound."""
        return None if self._most_bytes is None else self._most_bytes // RESERVE_PART

    def fits(self, nbytes: int, kept_part: int | None = RESERVE_PART, *, empty: bool = False) -> bool:
        """Whether there is room for so many bytes, with one part in so many kept free; `empty`: were there nothing."""
        if self._most_bytes is None:
            return True
        kept = self._most_bytes // kept_part if kept_part else 0
        return (0 if empty else self.used_bytes) + nbytes <= self._most_bytes - kept

    def fits_in_reserve(self, nbytes: int) -> bool:
        return self.fits(nbytes, None)

    def take(self, nbytes: int) -> bool:
        """Use so many bytes where there is room for them."""
        fits = self.fits(nbytes)
        self.used_bytes += nbytes if fits else 0
        return fits

    def take_for(self, parts: Sequence[Part], kept_part: int = RESERVE_PART) -> bool:
        """Use the bytes of these messages where there is room for all. Raises `MessageTooLarge`."""
        messages = [message for _, its in parts for message in its]
        size = sum(map(len, messages))
        if not self.fits(size, kept_part):
            self.check(parts[0][0], messages)
            return False
        self.used_bytes += size
        return True

    def check(self, pipe: str, messages: Sequence[bytes]) -> None:
        """Raise `MessageTooLarge` for messages that not even an empty storage takes at once."""
        nbytes = sum(map(len, messages))
        if not self.fits(nbytes, empty=True):
            raise MessageTooLarge(
                f"{counted(len(messages), 'message')} of {nbytes} bytes for {pipe} can never fit a storage of "
                f"{self._most_bytes} bytes: register fewer at a time, or give it more capacity"
            )
