"""The threads that wait for a worker, and which one's turn it is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Set as AbstractSet

from shardq.model import split_key
from shardq.protocols import Served


class Ready:
    """Threads to offer, by handler, each in the order of how long ago `wait` offered it."""

    def __init__(self) -> None:
        # A plain dict would be slow in place of the inner ones: to find its first key it walks over the places of all
        # that were deleted before it.
        self._turns: dict[str, OrderedDict[str, int]] = {}
        self._last_turn = 0

    def add(self, key: str) -> None:
        """Offer the thread after all that are there."""
        threads = self._turns.setdefault(split_key(key)[0], OrderedDict())
        if key not in threads:
            self._last_turn += 1
            threads[key] = self._last_turn

    def discard(self, key: str) -> None:
        name = split_key(key)[0]
        threads = self._turns.get(name)
        if threads is None:
            return
        threads.pop(key, None)
        if not threads:
            del self._turns[name]

    def any(self, served: Served, paused: AbstractSet[str]) -> bool:
        """Whether there is a thread of these handlers, and not of one that is paused."""
        return bool(self._names(served, paused))

    def next(self, served: Served, paused: AbstractSet[str]) -> str | None:
        """The thread of these handlers whose turn it is. Its next turn comes after that of all others."""
        first = ((next(iter(self._turns[name].items())), name) for name in self._names(served, paused))
        found = min(((turn, key, name) for (key, turn), name in first), default=None)
        if found is None:
            return None
        _, key, name = found
        self._last_turn += 1
        self._turns[name][key] = self._last_turn
        self._turns[name].move_to_end(key)
        return key

    def _names(self, served: Served, paused: AbstractSet[str]) -> AbstractSet[str]:
        names = self._turns.keys() if served is None else self._turns.keys() & served
        return names - paused if paused else names
