"""What operators are shown of a storage."""

from __future__ import annotations

from dataclasses import dataclass

from shardq.model.progress import AtWork

#: Where a process is whose pid counts in another namespace, as that of a container.
ELSEWHERE = "another pid namespace"


@dataclass(frozen=True, slots=True)
class TubeView:
    """A tube that is not empty."""

    pipe: str
    queued: int
    """Its requests, those in hand included."""
    oldest_age_s: float | None = None
    """How long ago the oldest of its requests was accepted. None, here and below: the storage does not say."""
    worker_pid: int | None = None
    """Process whose worker is bound to its thread, None: no worker is."""
    unserved: bool | None = None
    """Whether no worker is bound, and none that looks for work has a handler for it. Where no worker looks: whether
    none of those that did had one."""
    attempts: int | None = None
    """How often the request at its head failed."""
    rests_s: float | None = None
    """For how many seconds its thread is still not offered to workers: its handler did not start or cannot be used, a
    request waits for its next attempt, or there was no room."""
    paused: bool | None = None
    """Whether its handler is paused."""


@dataclass(frozen=True, slots=True)
class CrewMember:
    """A worker, as each storage can show it."""

    host: str | None
    """Where its pid counts. None: here."""
    supervisor_pid: int | None
    """None: it has no supervisor that lives."""
    state: str
    """`busy` with a batch, `idle`, `stopped` by a signal, `silent` for longer than its claims live, or `dead`."""
    at: AtWork
    """Its pid and number, and what it is at."""
    rss_bytes: int | None
    """Memory of the process, shared pages included. None: it cannot be seen from here."""
    left_s: float | None = None
    """How long it still may have its batch; negative: since when it should have been done. None: as long as it takes,
    or the storage does not say.
    """
