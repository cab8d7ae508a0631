"""Results that are kept for tickets: earlier ones make room for them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shardq.drivers.shared.due import timed
from shardq.model import KEPT_PIPE
from shardq.outputs import Output

if TYPE_CHECKING:
    from shardq.drivers.shared.storage import SharedStorage


class Keeping:
    """The kept results of a storage, within its settings."""

    def __init__(self, storage: SharedStorage) -> None:
        self._storage, self._store = storage, storage.store

    async def sendable(self, outputs: Sequence[Output]) -> Sequence[Output]:
        """The outputs as the segment takes them. Where results are to be kept, earlier ones make room."""
        for output in outputs:
            if output.pipe == KEPT_PIPE:
                await self._make_room_for(output.messages)
        return timed(outputs, self._store.segment.layout.step_parts)

    async def drop_old(self) -> None:
        """Drop results that are too old."""
        await self._make_room_for(())

    async def _make_room_for(self, results: Sequence[bytes]) -> None:
        """Drop results that are too old, and the oldest where there were too many with these."""
        storage, most = self._storage, self._storage.settings.results
        before_us = time.time_ns() // 1000 - int(storage.settings.results_age_s * 1e6)
        while await storage.patiently(lambda: self._store.burying.make_room(KEPT_PIPE, results, most, before_us)):
            continue
