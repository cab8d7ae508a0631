"""A segment as a move sees it: see `shardq.protocols.moving`."""

from __future__ import annotations

from collections.abc import Sequence

from shardq.drivers.shared.storage import SharedStorage
from shardq.errors import MoveRefused
from shardq.model import Batch, Chunk, Figures, Place, Stand, TubeLeft, Waiting
from shardq.pages import Page
from shardq.shm.words import RESERVE_PART


class MovableSegment:
    """`Movable` over a segment."""

    def __init__(self, storage: SharedStorage) -> None:
        self.storage = storage
        self._store = storage.store

    async def stand(self) -> Stand:
        return self._store.gate.stand()

    async def leave(self, move: int, to: str) -> None:
        await self.storage.patiently(lambda: self._store.leaving.leave(move, to))

    async def stay(self, move: int) -> bool:
        return await self.storage.patiently(lambda: self._store.leaving.stay(move))

    async def in_hand(self) -> list[str]:
        return await self.storage.patiently(lambda: self._store.leaving.in_hand())

    async def tubes(self, after: int | None = None) -> Page[TubeLeft]:
        return await self.storage.patiently(lambda: self._store.leaving.tubes(after))

    async def read(self, tube: TubeLeft, limit: int, after: int | None = None) -> Batch:
        front = tube.place is Place.FRONT
        return await self.storage.patiently(lambda: self._store.leaving.read(tube.pipe, limit, after, front=front))

    async def waiting(self, after: Sequence[int] | None = None) -> Page[Waiting]:
        return await self.storage.patiently(lambda: self._store.leaving.waiting(after))

    async def figures(self) -> Figures:
        return await self.storage.patiently(lambda: self._store.leaving.figures())

    async def message_bytes(self) -> int:
        return self._store.segment.used_bytes

    async def is_as_it_was(self, move: int) -> bool:
        return True

    async def hand_over(self, move: int) -> None:
        if not await self.storage.patiently(lambda: self._store.leaving.hand_over(move)):
            raise MoveRefused(
                f"segment {self.storage.name!r} does not leave by this move any more: it was cancelled; give the "
                "command again"
            )

    async def take_back(self, move: int) -> None:
        await self.storage.patiently(lambda: self._store.leaving.take_back(move))

    async def forget(self, move: int) -> None:
        await self.storage.patiently(lambda: self._store.leaving.forget(move))

    async def arrive(self, move: int, come_from: str) -> None:
        if not await self.storage.patiently(lambda: self._store.arriving.arrive(move, come_from)):
            raise MoveRefused(
                f"segment {self.storage.name!r} is not empty, or another move has to do with it: move to another one"
            )

    async def room_bytes(self) -> int | None:
        capacity = self.storage.capacity_bytes
        return capacity - capacity // RESERVE_PART

    async def room_of(self, pipe: str) -> int:
        return 0

    async def stored(self, chunk: Chunk) -> int:
        return await self.storage.patiently(lambda: self._store.arriving.stored())

    async def store(self, move: int, chunk: Chunk) -> bool:
        stored = await self.storage.patiently(lambda: self._store.arriving.store(move, chunk))
        if stored is None:
            raise MoveRefused(
                f"segment {self.storage.name!r} takes nothing of this move any more: it was cancelled; give the "
                "command again"
            )
        return stored

    async def settle(self, move: int, number: int, figures: Figures) -> None:
        await self.storage.patiently(lambda: self._store.arriving.settle(move, number, figures))

    async def open(self, move: int) -> None:
        if not await self.storage.patiently(lambda: self._store.arriving.open(move)):
            raise MoveRefused(
                f"segment {self.storage.name!r} has not what this move brought: it was dropped there, or the segment "
                "was removed and made anew. The source still has all of it: the same command with --cancel lets the "
                "source go on. What was handled there before comes again then"
            )

    async def clear(self, move: int) -> None:
        await self.storage.patiently(lambda: self._store.leaving.clear(move))
