"""The clauses M1 to M4 of `shardq.protocols.Movable`, of a storage that content leaves."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import pytest

from shardq.errors import MoveRefused, StorageMoved
from shardq.model import (
    INBOX,
    Hand,
    Place,
    Scheduled,
    Standing,
    Terms,
    When,
)
from shardq.outputs import Output
from shardq.pages import each
from shardq.protocols import Lock, Movable, Storage
from tests.conftest import OpenBackend
from tests.contracts.kit.holder import holding
from tests.contracts.test_letters import GRAVE, buried
from tests.contracts.test_storage import KEY, OTHER, OTHER_KEY, PIPE, claimed, contents, everything, numbered
from tests.support import hands
from tests.support.drivers import MIB, Backend, Driver, tell_of_death
from tests.support.moving import dumped, fill, now_us
from tests.support.tasks import finished, suspended

MOVE, ANOTHER = 77, 78
LATE = "app.jobs/Resize/9/0"
FROM, TO = "shm://before", "shm://elsewhere"

pytestmark = pytest.mark.requires("moves")


# M1


REFUSED: dict[str, Callable[[Storage], Awaitable[object]]] = {
    "append": lambda storage: storage.append([(PIPE, [b"new"])]),
    "append absent": lambda storage: storage.append([(PIPE, [b"new"])], absent=True),
    "append later": lambda storage: storage.append([(PIPE, [b"new"])], when=When(now_us() + 10**9)),
    "append again and again": lambda storage: storage.append([(PIPE, [b"new"])], when=When(schedule="every 60")),
    "append when there is room": lambda storage: storage.append_when_room([(PIPE, [b"new"])]),
    "claim": lambda storage: storage.claim(OTHER_KEY),
    "wait": lambda storage: storage.wait(everything),
    "turn": lambda storage: storage.turn(None, everything, {}),
    "rest": lambda storage: storage.rest(None, everything, {}),
    "promote": lambda storage: storage.promote(),
    "requeue": lambda storage: storage.requeue(GRAVE, 1, PIPE, b"new"),
    "pause": lambda storage: storage.pause("app.jobs/Resize"),
    "resume": lambda storage: storage.resume("app.jobs/Resize"),
    "drop": lambda storage: storage.drop(GRAVE, 1),
    "remove": lambda storage: storage.remove(PIPE, b"message-0"),
    "unschedule": lambda storage: storage.unschedule(PIPE, b"message-0"),
    "skip": lambda storage: storage.deferrals.skip(Scheduled(PIPE, b"message-0", "every 60", 10**15)),
    "wait_for_quiet": lambda storage: storage.wait_for_quiet(),
    "check_stays": lambda storage: storage.check_stays(),
}


@pytest.mark.parametrize("verb", REFUSED)
async def test_M1_a_storage_that_leaves_refuses(storage: Storage, lock: Lock, movable: Movable, verb: str) -> None:
    await buried(storage, lock, b"letter")
    await storage.append([(PIPE, numbered(3))])
    before = await dumped(movable)
    await movable.leave(MOVE, TO)

    with pytest.raises(StorageMoved, match=TO) as moved:
        await REFUSED[verb](storage)

    assert moved.value.to == TO
    assert await dumped(movable) == before
    assert (await movable.stand())[:3] == (Standing.LEAVING, MOVE, TO)


@pytest.mark.parametrize("verb", REFUSED)
async def test_M1_until_it_stays(storage: Storage, lock: Lock, movable: Movable, verb: str) -> None:
    await storage.append([(PIPE, numbered(3))])
    await movable.leave(MOVE, TO)

    assert await movable.stay(MOVE)

    if verb not in ("rest", "wait_for_quiet", "promote"):
        await REFUSED[verb](storage)
    assert (await movable.stand()).standing is Standing.OPEN


async def test_M1_what_is_in_hand_is_acknowledged_with_its_outputs(
    storage: Storage, lock: Lock, movable: Movable
) -> None:
    """Also while something is due, which does not come any more."""
    await storage.append([(PIPE, numbered(6))])
    token, terms = await claimed(lock), Terms((0,), 2)
    hand = Hand(KEY, token, await storage.take(KEY, token, terms))
    due_us = now_us() + 20_000
    await storage.append([(LATE, [b"late"])], when=When(due_us))
    await movable.leave(MOVE, TO)
    # What is due is due by the clock of the storage, which on a server is the server's.
    await asyncio.sleep((due_us + 1000 - now_us()) / 1e6)

    assert await storage.pop(hand, 1, [Output(OTHER, [b"first"])])
    found = await storage.turn(hand, everything, {"app.jobs/Resize": terms}, outputs=[Output(OTHER, [b"second"])])

    assert found is not None
    assert (found.token, found.batch.count) == (token, 0)
    assert await contents(storage, PIPE) == numbered(4, 2)
    assert await contents(storage, OTHER) == [b"first", b"second"]
    assert await contents(storage, LATE) == []
    with pytest.raises(StorageMoved):
        await storage.take(KEY, token, terms)
    with pytest.raises(StorageMoved):
        await storage.turn(found, everything, {"app.jobs/Resize": terms})
    with pytest.raises(StorageMoved):
        await storage.rest(found, everything, {"app.jobs/Resize": terms})
    assert await lock.release(KEY)


async def test_M1_what_is_in_hand_can_fail_and_be_buried(storage: Storage, lock: Lock, movable: Movable) -> None:
    await storage.append([(PIPE, numbered(2)), (OTHER, numbered(2))])
    token, other_token = await claimed(lock), await claimed(lock, OTHER_KEY)
    first = await hands.take(storage, [PIPE], 1, token)
    await hands.take(storage, [OTHER], 1, other_token)
    await movable.leave(MOVE, TO)

    assert await hands.bury(storage, PIPE, first.sequence, token, GRAVE, b"letter")
    assert (await hands.fail(storage, OTHER, other_token)).attempts == 1

    assert await contents(storage, GRAVE) == [b"letter"]
    assert await lock.release(KEY)
    assert await lock.release(OTHER_KEY)
    states = {tube.pipe: tube.state async for tube in each(movable.tubes)}
    assert states[PIPE].failed is None
    assert states[OTHER].failed
    assert states[OTHER].failed.attempts == 1


@pytest.mark.parametrize("verb", ["wait", "rest", "append_when_room", "wait_for_quiet"])
async def test_M1_those_that_sleep_are_told(open_backend: OpenBackend, verb: str) -> None:
    backend = open_backend(MIB)
    storage, movable = backend.storage, backend.movable
    assert movable
    chunk = bytes(64 * 1024)
    while await storage.append([(PIPE, [chunk])]):
        continue
    sleeps = {
        "wait": lambda: storage.wait(frozenset({"app.jobs/Crop"})),
        "rest": lambda: storage.rest(None, frozenset({"app.jobs/Crop"}), {}),
        "append_when_room": lambda: storage.append_when_room([(PIPE, [chunk])]),
        "wait_for_quiet": lambda: storage.wait_for_quiet(),
    }
    task = await suspended(sleeps[verb]())

    await movable.leave(MOVE, TO)

    with pytest.raises(StorageMoved):
        await finished(task)


async def test_M1_another_move_cannot_have_it(storage: Storage, movable: Movable) -> None:
    await movable.leave(MOVE, TO)
    await movable.leave(MOVE, TO)

    with pytest.raises(MoveRefused):
        await movable.leave(ANOTHER, TO)

    assert await movable.stay(ANOTHER)
    assert (await movable.stand()).standing is Standing.LEAVING


# M2


async def test_M2_a_claim_is_in_hand_until_it_is_released(storage: Storage, lock: Lock, movable: Movable) -> None:
    await storage.append([(PIPE, numbered(3))])
    await claimed(lock)
    await movable.leave(MOVE, TO)

    assert await movable.in_hand() == [KEY]
    assert await lock.release(KEY)
    assert await movable.in_hand() == []


@pytest.mark.requires("multiprocess")
async def test_M2_the_claims_of_the_dead_are_ended_first(
    root: Path, driver: Driver, backend: Backend, storage: Storage, movable: Movable
) -> None:
    await storage.append([(PIPE, numbered(3))])
    async with holding(root, driver.name, backend.address, KEY, "take=1") as pid:
        await movable.leave(MOVE, TO)
        assert await movable.in_hand() == [KEY]
    tell_of_death(driver.name, backend.address, pid)

    assert await movable.in_hand() == []
    [tube] = [tube async for tube in each(movable.tubes)]
    assert tube.state.failed
    assert tube.state.failed.attempts == 1


# M3


async def test_M3_all_messages_are_there_in_the_same_order_each_time(storage: Storage, movable: Movable) -> None:
    await fill(storage, Random(3), 60)
    await movable.leave(MOVE, TO)
    tubes = [tube async for tube in each(movable.tubes)]
    waiting = [waiting async for waiting in each(movable.waiting)]
    counts = await storage.backlog()

    assert sum(tube.length for tube in tubes) == counts.queued
    assert sum(len(its.messages) for its in waiting) == counts.deferred + counts.recurrent
    assert [tube[:3] async for tube in each(movable.tubes)] == [tube[:3] for tube in tubes]
    assert [its async for its in each(movable.waiting)] == waiting


async def test_M3_what_is_in_front_is_read_by_itself(storage: Storage, movable: Movable) -> None:
    await storage.append([(PIPE, numbered(3))])
    await hands.put_in_front(storage, PIPE, b"front-0", b"front-1")

    tubes = {tube.place: tube async for tube in each(movable.tubes)}
    front = await movable.read(tubes[Place.FRONT], 1)

    assert front.messages == [b"front-0"]
    assert (await movable.read(tubes[Place.FRONT], 9, front.through - 1)).messages == [b"front-1"]
    assert (await movable.read(tubes[Place.TUBE], 9)).messages == numbered(3)


async def test_M3_what_waits_comes_in_the_order_of_its_times(storage: Storage, movable: Movable) -> None:
    soon = now_us() + 10**10
    for number, due_us in enumerate((soon + 2, soon, soon + 1, soon)):
        await storage.append([(PIPE, [b"%d" % number])], when=When(due_us))

    assert [its.messages async for its in each(movable.waiting)] == [[b"1"], [b"3"], [b"2"], [b"0"]]


async def test_M3_what_there_is_is_noted_anew_for_each_move(storage: Storage, movable: Movable) -> None:
    for move, number in ((MOVE, 3), (ANOTHER, 4)):
        await storage.append([(PIPE, numbered(number)), (OTHER, numbered(number))])
        await movable.leave(move, TO)
        for _ in range(2):
            assert await movable.is_as_it_was(move)
            await dumped(movable)
        assert await movable.stay(move)


# M4


async def test_M4_what_was_handed_over_is_dropped(storage: Storage, movable: Movable) -> None:
    await fill(storage, Random(4), 80)
    await movable.leave(MOVE, TO)
    await movable.forget(MOVE)
    assert (await storage.backlog()).queued > 0

    await movable.hand_over(MOVE)
    await movable.hand_over(MOVE)
    assert not await movable.stay(MOVE)
    await movable.forget(MOVE)
    await movable.forget(MOVE)

    counts = await storage.backlog()
    assert (counts.queued, counts.deferred, counts.recurrent, counts.dead) == (0, 0, 0, 0)
    assert (await movable.stand())[:3] == (Standing.LEFT, MOVE, TO)
    with pytest.raises(StorageMoved):
        await storage.append([(PIPE, numbered(1))])


async def test_M4_replies_that_are_dropped_count_as_taken(storage: Storage, movable: Movable) -> None:
    await storage.append([(PIPE, numbered(2))])
    await storage.append([(f"{INBOX}/5/0", numbered(3))])
    await movable.leave(MOVE, TO)
    await movable.hand_over(MOVE)
    await movable.forget(MOVE)

    counts = await storage.backlog()
    assert (counts.accepted, counts.handled) == (2, 2)
    assert (counts.replies, counts.replies_taken) == (3, 3)


async def test_M4_what_was_handed_over_can_be_taken_back(storage: Storage, movable: Movable) -> None:
    await storage.append([(PIPE, numbered(3))])
    await movable.leave(MOVE, TO)
    await movable.hand_over(MOVE)
    await movable.take_back(ANOTHER)
    assert (await movable.stand()).standing is Standing.LEFT

    await movable.take_back(MOVE)
    await movable.take_back(MOVE)

    await storage.check_stays()
    assert await storage.append([(PIPE, numbered(1, 3))]) == 1
    await movable.forget(MOVE)
    assert await contents(storage, PIPE) == numbered(4)


async def test_M4_a_move_that_was_cancelled_hands_nothing_over(storage: Storage, movable: Movable) -> None:
    await storage.append([(PIPE, numbered(3))])
    await movable.leave(MOVE, TO)
    await movable.stay(MOVE)

    with pytest.raises(MoveRefused):
        await movable.hand_over(MOVE)
    await movable.forget(MOVE)

    assert await contents(storage, PIPE) == numbered(3)
