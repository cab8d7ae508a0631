"""Claims that a process gives up: for another thread, or since the coroutine that made them was cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from shardq.blocking import here as blocking
from shardq.drivers.redis.connections.tries import LOOK_S
from shardq.drivers.redis.servers.server import Server
from shardq.drivers.redis.verbs.forwarding import Forwarding
from shardq.drivers.redis.verbs.sleeping import Look
from shardq.drivers.redis.verbs.strays import Strays
from shardq.model import Hand

_Result = TypeVar("_Result")


class Releasing:
    """The releases of one process. What it began goes on where its caller is cancelled."""

    def __init__(self, server: Server, strays: Strays, forwarding: Forwarding) -> None:
        self._server = server
        self._strays = strays
        self._forwarding = forwarding
        self._tasks = set[asyncio.Task[Any]]()

    async def soon(self, turn: Coroutine[Any, Any, Look], bound: Hand | None) -> Look | None:
        """What a turn returns that may claim a thread. None where its server does not answer; should it have claimed
        one it is released once it does.
        """
        if blocking.blocking:
            return await turn
        task = self._spawn(turn)
        try:
            done, _ = await asyncio.wait({task}, timeout=LOOK_S)
        except asyncio.CancelledError:
            task.add_done_callback(partial(self._give_up, bound))
            raise
        if done:
            return task.result()
        task.add_done_callback(partial(self._give_up, bound))
        return None

    async def exchange(self, former: Hand, found: Hand) -> None:
        """Release a thread for another one that was claimed."""
        self._strays.forget_claim(former.key)
        if blocking.blocking:
            await self._unclaim(former)
            return
        try:
            await asyncio.shield(self._spawn(self._unclaim(former)))
        except asyncio.CancelledError:
            self._spawn(self._unclaim(found))
            raise

    async def bring_on(self, source: int, former: Hand | None, found: Hand | None) -> None:
        """Bring on what goes to other partitions; where that is cancelled, release what was claimed."""
        if blocking.blocking:
            await self._forwarding.bring_on(source)
            return
        try:
            await asyncio.shield(self._spawn(self._forwarding.bring_on(source)))
        except asyncio.CancelledError:
            if found and (former is None or found.token != former.token):
                self._spawn(self._unclaim(found))
            raise

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
            self._spawn(self._unclaim(found))

    async def _unclaim(self, hand: Hand) -> None:
        told = {"key": hand.key, "token": hand.token, "pause_us": 0}
        await self._server.run_on(hand.key, "unclaim", told, once=True, patience_s=None)

    def _spawn(self, work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
