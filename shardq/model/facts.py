"""What a storage knows of one pipe, from which follows why its requests do not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from shardq.model.moving import Standing
from shardq.model.pauses import Pause
from shardq.model.progress import AtWork


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """A process that handles requests of a storage."""

    at: AtWork
    """Where the number is 0, it is a worker without a supervisor, or the storage does not know it."""
    state: Literal["running", "stopped", "silent"] = "running"
    """`stopped`: by a signal or a debugger; `silent`: not heard of for longer than its lease. A storage that cannot see
    it says `running`."""
    host: str | None = None
    """As `CrewMember.host`."""
    left_s: float | None = None
    """How long it still may have its batch; negative: since when it should have been done. None: for ever, or the
    storage does not say."""
    handlers: tuple[str, ...] | None = None
    """Those that it serves. None: all, or the storage does not say."""


@dataclass(frozen=True, slots=True)
class PipeFacts:
    """What is known of a pipe at one moment."""

    pipe: str
    queued: int = 0
    """Its requests, those in hand included."""
    others: Mapping[int, int] = field(default_factory=dict)
    """Requests of its thread that have other priorities, by these."""
    standing: Standing = Standing.OPEN
    goes_to: str = ""
    """With a storage that is left, or about to be: the URL of where its content goes."""
    guard: str = ""
    """The process that all others wait for before they can change the storage, in words. Empty: there is none."""
    owner: WorkerFacts | None = None
    """Whose thread it is. None: it is free."""
    taken: int | None = None
    """Priority of the batch that the owner has in hand of this thread. None: it has none."""
    attempts: int = 0
    """How often the request at its head failed alone."""
    failed_ago_s: float = 0.0
    """Since the last of these."""
    died: bool = False
    """Whether a worker died of it then; else it raised."""
    rests_s: float = 0.0
    """How long its thread is still offered to no worker."""
    deaths: int = 0
    """How many workers in a row died when they had its thread and none of its requests in hand."""
    served: bool | None = None
    """Whether a process that looks for work has its handler. None: the storage does not say."""
    workers: Sequence[WorkerFacts] | None = None
    """All of the storage that live. None: it does not say."""
    supervisors: int | None = None
    """None: the storage does not say."""
    full: float | None = None
    """Which part of its capacity is in use, from 0 to 1. None: it has no bound, or does not say."""
    paused: Pause | None = None
    """What keeps workers off its handler."""
    moving: bool = False
    """Whether it changed too fast to be looked at, and nothing is known of its thread."""
    unknown: tuple[str, ...] = ()
    """Codes of reasons that it cannot see."""
