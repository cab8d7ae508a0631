"""What a family over a server costs that has nothing to do: commands, and processor time of both. Of point 9 of what
storages on a server must show.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import psutil
import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.inside import sleepers
from bench.load.jobs import JOBS, Nothing, numbered
from bench.load.server import Server, server
from bench.rivals import ancestor_redis
from bench.rivals.consumer import consumer
from bench.scenarios.idle import WORKERS, used
from shardq import Supervisor

_WATCHED_S = 5.0
#: By default a worker stays bound so long to a thread that is empty.
_HELD_S = 0.1 * 16 + 1


def family(size: Size) -> Figures:
    with server() as its:
        return uvloop.run(_family(its, size.seconds(_WATCHED_S)))


def rivals(size: Size) -> Figures:
    """As many workers of `sharded-queue` with its own settings."""
    with server() as its, ExitStack() as stack:
        waits = [stack.enter_context(consumer(partial(ancestor_redis.idle, its.port))) for _ in range(WORKERS)]
        for wait in waits:
            wait()
        watched_s = size.seconds(_WATCHED_S)
        watching = _Watching(its, ("keys",))
        time.sleep(watched_s)
        return watching.spent(watched_s)


async def _family(its: Server, watched_s: float) -> Figures:
    async with Supervisor(JOBS, workers=WORKERS, url=its.url) as supervisor:
        # Once to work and back to sleep: what a worker does only the first time is over.
        await supervisor.queue.register(Nothing, *numbered(0, 1000))
        await supervisor.drain()
        await asyncio.sleep(_HELD_S)
        while await sleepers(supervisor.queue.storage) < WORKERS:  # noqa: ASYNC110 - it rings no bell
            await asyncio.sleep(0.01)
        watching = _Watching(its, ("evalsha", "eval"))
        await asyncio.sleep(watched_s)
        return watching.spent(watched_s)


class _Watching:
    """What the server, and all processes that this one started, take from now on."""

    def __init__(self, its: Server, commands: tuple[str, ...]) -> None:
        pids = [child.pid for child in psutil.Process().children(recursive=True) if child.pid != its.pid]
        self._commands: Callable[[], int] = partial(its.calls, *commands)
        self._server: Callable[[], int] = lambda: used([its.pid])[0]
        self._family: Callable[[], int] = lambda: used(pids)[0]
        self._before = self._now()

    def _now(self) -> tuple[int, int, int]:
        return self._commands(), self._family(), self._server()

    def spent(self, watched_s: float) -> Figures:
        commands, family_ns, server_ns = (
            after - before for after, before in zip(self._now(), self._before, strict=True)
        )
        return {
            "commands_per_s": commands / watched_s,
            "family_us_per_s": family_ns / 1000 / watched_s,
            "server_us_per_s": server_ns / 1000 / watched_s,
        }


SCENARIOS = (
    Scenario(
        "redis-idle",
        f"a supervisor and {WORKERS} workers with nothing to do, over a server",
        (
            Figure(
                "commands_per_s", "scripts (of the rival: KEYS) that the server is sent", "1/s", less_is_better=True
            ),
            Figure("family_us_per_s", "processor time of the family", "us/s", less_is_better=True),
            Figure("server_us_per_s", "processor time of the server", "us/s", less_is_better=True),
        ),
        (
            Contestant("shardq", f"{__name__}:family"),
            Contestant("sharded-queue", f"{__name__}:rivals", kind=Kind.RIVAL, needs="sharded_queue"),
        ),
        f"Watched for {_WATCHED_S:.0f} seconds, after each worker has let go of its thread. A server takes some "
        "processor time of its own, ten times a second. A worker of `sharded-queue` looks once a second.",
    ),
)
