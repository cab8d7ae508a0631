"""How long a worker stays in a thread while others may wait."""

from __future__ import annotations

from time import monotonic

from shardq.settings import WorkerSettings


class Quantum:
    """The quantum of a stay. It begins with the stay, and anew where no other thread waited at its end."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self.begin(0)

    def begin(self, done: int) -> None:
        """Begin anew, when so many requests of the stay are done."""
        self._last_at, self._last_done = monotonic() + self._settings.quantum, done + self._settings.quantum_items
        """When it ends, and when so many requests of the stay are done."""

    def is_over(self, done: int, now_s: float) -> bool:
        """Whether the worker stayed for long enough, when so many requests of the stay are done.
        `now_s`: monotonic.
        """
        return done >= self._last_done or now_s > self._last_at
