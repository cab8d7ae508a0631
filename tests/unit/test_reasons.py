"""What follows from the facts: `shardq.reasons`, without any storage."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardq import Handler, Queue, Worker
from shardq.drivers import RuntimeLock, RuntimeStorage
from shardq.model import AtWork, Counts, Pause, PipeFacts, Scheduled, Standing, WorkerFacts
from shardq.pages import Page
from shardq.reasons import Explained, why

HANDLER = "app.jobs/Resize"
PIPE = f"{HANDLER}/3/1"
BUSY = WorkerFacts(AtWork(1, 71, HANDLER, "3", 12, 3.2, 5, 12, "b.png"), handlers=(HANDLER,))
IDLE = WorkerFacts(AtWork(2, 72, None, None, 0, 0.0, None, None, ""), handlers=(HANDLER,))
OTHER = WorkerFacts(AtWork(3, 73, None, None, 0, 0.0, None, None, ""), handlers=("app.mail/Send",))
FREE = PipeFacts(PIPE, queued=20, served=True, workers=[IDLE], supervisors=1, full=0.1)
OWNED = replace(FREE, owner=BUSY, taken=1, workers=[BUSY])


class Known:
    """A storage of which this is known."""

    def __init__(self, facts: PipeFacts, letters: int = 0, deferred: int = 0, *recurrent: Scheduled) -> None:
        self._facts, self._letters, self._deferred, self._recurrent = facts, letters, deferred, recurrent

    async def facts(self, pipe: str) -> PipeFacts:
        return self._facts

    async def length(self, pipe: str) -> int:
        assert pipe == f"{HANDLER}/dead/0"
        return self._letters

    async def scheduled(self, after: object = None, limit: int = 0) -> Page[Scheduled]:
        return Page(self._recurrent[:limit])

    async def backlog(self) -> Counts:
        return Counts(0, 0, deferred=self._deferred)


def codes(found: Explained) -> list[str]:
    return [reason.code for reason in found.reasons]


def stopped(worker: WorkerFacts) -> WorkerFacts:
    return replace(worker, state="stopped")


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        (FREE, ["ready"]),
        (replace(FREE, workers=[BUSY]), ["busy"]),
        (replace(FREE, workers=[BUSY, OTHER]), ["busy"]),
        (replace(FREE, workers=[BUSY, IDLE]), ["ready"]),
        (replace(FREE, workers=None, served=None, supervisors=None, full=None), ["ready"]),
        (replace(FREE, workers=[OTHER], served=False), ["unserved"]),
        (replace(FREE, workers=[stopped(IDLE)]), ["no-worker"]),
        (replace(FREE, workers=[]), ["no-worker"]),
        (replace(FREE, workers=[], supervisors=0), ["nobody"]),
        (replace(FREE, supervisors=0), ["no-supervisor"]),
        (replace(FREE, rests_s=4.0, attempts=2), ["backoff"]),
        (replace(FREE, rests_s=4.0, deaths=2), ["start"]),
        (replace(FREE, rests_s=4.0, full=0.97), ["rests", "full"]),
        (replace(FREE, rests_s=4.0, full=0.97, attempts=1), ["backoff"]),
        (replace(OWNED, queued=12, full=0.97), ["in-hand", "full"]),
        (replace(FREE, full=0.97), ["ready"]),
        (replace(FREE, others={0: 5}), ["priority"]),
        (replace(FREE, paused=Pause(HANDLER, 1)), ["paused"]),
        (replace(OWNED, paused=Pause(HANDLER, 1, 2, "why")), ["paused", "in-hand", "order"]),
        (OWNED, ["in-hand", "order"]),
        (replace(OWNED, queued=12), ["in-hand"]),
        (replace(OWNED, queued=12, attempts=1), ["in-hand", "attempts"]),
        (replace(OWNED, taken=0), ["other-priority"]),
        (replace(OWNED, taken=None), ["bound"]),
        (replace(OWNED, queued=12, owner=stopped(BUSY)), ["stopped"]),
        (replace(OWNED, queued=12, owner=replace(BUSY, state="silent", host="queue-2")), ["silent"]),
        (replace(OWNED, queued=12, owner=replace(BUSY, left_s=20.0)), ["in-hand"]),
        (replace(OWNED, queued=12, owner=replace(BUSY, left_s=-20.0)), ["overdue"]),
        (replace(FREE, moving=True, queued=0), ["moving"]),
        (replace(FREE, guard="process 7, which is stopped, has the guard"), ["guard"]),
        (replace(FREE, standing=Standing.LEAVING, goes_to="shm://b"), ["leaving"]),
        (replace(FREE, standing=Standing.ARRIVING), ["arriving"]),
    ],
)
async def test_the_reasons_for_what_is_queued(facts: PipeFacts, found: list[str]) -> None:
    explained = await why(Known(facts), PIPE)
    assert codes(explained) == found
    for reason in explained.reasons:
        assert not reason.text[0].islower()
        assert reason.text.endswith(".")


@pytest.mark.parametrize(
    ("known", "found"),
    [
        (Known(PipeFacts(PIPE)), ["empty"]),
        (Known(PipeFacts(PIPE, others={0: 5})), ["empty", "other-priority"]),
        (Known(PipeFacts(PIPE), 3, 2), ["empty", "letters", "deferred"]),
        (Known(PipeFacts(PIPE), 0, 0, Scheduled(PIPE, b"", "every 9", 1)), ["empty", "recurrent"]),
        (Known(PipeFacts(PIPE), 0, 0, Scheduled("other", b"", "every 9", 1)), ["empty"]),
        (Known(PipeFacts(PIPE, standing=Standing.LEFT, goes_to="shm://b")), ["moved", "empty"]),
    ],
)
async def test_the_reasons_for_what_is_not_there(known: Known, found: list[str]) -> None:
    assert codes(await why(known, PIPE)) == found


async def test_dead_letters_are_no_requests() -> None:
    grave = f"{HANDLER}/dead/0"
    assert codes(await why(Known(PipeFacts(grave, queued=3), 3), grave)) == ["letters"]


async def test_what_is_said_of_a_worker() -> None:
    [first, second] = (await why(Known(replace(OWNED, owner=replace(BUSY, left_s=27.0))), PIPE)).reasons
    assert first.text == (
        "Worker 1 (pid 71) has 12 requests of it in hand for 3.2 s (5/12 42% b.png); it may have them for 27.0 s more."
    )
    assert first.advice == "`shardq stack 71` shows where it is."
    assert second.text == "8 requests behind that batch wait for it: a thread keeps its order."


async def test_what_is_said_of_a_failure() -> None:
    facts = replace(FREE, rests_s=4.0, attempts=2, failed_ago_s=1.5, died=True)
    [reason] = (await why(Known(facts), PIPE)).reasons
    assert reason.text == (
        "The request at its head failed 2 times, last 1.5 s ago, when its worker died of it. "
        "The next attempt is in 4.0 s."
    )


async def test_what_is_said_of_handlers_that_are_served() -> None:
    many = replace(OTHER, handlers=tuple(f"app/H{number}" for number in range(8)))
    [reason] = (await why(Known(replace(FREE, workers=[many], served=False)), PIPE)).reasons
    assert reason.text == (
        "No worker serves app.jobs/Resize. They serve app/H0, app/H1, app/H2, app/H3, app/H4 and 3 more."
    )


class Asks(Handler[str]):
    """Asks why what it has in hand does not run."""

    found: list[str]

    async def perform(self, *texts: str) -> None:
        storage = self.queue.storage  # type: ignore[attr-defined]
        pipe = f"{__name__}/Asks/0/0"
        Asks.found = codes(await why(storage, pipe))


async def test_a_storage_in_memory_is_asked_itself() -> None:
    storage = RuntimeStorage()
    queue, pipe = Queue(storage), f"{__name__}/Asks/0/0"
    assert codes(await why(storage, pipe)) == ["empty"]
    await queue.register(Asks, "a", "b")
    found = await why(storage, pipe)
    assert codes(found) == ["ready"]
    assert "unserved" in found.facts.unknown
    await Worker(RuntimeLock(storage), queue).loop(limit=2, handler=Asks)
    assert Asks.found == ["in-hand"]
    assert codes(await why(storage, pipe)) == ["empty"]
