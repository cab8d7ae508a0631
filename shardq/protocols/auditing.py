"""What a storage promises of the actions of operators that it remembers."""

from __future__ import annotations

from typing import Protocol

from shardq.model import MOST_ACTIONS, Action


class Auditable(Protocol):
    """Remembers who did what to it, so that another operator can see it.

    Actions

    S49. `record` remembers an action, with the next number and the time by the storage's clock. `actions` lists the
        last ones, the latest first, at most `limit`, of all processes. Texts are cut to what there is room for, so
        every action can be recorded, also where the storage is full, and where its content goes elsewhere or went. It
        changes nothing else. [Redis: not where the server reached its `maxmemory`.]
    S50. It remembers the last `MOST_ACTIONS`. Each is there whole or not at all, whichever process dies when. They
        belong to the storage, as pauses do, and do not move with its content. [Memory: while the process lives. Shared
        memory: fewer where the capacity is below 8 MiB, one for each 32 KiB of it.]
    """

    async def record(self, action: Action) -> None: ...

    async def actions(self, limit: int = MOST_ACTIONS) -> list[Action]: ...
