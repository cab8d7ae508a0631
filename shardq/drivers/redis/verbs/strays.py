"""Claims of this process that it does not know of.

Where a server was lost, the one in its place may lack what came last, and so have claims again that were released.
Its supervisor would renew them with the others of its worker: so the worker releases them itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from shardq.blocking import here as blocking
from shardq.drivers.redis.servers.server import Server
from shardq.drivers.redis.verbs.presence import Presence
from shardq.model import Hand


class Strays:
    """Those of a worker of a supervisor. Without one, a claim that is not known is not renewed, and ends by itself."""

    def __init__(self, server: Server, presence: Presence) -> None:
        self._server = server
        self._presence = presence
        self._upsets = 0
        self._unsure = set[int]()
        """Partitions that may have some."""
        self._known: dict[str, int] = {}
        """Claims that no turn made: tokens by thread."""

    def note_claim(self, key: str, token: int) -> None:
        """A claim was made by itself."""
        if token:
            self._known[key] = token

    def forget_claim(self, key: str) -> None:
        """A thread was released."""
        self._known.pop(key, None)

    def expect(self, partition: int) -> None:
        """A claim there could not be released."""
        self._unsure.add(partition)

    async def release(self, partitions: Iterable[int], hand: Hand | None) -> None:
        """Release those on these partitions, where a server was lost since. `hand`: what the worker has."""
        if not self._presence.supervised or blocking.blocking:
            return
        upsets = (await self._server.here()).link.upsets
        if upsets != self._upsets:
            self._upsets, self._unsure = upsets, set((await self._server.layout()).everywhere)
        if not self._unsure:
            return
        kept = [*self._known.values(), *([hand.token] if hand else [])]
        told = {"owners": [self._presence.owner], "kept": kept}
        calls = {place: (told, ()) for place in partitions if place in self._unsure}
        if calls:
            replies = await self._server.run_each("owned", calls, patience_s=0.0)
            self._unsure -= {place for place, reply in replies.items() if not isinstance(reply, Exception)}
