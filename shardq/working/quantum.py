"""How long a worker stays in a thread while others may wait."""

from __future__ import annotations

from time import monotonic

from shardq.settings import WorkerSettings


class Quantum:
    """The quantum of a stay. It begins with the stay, and anew where no other thread waited at its end."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._since, self._before = monotonic(), 0
        """When it began, and how many requests were done then."""

    def begin(self, done: int) -> None:
        """Begin anew, when so many requests of the stay are done."""
        self._since, self._before = monotonic(), done

    def is_over(self, done: int) -> bool:
        """Whether the worker stayed for long enough, when so many requests of the stay are done."""
        settings = self._settings
        return done - self._before >= settings.quantum_items or monotonic() - self._since > settings.quantum
