"""Claims that a process gives up: for another thread, or since the coroutine that made them was cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from shardq.behind import behind
from shardq.blocking import here as blocking
from shardq.drivers.redis.connections.replies import NoMemory
from shardq.drivers.redis.connections.tries import LOOK_S
from shardq.drivers.redis.servers.server import Server
from shardq.drivers.redis.verbs.forwarding import Forwarding
from shardq.drivers.redis.verbs.sleeping import Look
from shardq.drivers.redis.verbs.strays import Strays
from shardq.errors import ShardqError
from shardq.model import Hand

_Result = TypeVar("_Result")


class Releasing:
    """The releases of one process. What it began goes on where its caller is cancelled."""

    def __init__(self, server: Server, strays: Strays, forwarding: Forwarding) -> None:
        self._server = server
        self._strays = strays
        self._forwarding = forwarding

    async def soon(self, turn: Coroutine[Any, Any, Look], bound: Hand | None) -> Look | None:
        """What a turn returns that may claim a thread. None where its server does not answer; should it have claimed
        one it is released once it does.
        """
        if blocking.blocking:
            return await turn
        task = behind(turn)
        try:
            done, _ = await asyncio.wait({task}, timeout=LOOK_S)
        except asyncio.CancelledError:
            task.add_done_callback(partial(self._give_up, bound))
            raise
        if done:
            return task.result()
        task.add_done_callback(partial(self._give_up, bound))
        return None

    async def to_its_end(self, release: Coroutine[Any, Any, _Result]) -> _Result:
        """What the release of a thread returns. It goes on where its caller is cancelled: that may happen before the
        server has its script, or is connected.
        """
        if blocking.blocking:
            return await release
        task = behind(release)
        task.add_done_callback(lambda its: its.cancelled() or its.exception())  # a caller that is gone hears of none
        await asyncio.wait({task})
        return task.result()

    async def exchange(self, former: Hand, found: Hand) -> None:
        """Release a thread for another one that was claimed."""
        self._strays.forget_claim(former.key)
        await self.for_a_moment(self._released(former), former, found)

    async def bring_on(self, source: int, former: Hand | None, found: Hand | None) -> None:
        """Bring on what goes to other partitions."""
        await self.for_a_moment(self._forwarding.bring_on(source), former, found)

    def of_orphan(self, claim_of: Callable[[Any], tuple[str, int] | None]) -> Callable[[Any], None]:
        """Releases the claim that a cancelled call made."""

        def release(reply: Any) -> None:
            claim = None if isinstance(reply, Exception) else claim_of(reply)
            if claim and claim[1]:
                self._server.post_soon("unclaim", claim[0], {"key": claim[0], "token": claim[1], "pause_us": 0})

        return release

    def _give_up(self, bound: Hand | None, turned: asyncio.Task[Look]) -> None:
        """Release what was claimed too late."""
        found: Hand | None = None if turned.cancelled() or turned.exception() else turned.result().found
        if found and (bound is None or found.token != bound.token):
            self._release_soon(found)

    async def for_a_moment(self, work: Coroutine[Any, Any, object], former: Hand | None, found: Hand | None) -> None:
        """Wait for work beside a turn, which goes on behind where its server does not answer. The turn may have claimed
        a thread and taken a batch: neither that server nor an error of it keeps these from the worker. Where the caller
        is cancelled, what was claimed is released.
        """
        if blocking.blocking:
            await _quietly(work)
            return
        task = behind(_quietly(work))
        try:
            done, _ = await asyncio.wait({task}, timeout=LOOK_S)
        except asyncio.CancelledError:
            if found and (former is None or found.token != former.token):
                self._release_soon(found)
            raise
        if done:
            task.result()

    async def _released(self, hand: Hand) -> None:
        """Returns once it was tried, and goes on behind where that failed."""
        if blocking.blocking:
            await self._unclaim(hand)
            return
        try:
            await self._unclaim(hand, patience_s=0.0)
        except (ShardqError, NoMemory):
            self._release_soon(hand)

    def _release_soon(self, hand: Hand) -> None:
        behind(self._release(hand))

    async def _release(self, hand: Hand) -> None:
        try:
            await self._unclaim(hand)
        except (ShardqError, NoMemory):
            self._strays.expect((await self._server.layout()).partition_of(hand.key))

    async def _unclaim(self, hand: Hand, patience_s: float | None = None) -> None:
        told = {"key": hand.key, "token": hand.token, "pause_us": 0}
        await self._server.run_on(hand.key, "unclaim", told, once=True, patience_s=patience_s)


async def _quietly(work: Coroutine[Any, Any, object]) -> None:
    """Work whose errors the next call meets as well, and tells."""
    with suppress(ShardqError, NoMemory):
        await work
