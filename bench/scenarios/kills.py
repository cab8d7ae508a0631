"""Workers that are killed one after another while there is work: what is lost of it, reordered or done again."""

from __future__ import annotations

import asyncio
import tempfile

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Kind, Scenario
from bench.harness.size import Size
from bench.load.jobs import JOBS, Note
from bench.load.killing import KILLS, OUTCOME, REQUESTS, WORKERS, Journal, kill_workers
from shardq import Supervisor

#: Longer than any pause between a death and the next request that is done.
_STILL_S = 60.0


def family(size: Size, *, seed: int | None = None) -> Figures:
    """Raises `AssertionError` where requests were acknowledged twice or never."""
    return uvloop.run(_family(size.count(REQUESTS), size.count(KILLS), seed))


async def _family(total: int, kills: int, seed: int | None) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(folder)
        async with Supervisor(JOBS, workers=WORKERS) as supervisor:
            await supervisor.queue.register(Note, *journal.requests(total))
            killed = await asyncio.to_thread(kill_workers, journal, total, kills, lambda: True, _STILL_S, seed)
            await supervisor.drain()
            acknowledged = (await supervisor.queue.storage.backlog()).handled
        assert acknowledged == total, f"{acknowledged} requests of {total} were acknowledged"
        return journal.outcome(total, killed)


def _rival(name: str, function: str) -> Contestant:
    return Contestant(name, f"bench.rivals.killed:{function}", kind=Kind.RIVAL)


SCENARIOS = (
    Scenario(
        "kills",
        f"{KILLS} workers killed one after another, while {WORKERS} work on {REQUESTS:,} requests",
        OUTCOME,
        (
            Contestant("shardq", f"{__name__}:family"),
            _rival("multiprocessing.Queue", "of_queue"),
            _rival("ProcessPoolExecutor.map", "of_executor"),
            _rival("multiprocessing.Pool.imap", "of_pool"),
        ),
        "The moments and the victims are drawn; each contestant prints its seed. A request uses 0.25 ms of a "
        "processor, and then a line in a journal says that it is done: those without a line are lost. What was done of "
        "a batch when its worker was killed is done again, which is what at least once means; the rivals lose what was "
        "in hand. Here a batch has 16 requests, and shardq's own count says that each was acknowledged once. The "
        "benchmark starts a new consumer of the queue for each that died; the pool does so itself. The queue stands "
        "still for good where a consumer died with its lock, `imap` waits for ever for a lost result, and the first "
        "death breaks the executor. A rival that does nothing for 1.5 seconds is given up: so it can have fewer kills "
        "than shardq, and then it loses all that it had not done yet.",
    ),
)
