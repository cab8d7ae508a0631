"""What the supervisor sees of the storage."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from shardq.model import Ending


class Totals(NamedTuple):
    """What a storage counted at one instant."""

    accepted: int
    handled: int
    buried: int
    dead: int
    deferred: int
    recurrent: int
    evicted: int = 0


class LastSeen(NamedTuple):
    """What a worker that died had come to."""

    attached: bool
    """It had come as far as the storage, and could serve."""
    had_batch: bool
    """It died with a batch in hand, which is to blame and will be found out."""


class Board(Protocol):
    """The storage in the eyes of who supervises its workers."""

    def bell(self) -> int:
        """Descriptor that becomes readable when something happened that this process asked to know."""
        ...

    def silence(self) -> None: ...

    def quiet(self) -> bool:
        """Whether nothing is queued or in hand, nor deferred where that is to be waited for; if not, the bell will ring
        once that is so.
        """
        ...

    def promote(self) -> int | None:
        """Move what is due to its tubes. When the next is due, Unix microseconds, None: nothing waits; the bell rings
        for what is due earlier.
        """
        ...

    def totals(self) -> Totals: ...

    def only_unserved(self) -> list[str]:
        """Tubes that nobody here serves, where nothing else is left; else an empty list."""
        ...

    def wake_workers(self) -> None:
        """Make sleeping workers look for themselves, as after a death."""
        ...

    def note_death(self, pid: int, ending: Ending) -> LastSeen:
        """Write down how a worker ended."""
        ...

    def excuse(self, pid: int) -> None:
        """Write down that a worker is ended on purpose, before it is."""
        ...

    def condemn(self, pid: int) -> None:
        """Write down that a worker is ended because its batch takes too long, before it is."""
        ...

    def deadlines(self) -> dict[int, int]:
        """When batches in hand must be done, in nanoseconds of CLOCK_MONOTONIC, by pid; the bell rings for the first
        one after there was none.
        """
        ...

    def renewals(self) -> list[int]:
        """Pids of workers that want to be replaced; the bell rings for each."""
        ...

    def arrived(self) -> list[int]:
        """Pids of living workers that have come as far as the storage; the bell rings for each."""
        ...

    def strangers(self) -> list[int]:
        """Pids of living workers of a supervisor that is gone."""
        ...
