"""The contract of a storage that a supervisor serves: what it sees of the storage, and tells it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from shardq.model import AtWork, Counts, Died, Ending


class LastSeen(NamedTuple):
    """How far a worker had come when it died."""

    attached: bool
    """It had attached to the storage, and could serve."""
    had_batch: bool
    """It died with a batch in hand. A request of that batch may be to blame; the next workers find out which."""


class Supervised(Protocol):
    """The storage, as the supervisor of its workers sees it."""

    @property
    def look_s(self) -> float:
        """So many seconds at least are between two looks at how far the work is, where they are for a family that
        serves on.
        """
        ...

    def bell(self) -> int:
        """Descriptor that becomes readable when something happens that the supervisor asked to be told of."""
        ...

    def silence(self) -> None: ...

    def quiet(self) -> bool:
        """Whether nothing is queued or in hand, and, if the drain waits for deferred requests, nothing is deferred. If
        not, the bell rings as soon as it is so.
        """
        ...

    def idle(self) -> bool:
        """Whether nothing is queued or in hand. If so, the bell rings when a worker of this family takes a batch."""
        ...

    def at_work(self) -> Sequence[AtWork]:
        """What the workers are at. Empty for a storage that is not told."""
        ...

    def promote(self) -> int | None:
        """Move the requests that are due to their tubes. Returns when the next one is due, Unix microseconds; None: no
        request waits. The bell rings when a request is added that is due earlier.
        """
        ...

    def counts(self) -> Counts: ...

    def only_unserved(self) -> list[str]:
        """The tubes that are not empty, if this family serves the handler of none of them, or only such as are paused,
        of which nothing is in hand; else an empty list.
        """
        ...

    def wake_workers(self) -> None:
        """Wake sleeping workers, so that they look for work themselves: after a death, for instance."""
        ...

    def note_death(self, pid: int, ending: Ending) -> LastSeen:
        """Write down how a worker ended."""
        ...

    def count_death(self, how: Died) -> None:
        """Count that a worker died which was not ended on purpose, where the storage counts that."""
        ...

    def excuse(self, pid: int) -> None:
        """Write down that a worker is killed on purpose. Called before it is killed."""
        ...

    def condemn(self, pid: int) -> None:
        """Write down that a worker is killed because its batch takes too long. Called before it is killed."""
        ...

    def deadlines(self) -> dict[int, int]:
        """When batches in hand must be done, in nanoseconds of CLOCK_MONOTONIC, by pid of the worker. While there is no
        deadline, the bell rings for the next one.
        """
        ...

    def renewals(self) -> list[int]:
        """Pids of workers that asked to be replaced; the bell rings for each."""
        ...

    def arrived(self) -> list[int]:
        """Pids of living workers that have attached to the storage; the bell rings for each."""
        ...

    def strangers(self) -> list[int]:
        """Pids of living workers of a supervisor that is gone."""
        ...
