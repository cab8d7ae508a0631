"""How many bytes of messages a storage may have."""

from __future__ import annotations

from collections.abc import Sequence

from shardq.errors import HandlerError, MessageTooLarge
from shardq.model import Limits, Part, key_of
from shardq.text.wording import counted

#: One part in so many of a bounded storage is kept for dead letters. What handlers register may use half of that, and
#: what hands over no more requests than it acknowledges half of the rest.
RESERVE_PART, FOLLOW_UP_PART, HAND_OVER_PART = 16, 32, 64
#: What scripts return instead of a count: there is no room; they have to be called again.
NO_ROOM, CALL_AGAIN = -1, -2
#: One append takes at most one part in so many of a bounded storage.
_STEP_PART = 4
#: What one append takes at most: the script that stores it takes some milliseconds.
_STEP = Limits(128, 32_768, 16 << 20, message_bytes=256 << 20, key_bytes=1024, examined=512)


class Room:
    """Room of each partition: an equal share of `capacity_bytes`. None means no bound but the memory of the server."""

    def __init__(self, capacity_bytes: int | None, partitions: int = 1) -> None:
        self.capacity_bytes = None if capacity_bytes is None else capacity_bytes // partitions
        self._partitions = partitions

    @property
    def limits(self) -> Limits:
        if self.capacity_bytes is None:
            return _STEP
        most = self.capacity_bytes - self.capacity_bytes // RESERVE_PART
        nbytes = min(_STEP.nbytes, self.capacity_bytes // _STEP_PART)
        return _STEP._replace(nbytes=nbytes, message_bytes=min(_STEP.message_bytes, most))

    @property
    def grave_bytes(self) -> int | None:
        """Most bytes of the letters of a handler."""
        return None if self.capacity_bytes is None else self.capacity_bytes // RESERVE_PART

    def most(self, kept_part: int = RESERVE_PART) -> int | None:
        """How many bytes there may be where one part in so many is kept free."""
        return None if self.capacity_bytes is None else self.capacity_bytes - self.capacity_bytes // kept_part

    def check_fits(self, parts: Sequence[Part], *, again: bool = False) -> None:
        """Raise `MessageTooLarge` for messages that not even an empty storage takes at once. Of those that come again
        and again the largest has to fit beside all of them.
        """
        messages = [message for _, its in parts for message in its]
        most = self.most()
        beside = max(map(len, messages), default=0) if again and most is not None else 0
        nbytes = sum(map(len, messages)) + beside
        if nbytes > (self.limits.message_bytes if most is None else most):
            raise MessageTooLarge(
                f"{counted(len(messages), 'message')} of {nbytes} bytes for {parts[0][0]} can never fit a storage of "
                f"{self._place}: register fewer at a time, or give it more capacity"
            )

    @property
    def _place(self) -> str:
        if self._partitions == 1 or self.capacity_bytes is None:
            return f"{self.capacity_bytes} bytes"
        return f"{self.capacity_bytes * self._partitions} bytes in {self._partitions} partitions"

    def check_names(self, parts: Sequence[Part]) -> None:
        """Raise `HandlerError` for a thread whose name is too long."""
        for pipe, _ in parts:
            if len(pipe) > _STEP.key_bytes // 4 and len(key_of(pipe).encode()) > _STEP.key_bytes:
                raise HandlerError(
                    f"the name of a thread has {len(key_of(pipe).encode())} bytes: give at most {_STEP.key_bytes}"
                )
