"""The worker as a stay in one of its threads sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from shardq.model import Hand, Terms
from shardq.queue import Queue
from shardq.settings import WorkerSettings
from shardq.text.portrait import Alarm


class Host(Protocol):
    """What a stay needs of its worker."""

    queue: Queue
    settings: WorkerSettings
    terms: dict[str, Terms]
    stopping: bool
    alarm: Alarm
    after_step: Callable[[BaseException | None], None]
    interruptible: bool

    async def more_comes(self, bound: str) -> bool: ...

    async def others_wait(self) -> bool: ...

    def served(self) -> frozenset[str]: ...

    def moved_on(self, key: str, hand: Hand | None) -> None: ...

    @property
    def others_are_due(self) -> bool: ...

    async def let_others_run(self, *, long: bool, now: bool = False) -> None: ...

    def between_batches(self, done: int) -> None: ...

    def pause_when_full_s(self, key: str) -> float: ...
