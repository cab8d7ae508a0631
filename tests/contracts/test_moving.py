"""The clauses M1.. of `shardq.protocols.Movable`, on every driver that can move."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import pytest

from shardq.errors import MoveRefused, StorageMoved
from shardq.model import (
    INBOX,
    KEPT_PIPE,
    Chunk,
    Counts,
    Figures,
    Hand,
    Place,
    Scheduled,
    Standing,
    Terms,
    TubeState,
    When,
)
from shardq.outputs import Output
from shardq.pages import each
from shardq.protocols import Lock, Movable, Storage
from tests.conftest import OpenBackend
from tests.contracts.kit.holder import holding
from tests.contracts.test_kept import kept
from tests.contracts.test_letters import GRAVE, buried
from tests.contracts.test_storage import KEY, OTHER, OTHER_KEY, PIPE, claimed, contents, everything, numbered
from tests.support import hands
from tests.support.drivers import MIB, Backend, Driver, tell_of_death
from tests.support.moving import dumped, fill, letter, now_us
from tests.support.tasks import finished, suspended

MOVE, ANOTHER = 77, 78
FROM, TO = "shm://before", "shm://elsewhere"

pytestmark = pytest.mark.requires("moves")


@pytest.fixture
def movable(backend: Backend) -> Movable:
    assert backend.movable
    return backend.movable


def chunk(number: int, *messages: bytes, place: Place = Place.TUBE, pipe: str = PIPE, **more: object) -> Chunk:
    return Chunk(number, place, pipe, messages, **more)  # type: ignore[arg-type]


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
    await storage.append([(PIPE, numbered(6))])
    token, terms = await claimed(lock), Terms((0,), 2)
    hand = Hand(KEY, token, await storage.take(KEY, token, terms))
    await movable.leave(MOVE, TO)

    assert await storage.pop(hand, 1, [Output(OTHER, [b"first"])])
    found = await storage.turn(hand, everything, {"app.jobs/Resize": terms}, outputs=[Output(OTHER, [b"second"])])

    assert found is not None
    assert (found.token, found.batch.count) == (token, 0)
    assert await contents(storage, PIPE) == numbered(4, 2)
    assert await contents(storage, OTHER) == [b"first", b"second"]
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


# M5


@pytest.mark.parametrize("what", ["queued", "deferred", "recurrent", "dead", "kept"])
async def test_M5_nothing_arrives_where_there_is_anything(
    storage: Storage, lock: Lock, movable: Movable, what: str
) -> None:
    if what == "dead":
        await buried(storage, lock, b"letter")
    elif what == "kept":
        await kept(storage, lock, b"result")
    else:
        when = {"queued": None, "deferred": When(now_us() + 10**10), "recurrent": When(schedule="every 60")}[what]
        await storage.append([(PIPE, numbered(1))], when=when)

    with pytest.raises(MoveRefused):
        await movable.arrive(MOVE, FROM)

    assert (await movable.stand()).standing is Standing.OPEN


async def test_M5_content_of_one_move_arrives_at_a_time(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    await movable.arrive(MOVE, FROM)
    for refused in (movable.arrive(ANOTHER, FROM), movable.leave(ANOTHER, TO), movable.open(ANOTHER)):
        with pytest.raises(MoveRefused):
            await refused
    await movable.open(MOVE)
    with pytest.raises(MoveRefused):
        await movable.arrive(MOVE, FROM)

    await movable.arrive(ANOTHER, FROM)


async def test_M5_until_it_is_open_there_is_no_room_and_no_work(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    assert await movable.store(MOVE, chunk(0, *numbered(3)))
    assert await movable.store(MOVE, chunk(3, b"due", place=Place.WAITING, due_us=1))

    assert await storage.append([(OTHER, numbered(1))]) is None
    assert await storage.append([(OTHER, numbered(1))], when=When(now_us() + 10**10)) is None
    assert await storage.append([(OTHER, numbered(1))], when=When(schedule="every 60")) is None
    assert await storage.append_when_room([(OTHER, numbered(1))], 0) is None
    assert await storage.claim(KEY) == 0
    assert await storage.wait(everything, 0) is None
    assert await storage.turn(None, everything, {}) is None
    assert await storage.promote() is None
    assert await storage.remove(PIPE, b"message-0") == 0

    await movable.open(MOVE)
    assert await storage.wait(everything, 0) == KEY
    assert await contents(storage, PIPE) == [*numbered(3), b"due"]


@pytest.mark.parametrize("verb", ["wait", "rest", "append_when_room"])
async def test_M5_those_that_sleep_are_woken_when_it_is_open(storage: Storage, movable: Movable, verb: str) -> None:
    await movable.arrive(MOVE, FROM)
    sleeps = {
        "wait": lambda: storage.wait(everything),
        "rest": lambda: storage.rest(None, everything, {"app.jobs/Resize": Terms((0,), 9)}),
        "append_when_room": lambda: storage.append_when_room([(OTHER, numbered(1))]),
    }
    task = await suspended(sleeps[verb]())
    await movable.store(MOVE, chunk(0, *numbered(3)))
    await movable.open(MOVE)

    found = await finished(task)

    if verb == "rest":
        assert isinstance(found, Hand)
        assert found.batch.messages == numbered(3)
        await storage.unclaim(KEY, found.token)
    else:
        assert found == {"wait": KEY, "append_when_room": 1}[verb]


async def test_M5_a_storage_that_was_left_takes_content_again(storage: Storage, movable: Movable) -> None:
    await storage.append([(PIPE, numbered(3))])
    await movable.leave(MOVE, TO)
    await movable.hand_over(MOVE)
    with pytest.raises(MoveRefused):
        await movable.arrive(ANOTHER, FROM)
    await movable.forget(MOVE)

    await movable.arrive(ANOTHER, FROM)
    await movable.store(ANOTHER, chunk(0, b"back"))
    await movable.open(ANOTHER)

    await storage.check_stays()
    assert await contents(storage, PIPE) == [b"back"]


async def test_M5_what_came_by_a_cancelled_move_is_dropped(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    await movable.store(MOVE, chunk(0, *numbered(3)))
    await movable.store(MOVE, chunk(3, b"later", place=Place.WAITING, due_us=now_us() + 10**10))
    await movable.store(MOVE, chunk(4, letter(PIPE, b"x"), place=Place.GRAVE, grave=GRAVE))
    await movable.store(MOVE, chunk(5, b"result", place=Place.GRAVE, pipe=KEPT_PIPE, grave=KEPT_PIPE))

    await movable.clear(ANOTHER)
    assert (await movable.stand()).standing is Standing.ARRIVING
    await movable.clear(MOVE)
    await movable.clear(MOVE)

    counts = await storage.backlog()
    assert (counts.queued, counts.deferred, counts.dead) == (0, 0, 0)
    assert await storage.length(KEPT_PIPE) == 0
    with pytest.raises(MoveRefused):
        await movable.store(MOVE, chunk(0, *numbered(3)))
    assert await storage.append([(PIPE, numbered(1))]) == 1


async def test_M5_replies_that_came_count_as_such_and_as_taken_once_dropped(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    await movable.store(MOVE, chunk(0, *numbered(3), pipe=f"{INBOX}/5/0"))
    counts = await storage.backlog()
    assert (counts.replies - counts.replies_taken, counts.accepted - counts.handled) == (3, 0)

    await movable.clear(MOVE)

    counts = await storage.backlog()
    assert (counts.accepted, counts.replies) == (counts.handled, counts.replies_taken)


# M6


async def test_M6_a_chunk_is_stored_once(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    first, letters = chunk(0, *numbered(3)), chunk(4, letter(PIPE, b"x"), place=Place.GRAVE, grave=GRAVE)
    later = chunk(3, b"later", place=Place.WAITING, due_us=now_us() + 10**10)
    for each_chunk in (first, first, later, later, letters, letters):
        assert await movable.store(MOVE, each_chunk)
        assert await movable.stored(each_chunk) >= each_chunk.through

    assert await contents(storage, PIPE) == numbered(3)
    assert await contents(storage, GRAVE) == [letter(PIPE, b"x")]
    assert (await storage.backlog()).deferred == 1


async def test_M6_nothing_is_stored_without_room(open_backend: OpenBackend) -> None:
    backend = open_backend(MIB)
    movable, storage = backend.movable, backend.storage
    assert movable
    await movable.arrive(MOVE, FROM)
    message, number = bytes(32 * 1024), 0
    while await movable.store(MOVE, chunk(number, message)):
        number += 1

    assert 10 < number < 40
    assert await movable.stored(chunk(number, message)) == number
    assert await storage.length(PIPE) == number
    assert not await movable.store(MOVE, chunk(number, message, place=Place.WAITING, due_us=now_us() + 10**10))
    assert await storage.length(PIPE) == number


async def test_M6_what_was_known_of_a_tube_holds(
    storage: Storage, lock: Lock, movable: Movable, open_backend: OpenBackend
) -> None:
    """Failures and isolation, as the source says them, hold in the target, where a worker sees them."""
    target = open_backend()
    assert target.movable
    rests = now_us() + 3600 * 10**6
    source = await _failed(storage, lock, movable)
    await target.movable.arrive(MOVE, FROM)
    await target.movable.store(MOVE, chunk(0, *numbered(3), state=source))
    resting = TubeState(rests_until_us=rests)
    await target.movable.store(MOVE, chunk(3, *numbered(9), pipe=OTHER, state=resting._replace(at_most=2, isolated=5)))
    await target.movable.open(MOVE)

    assert await target.storage.wait(everything, 0) == KEY
    assert await target.storage.wait(frozenset({"app.jobs/Crop"}), 0) is None
    token = await target.storage.claim(KEY)
    batch = await hands.take(target.storage, [PIPE], 9, token)
    assert batch.count == 1
    assert batch.failed == source.failed
    other_token = await target.storage.claim(OTHER_KEY)
    left = 9
    while left > 4:
        taken = await hands.take(target.storage, [OTHER], 9, other_token)
        assert taken.count <= 2
        await hands.pop(target.storage, OTHER, taken.through, other_token)
        left -= taken.count
    assert (await hands.take(target.storage, [OTHER], 9, other_token)).count == left
    await target.storage.unclaim(KEY, token)
    await target.storage.unclaim(OTHER_KEY, other_token)


async def _failed(storage: Storage, lock: Lock, movable: Movable) -> TubeState:
    """What is known of a tube whose first message failed three times."""
    assert await storage.append([(PIPE, numbered(3))])
    token = await claimed(lock)
    for _ in range(3):
        await hands.take(storage, [PIPE], 1, token)
        await hands.fail(storage, PIPE, token)
    await lock.release(KEY)
    [tube] = [tube async for tube in each(movable.tubes)]
    return tube.state


async def test_M6_what_waits_comes_at_its_time_and_goes_on(storage: Storage, movable: Movable) -> None:
    due_us = now_us() - 5
    await movable.arrive(MOVE, FROM)
    await movable.store(MOVE, chunk(0, b"again", place=Place.WAITING, due_us=due_us, schedule="every 3600"))
    await movable.store(MOVE, chunk(1, b"once", b"twice", place=Place.WAITING, due_us=due_us))
    await movable.open(MOVE)

    await storage.promote()

    assert sorted(await contents(storage, PIPE)) == [b"again", b"once", b"twice"]
    [scheduled] = [its async for its in each(storage.scheduled)]
    assert scheduled.due_us == due_us + 3600 * 10**6
    assert await storage.append([(PIPE, [b"again"])], when=When(schedule="every 3600")) == 1
    assert len([its async for its in each(storage.scheduled)]) == 1


async def test_M6_results_are_kept_and_counted_as_nothing_else(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    for number, result in enumerate(numbered(3)):
        its = chunk(number, result, place=Place.GRAVE, pipe=f"{KEPT_PIPE}-{number}/0", grave=KEPT_PIPE)
        assert await movable.store(MOVE, its)
    await movable.settle(MOVE, 3, Figures(0, 0, 0))
    await movable.open(MOVE)

    assert sorted(await contents(storage, KEPT_PIPE)) == numbered(3)
    assert [(await storage.kept(result)).messages for result in numbered(3)] == [[result] for result in numbered(3)]
    assert await storage.backlog() == Counts(0, 0)


async def test_M6_equal_messages_are_known(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    await movable.store(MOVE, chunk(0, *numbered(3)))
    await movable.store(MOVE, chunk(3, b"later", place=Place.WAITING, due_us=now_us() + 10**10))
    await movable.open(MOVE)

    assert await storage.append([(PIPE, [*numbered(3), b"later", b"new"])], absent=True) == 1


# M7


async def test_M7_figures_are_taken_over_once(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    await movable.store(MOVE, chunk(0, letter(PIPE, b"x"), place=Place.GRAVE, grave=GRAVE))
    for _ in range(2):
        await movable.settle(MOVE, 1, Figures(token=10**6, buried=5, evicted=3))
    await movable.open(MOVE)

    counts = await storage.backlog()
    assert (counts.dead, counts.buried, counts.evicted) == (1, 6, 3)
    token = await storage.claim(KEY)
    assert token > 10**6
    await storage.unclaim(KEY, token)


async def test_M7_pauses_made_while_content_comes_stand_once_it_is_open(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    await storage.pause("app.jobs/Resize", reason="why")
    assert await movable.store(MOVE, chunk(0, b"one"))
    await movable.settle(MOVE, 1, Figures(0, 0, 0))
    await movable.open(MOVE)

    assert [its.reason for its in await storage.pauses()] == ["why"]
    assert await storage.wait(everything, 0) is None
    await storage.resume("app.jobs/Resize")
    assert await storage.wait(everything, 0) == KEY


async def test_M7_pauses_made_while_content_comes_go_with_it(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    await storage.pause("app.jobs/Resize")
    await movable.clear(MOVE)

    assert await storage.pauses() == []


async def test_M7_they_are_those_of_the_source(storage: Storage, lock: Lock, movable: Movable) -> None:
    await buried(storage, lock, b"letter-0", b"letter-1", b"letter-2")
    [first, *_] = (await storage.range(GRAVE, 9)).numbers
    await storage.drop(GRAVE, first)
    token = await claimed(lock)
    await lock.release(KEY)

    figures = await movable.figures()

    assert figures == Figures(token, 1, 0)
