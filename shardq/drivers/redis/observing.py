"""The observer of a storage on a server."""

from __future__ import annotations

from typing import Any

from shardq.drivers.redis.facts import facts_of
from shardq.drivers.redis.overview import Overview, overview_of
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.tallies import handlers_of
from shardq.drivers.redis.tubes import tubes_of
from shardq.model import (
    MOST_ACTIONS,
    Action,
    Batch,
    Counts,
    HandlerView,
    Pause,
    PipeFacts,
    Scheduled,
    TubeView,
)
from shardq.pages import PAGE_ITEMS, Page
from shardq.protocols import DeferralsSeen


class RedisObserver:
    """`protocols.Observer` of a storage on a server. It is connected to at the first look; each may raise
    `StorageUnavailable` and `StorageRefused`.
    """

    missed = 0

    def __init__(self, storage: RedisStorage) -> None:
        self._storage = storage
        self.deferrals: DeferralsSeen = storage.deferrals

    async def overview(self) -> Overview:
        return await overview_of(self._storage)

    async def tubes(self, after: Any = None, limit: int = PAGE_ITEMS) -> Page[TubeView]:
        return await tubes_of(self._storage, after, limit)

    async def facts(self, pipe: str) -> PipeFacts:
        return await facts_of(self._storage, pipe)

    async def handlers(self) -> list[HandlerView]:
        return await handlers_of(self._storage.server)

    async def length(self, pipe: str) -> int:
        return await self._storage.length(pipe)

    async def pipes(self, after: Any = None, limit: int = PAGE_ITEMS) -> Page[str]:
        return await self._storage.pipes(after, limit)

    async def range(self, pipe: str, limit: int, after: int | None = None) -> Batch:
        return await self._storage.range(pipe, limit, after)

    async def graves(self, after: Any = None, limit: int = PAGE_ITEMS) -> Page[str]:
        return await self._storage.graves(after, limit)

    async def scheduled(self, after: Any = None, limit: int = PAGE_ITEMS) -> Page[Scheduled]:
        return await self._storage.scheduled(after, limit)

    async def backlog(self) -> Counts:
        return await self._storage.backlog()

    async def pauses(self) -> list[Pause]:
        return await self._storage.pauses()

    async def actions(self, limit: int = MOST_ACTIONS) -> list[Action]:
        return await self._storage.actions(limit)

    def close(self) -> None:
        """Close its connections."""
        self._storage.server.close()
