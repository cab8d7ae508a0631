"""The handlers of the in-memory storage that are paused. Wants the lock of the storage held."""

from __future__ import annotations

from collections.abc import Callable, Set

from shardq.model import MOST_PAUSES, Pause, When, check_pause, too_many_pauses
from shardq.scheduling.schedule import resolved_us


class Pauses:
    """By handler. `now_us` gives Unix microseconds."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._standing: dict[str, Pause] = {}

    @property
    def handlers(self) -> Set[str]:
        """Those that are paused."""
        return self._standing.keys()

    @property
    def standing(self) -> list[Pause]:
        """By handler."""
        return [self._standing[handler] for handler in sorted(self._standing)]

    def of(self, handler: str) -> Pause | None:
        """The pause of a handler, if it has one."""
        return self._standing.get(handler)

    def pause(self, handler: str, until: When | None, reason: str) -> None:
        """See `Pausable.pause`."""
        check_pause(handler, until, reason)
        now_us = self._now_us()
        until_us = resolved_us(until, now_us) if until else None
        if handler not in self._standing and len(self._standing) >= MOST_PAUSES:
            raise too_many_pauses(handler)
        self._standing[handler] = Pause(handler, now_us, until_us, reason)

    def resume(self, handler: str) -> bool:
        """See `Pausable.resume`."""
        return self._standing.pop(handler, None) is not None

    def end_over(self) -> bool:
        """Whether pauses were over, all of which end with this."""
        now_us = self._now_us()
        over = [its.handler for its in self._standing.values() if its.until_us is not None and its.until_us <= now_us]
        for handler in over:
            del self._standing[handler]
        return bool(over)

    def next_end_us(self) -> int | None:
        """When the first one ends, Unix microseconds; None: none ends by itself."""
        return min((its.until_us for its in self._standing.values() if its.until_us is not None), default=None)
