"""Actions of operators, as verbs of the storage of one host."""

from __future__ import annotations

import time
from collections.abc import Sequence

from shardq.drivers.shared.attachment import Attachment
from shardq.encoding.actions import decode_action, encode_action
from shardq.model import MOST_ACTIONS, Action
from shardq.shm.actions import Told
from shardq.shm.damage import damaged


class Recording(Attachment):
    """`Auditable` over a segment."""

    async def record(self, action: Action) -> None:
        at_us, told = time.time_ns() // 1000, encode_action(action)
        await self.patiently(lambda: self._store.recording.record(at_us, told))

    async def actions(self, limit: int = MOST_ACTIONS) -> list[Action]:
        return decoded(self._store.segment.name, await self.patiently(lambda: self._store.recording.actions(limit)))


def decoded(name: str, found: Sequence[Told]) -> list[Action]:
    """The actions that were found in the segment of that name. Raises `SegmentForeign`."""
    try:
        return [decode_action(*its) for its in found]
    except ValueError as error:
        raise damaged(name, str(error)) from error
